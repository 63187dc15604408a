//! What the database knows of layers: which there are, and whether they are safely on disk.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::Store;
use crate::boot;
use crate::error::{Context as _, Error, Result};
use crate::id::LayerId;
use crate::linked;
use crate::manifest::{Manifest, ManifestError};
use crate::served;
use crate::verify::{Depth, Verdict};

/// The store's tables. Only ever grows, at its end.
pub(crate) const TABLES: &[&str] = &[
    "
    CREATE TABLE layers (
        id         BLOB PRIMARY KEY,
        bytes      INTEGER NOT NULL,
        entries    INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        used_at    INTEGER NOT NULL,
        synced     INTEGER NOT NULL DEFAULT 0,
        boot       TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX layers_unsynced ON layers (synced) WHERE NOT synced;
    CREATE TABLE stacks (
        id     BLOB PRIMARY KEY,
        layers BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    linked::COLUMNS,
    served::TABLE,
];

/// A layer of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub id: LayerId,
    /// The sizes of its files together, but for those that are another layer's too.
    pub bytes: u64,
    /// How many paths it has.
    pub entries: u64,
    /// When it was committed, in seconds since 1970.
    pub created_at: i64,
    /// When a commit last gave or found it, or [`Store::touch`] did, in seconds since 1970.
    pub used_at: i64,
    /// Whether it is known to survive a loss of power.
    pub synced: bool,
}

impl Layer {
    /// Every layer that is known, in no order, in a transaction of the caller's.
    pub fn all(connection: &Connection) -> Result<Vec<Self>> {
        let mut statement = connection
            .prepare_cached("SELECT id, bytes, entries, created_at, used_at, synced FROM layers")?;
        let rows = statement.query_map([], from_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Store {
    /// Looks a layer up.
    ///
    /// A layer that was not yet synced when the machine last started is verified in full here,
    /// once; one whose files have further names, each time.
    ///
    /// # Errors
    ///
    /// [`Error::LayerCorrupt`] when it is known but not what was committed: it is never served.
    /// The caller may [`quarantine`](Store::quarantine) it and make it again.
    pub fn layer(&self, id: &LayerId) -> Result<Option<Layer>> {
        let boot = boot::id()?;
        let row = self
            .database()
            .read(|connection| row(connection, id, boot))?;
        let Some((layer, is_safe)) = row else {
            return Ok(None);
        };
        if !self.layout().layer(id).is_dir() {
            return Err(missing_directory(*id));
        }
        if is_safe {
            return Ok(Some(layer));
        }
        self.verify_doubtful(*id)?;
        Ok(Some(Layer {
            synced: true,
            ..layer
        }))
    }

    /// Whether a layer is known, without a look at the disk.
    pub fn is_known(&self, id: &LayerId) -> Result<bool> {
        let boot = boot::id()?;
        let found = self
            .database()
            .read(|connection| row(connection, id, boot))?;
        Ok(found.is_some())
    }

    /// Every layer that is known, in no order, without a look at the disk.
    pub fn layers(&self) -> Result<Vec<Layer>> {
        self.database().read(Layer::all)
    }

    /// Says that layers are wanted again; gives those of them that are known.
    ///
    /// Of one that is given a collection will see that it was used now.
    pub fn touch(&self, ids: &[LayerId]) -> Result<Vec<LayerId>> {
        self.database().write(|transaction| touch(transaction, ids))
    }

    /// Where the tree of a layer is: the lower directory of an overlay. Nothing may write there.
    ///
    /// Says nothing about whether there is such a layer.
    pub fn layer_path(&self, id: &LayerId) -> PathBuf {
        self.layout().layer(id)
    }

    /// Reads the manifest of a layer.
    ///
    /// # Errors
    ///
    /// [`Error::Manifest`] when it is not the one that the id names.
    pub fn manifest(&self, id: &LayerId) -> Result<Manifest> {
        let path = self.layout().manifest(id);
        let bytes = fs::read(&path).at("read", &path)?;
        let found = Manifest::id_of(&bytes);
        let manifest = if found == *id {
            Manifest::decode(&bytes)
        } else {
            Err(ManifestError::OfAnother { found })
        };
        manifest.map_err(|source| Error::Manifest { path, source })
    }

    /// Waits until every layer that is known now is on the disk, records that, and shortens the
    /// database's log. Returns how many layers were not known to be.
    ///
    /// Takes as long as the disk does: for a thread or process that nobody waits for.
    pub fn sync(&self) -> Result<usize> {
        let unsynced = self.unsynced()?;
        if !unsynced.is_empty() {
            self.flush()?;
            self.mark_synced(&unsynced)?;
        }
        self.database().checkpoint()?;
        Ok(unsynced.len())
    }

    /// Waits until all that was written in the store until now is on the disk, the database's log
    /// too.
    pub fn flush(&self) -> Result<()> {
        let home = self.layout().home();
        let fd = fs::File::open(home).at("open", home)?;
        rustix::fs::syncfs(&fd).at("sync", home)
    }

    /// The same, and records it of every layer that is known now.
    pub(crate) fn sync_now(&self) -> Result<()> {
        let unsynced = self.unsynced()?;
        self.flush()?;
        if unsynced.is_empty() {
            return Ok(());
        }
        self.mark_synced(&unsynced)
    }

    fn unsynced(&self) -> Result<Vec<LayerId>> {
        self.database().read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT id FROM layers WHERE NOT synced")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Records a layer whose tree and manifest are in place.
    pub(crate) fn insert_layer(&self, id: LayerId, bytes: u64, entries: u64) -> Result<Layer> {
        self.database()
            .write(|transaction| insert(transaction, id, bytes, entries, false))
    }

    /// Forgets a layer; says whether it was known.
    pub(crate) fn delete_layer_row(&self, id: &LayerId) -> Result<bool> {
        self.database().write(|transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM layers WHERE id = ?1")?;
            Ok(statement.execute([id])? > 0)
        })
    }

    /// Verifies a layer that the machine's last start, or further names of its files, made
    /// doubtful. What can be read from the disk after a start is on the disk.
    pub(crate) fn verify_doubtful(&self, id: LayerId) -> Result<()> {
        let before = boot::id()?;
        let times = self.times_linked(&id)?;
        match self.verify(&id, Depth::Full)? {
            Verdict::Sound => {
                self.forget_links(&id, times)?;
                self.mark_read(id, before)
            }
            Verdict::Corrupt { detail } => Err(Error::LayerCorrupt { id, detail }),
        }
    }

    /// A layer of an earlier boot that was read whole is on the disk; of this boot that says
    /// nothing.
    fn mark_read(&self, id: LayerId, boot: &str) -> Result<()> {
        self.database().write(|transaction| {
            transaction
                .prepare_cached("UPDATE layers SET synced = 1 WHERE id = ?1 AND boot <> ?2")?
                .execute((id, boot))?;
            Ok(())
        })
    }

    fn mark_synced(&self, ids: &[LayerId]) -> Result<()> {
        self.database().write(|transaction| {
            let mut statement =
                transaction.prepare_cached("UPDATE layers SET synced = 1 WHERE id = ?1")?;
            for id in ids {
                statement.execute([id])?;
            }
            Ok(())
        })
    }
}

/// Records a layer whose tree and manifest are in place, in a transaction of the caller's.
pub(crate) fn insert(
    transaction: &Connection,
    id: LayerId,
    bytes: u64,
    entries: u64,
    synced: bool,
) -> Result<Layer> {
    let (now, boot) = (now(), boot::id()?);
    // A commit of the same tree may have been faster. Its row stands, whatever made it.
    let sql = "INSERT INTO layers (id, bytes, entries, created_at, used_at, synced, boot) \
               VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6) \
               ON CONFLICT (id) DO UPDATE SET used_at = ?4 \
               RETURNING id, bytes, entries, created_at, used_at, synced";
    let mut statement = transaction.prepare_cached(sql)?;
    let row = (id, bytes as i64, entries as i64, now, synced, boot);
    Ok(statement.query_row(row, from_row)?)
}

/// [`Store::touch`], in a transaction of the caller's.
pub(crate) fn touch(transaction: &Connection, ids: &[LayerId]) -> Result<Vec<LayerId>> {
    let now = now();
    let mut update = transaction.prepare_cached("UPDATE layers SET used_at = ?2 WHERE id = ?1")?;
    let mut known = Vec::with_capacity(ids.len());
    for id in ids {
        if update.execute((id, now))? > 0 {
            known.push(*id);
        }
    }
    Ok(known)
}

pub(crate) fn missing_directory(id: LayerId) -> Error {
    Error::LayerCorrupt {
        id,
        detail: "its directory is missing".to_owned(),
    }
}

pub(crate) fn now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs() as i64,
        Err(before) => -(before.duration().as_secs() as i64),
    }
}

/// A layer, and whether it can be served without a look.
fn row(connection: &Connection, id: &LayerId, boot: &str) -> Result<Option<(Layer, bool)>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, bytes, entries, created_at, used_at, synced, {} FROM layers WHERE id = ?1",
        linked::IS_SAFE
    ))?;
    Ok(statement
        .query_row((id, boot), |row| Ok((from_row(row)?, row.get(6)?)))
        .optional()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Layer> {
    Ok(Layer {
        id: row.get(0)?,
        bytes: row.get::<_, i64>(1)? as u64,
        entries: row.get::<_, i64>(2)? as u64,
        created_at: row.get(3)?,
        used_at: row.get(4)?,
        synced: row.get(5)?,
    })
}
