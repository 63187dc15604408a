//! The handle: a home and its database. What it can do is in the modules of the things it does.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::db::Database;
use crate::error::{Context as _, Error, Result};
use crate::home;
use crate::layer::TABLES;
use crate::layout::{Layout, check_name};
use crate::steps::reach;

/// A store of layers. Cheap to clone; safe to share between threads.
///
/// In a forked child of the process that opened it, every operation is [`Error::Forked`].
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What the store calls itself in its database.
const COMPONENT: &str = "store";

#[derive(Debug)]
struct Inner {
    layout: Layout,
    database: Database,
}

impl Store {
    /// Opens the store in the directory `home`, and makes it on first use.
    ///
    /// - `home` must be absolute. It may hold any bytes.
    /// - Directories that are made have mode 0700.
    /// - Any number of processes may open, or make, one store at the same time.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStore`] when the directory has something in it and no store's marker;
    /// [`Error::ForeignOwner`] when it is another user's; [`Error::NewerFormat`] when a newer
    /// version made it; [`Error::DatabaseLost`] when there are layers and no database knows of
    /// them. A read-only or full disk shows in [`Error::kind`].
    pub fn open(home: &Path) -> Result<Self> {
        let layout = home::open(home)?;
        let place = layout.database();
        refuse_lost(&layout, || match fs::metadata(&place) {
            Ok(facts) => Ok(facts.len() == 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error).at("examine", &place),
        })?;
        let database = Database::open(&place)?;
        if !database.is_current(COMPONENT, TABLES)? {
            refuse_lost(&layout, || database.is_new())?;
        }
        Self::with(layout, database)
    }

    /// The store of a layout on the database at a path.
    pub(crate) fn at(layout: Layout, database: &Path) -> Result<Self> {
        Self::with(layout, Database::open(database)?)
    }

    fn with(layout: Layout, database: Database) -> Result<Self> {
        if !database.is_current(COMPONENT, TABLES)? {
            home::complete(&layout)?;
            database.migrate(COMPONENT, TABLES)?;
            reach("open.database")?;
        }
        let inner = Arc::new(Inner { layout, database });
        Ok(Self { inner })
    }

    /// The directory of the store, with symbolic links resolved.
    pub fn home(&self) -> &Path {
        self.inner.layout.home()
    }

    /// The database, in which callers keep tables of their own.
    pub fn database(&self) -> &Database {
        &self.inner.database
    }

    /// A directory at the top of the store that callers keep, such as `envs`; made when it is not
    /// there. What is in it can be moved to the trash.
    ///
    /// # Errors
    ///
    /// [`Error::BadName`] unless `name` is one component that is not hidden and not the store's.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        let path = self.home().join(name);
        let layout = &self.inner.layout;
        if layout.directories().contains(&path) || path == layout.database() {
            return Err(Error::BadName {
                name: name.to_owned(),
            });
        }
        home::make_directory(&path)?;
        Ok(path)
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// The real path of something in a caller's directory of this store: nothing else may be
    /// moved by a caller's word.
    pub(crate) fn own_path(&self, path: &Path) -> Result<PathBuf> {
        let not_ours = || Error::NotOurs {
            path: path.to_owned(),
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(not_ours());
        };
        if !path.is_absolute() {
            return Err(not_ours());
        }
        // The last component is not followed: what is moved is the link, not what it names.
        let real = fs::canonicalize(parent).at("resolve", parent)?.join(name);
        let inside = real.strip_prefix(self.home()).map_err(|_| not_ours())?;
        let mut components = inside.components();
        let Some(Component::Normal(top)) = components.next() else {
            return Err(not_ours());
        };
        let layout = self.layout();
        let store_keeps_it = layout.directories().contains(&self.home().join(top));
        if store_keeps_it || components.next().is_none() {
            return Err(not_ours());
        }
        Ok(real)
    }
}

/// Refuses a store whose database has nothing in it while there are layers: all that is on the disk would be nobody's.
fn refuse_lost(layout: &Layout, has_nothing: impl Fn() -> Result<bool>) -> Result<()> {
    // Asked again: who makes the store at this moment makes its database before the first layer.
    if has_nothing()? && has_layers(layout)? && has_nothing()? {
        return Err(Error::DatabaseLost {
            path: layout.database(),
        });
    }
    Ok(())
}

fn has_layers(layout: &Layout) -> Result<bool> {
    let layers = layout.layers();
    match fs::read_dir(&layers) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        entries => Ok(entries.at("list", &layers)?.next().is_some()),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::{CommitOptions, Depth, Layer, Stack, Verdict};

    fn commit(store: &Store, text: &str) -> Layer {
        let staging = store.stage().unwrap();
        fs::write(staging.path().join("f"), text).unwrap();
        let committed = store.commit(staging, CommitOptions::default());
        committed.unwrap().layer
    }

    /// Lets the database be one of a version that had so many steps, with the same layers and stacks.
    fn set_back(connection: &Connection, steps: usize) {
        // The columns that the first step had.
        let layers = "id, bytes, entries, created_at, used_at, synced, boot";
        let kept = format!(
            "CREATE TEMP TABLE old_layers AS SELECT {layers} FROM layers;
             CREATE TEMP TABLE old_stacks AS SELECT id, layers FROM stacks;"
        );
        connection.execute_batch(&kept).unwrap();
        let sql = "SELECT group_concat('DROP TABLE ' || name, ';') FROM main.sqlite_schema \
                   WHERE type = 'table' AND name <> 'components'";
        let dropped: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        connection.execute_batch(&dropped).unwrap();
        for (number, step) in TABLES[..steps].iter().enumerate() {
            connection.execute_batch(step).unwrap();
            if number == 0 {
                let rows = format!(
                    "INSERT INTO layers ({layers}) SELECT * FROM old_layers;
                     INSERT INTO stacks (id, layers) SELECT * FROM old_stacks;"
                );
                connection.execute_batch(&rows).unwrap();
            }
        }
        let sql = "UPDATE components SET version = ?1 WHERE name = ?2";
        connection.execute(sql, (steps as u32, COMPONENT)).unwrap();
    }

    #[test]
    fn what_any_older_version_left_is_served_and_can_be_added_to() {
        for steps in 1..=TABLES.len() {
            let directory = tempfile::tempdir().unwrap();
            let home = directory.path().join("store");
            let store = Store::open(&home).unwrap();
            let layer = commit(&store, "old");
            let stack = Stack::new([layer.id]);
            store.put_stack(&stack).unwrap();
            drop(store);
            set_back(&Connection::open(home.join("ptest.db")).unwrap(), steps);

            let store = Store::open(&home).unwrap();
            assert_eq!(store.layer(&layer.id).unwrap(), Some(layer), "{steps}");
            assert_eq!(store.stack(&stack.id()).unwrap(), stack, "{steps}");
            assert_eq!(store.resolve(&stack).unwrap().len(), 1, "{steps}");
            let recovered = store.recover().unwrap();
            assert!(
                recovered.adopted.is_empty() && recovered.lost.is_empty(),
                "{steps}"
            );
            assert_eq!(
                store.verify(&layer.id, Depth::Full).unwrap(),
                Verdict::Sound,
                "{steps}"
            );
            let new = commit(&store, "new");
            store.flatten(&Stack::new([layer.id, new.id])).unwrap();
            store.collect::<Error>(|_, layers| Ok(layers)).unwrap();
            assert!(store.layers().unwrap().is_empty(), "{steps}");
            assert_eq!(store.database().damage().unwrap(), None, "{steps}");
        }
    }
}
