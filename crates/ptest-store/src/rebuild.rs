//! A database that is made anew: beside the damaged one, and in its place when it is whole.
//!
//! As long as it is not whole there is none, and nobody can open the store, so that nobody takes what is on the disk for
//! something that no database knows. Whoever is killed on the way is followed by the next who begins. Not for reading what
//! is damaged: that is `salvage`'s.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;

use crate::Store;
use crate::db::{beside, log_of};
use crate::error::{Context as _, Error, Result};
use crate::home;
use crate::salvage::Salvaged;
use crate::steps::reach;

/// A store whose database is being made anew.
#[derive(Debug)]
pub struct Rebuilding {
    store: Store,
    place: PathBuf,
    aside: Option<PathBuf>,
    /// Who has it is the only one to do this.
    _lock: File,
}

impl Store {
    /// Puts the database of the store at `home` aside, damaged or not, and begins a new one.
    ///
    /// The store cannot be opened until [`Rebuilding::finish`]. What is put aside is never changed.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when another process has the store open, or does the same.
    pub fn rebuild(home: &Path) -> Result<Rebuilding> {
        let layout = home::open(home)?;
        let place = layout.database();
        let lock = take_lock(&home::marker(layout.home()), &place)?;
        let aside = set_aside(&place)?;
        let unfinished = beside(&place, "-unfinished");
        remove_database(&unfinished)?;
        Ok(Rebuilding {
            store: Self::at(layout, &unfinished)?,
            place,
            aside,
            _lock: lock,
        })
    }
}

impl Rebuilding {
    /// The store on its new database, for whoever brings tables and looks at what is on the disk.
    ///
    /// No clone of it may be left when [`finish`](Self::finish) is called.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Copies what can be read of the damaged database into the tables that the new one has by now.
    pub fn salvage(&self) -> Result<Vec<Salvaged>> {
        let aside = self.aside.as_deref();
        let salvaged = self.store.database().salvage(aside)?;
        // What reading it has made.
        aside.map_or(Ok(()), |aside| remove_file(&beside(aside, "-shm")))?;
        Ok(salvaged)
    }

    /// Gives the new database its place. Returns where the damaged one is, if there was any.
    pub fn finish(self) -> Result<Option<PathBuf>> {
        let Self {
            store,
            place,
            aside,
            _lock,
        } = self;
        let unfinished = store.database().path().to_owned();
        store.database().checkpoint()?;
        drop(store);
        let file = File::open(&unfinished).at("open", &unfinished)?;
        file.sync_all().at("write", &unfinished)?;
        reach("rebuild.made")?;
        fs::rename(&unfinished, &place).at("create", &place)?;
        remove_database(&unfinished)?;
        sync_directory_of(&place)?;
        reach("rebuild.placed")?;
        Ok(aside)
    }
}

fn take_lock(marker: &Path, database: &Path) -> Result<File> {
    let lock = File::open(marker).at("open", marker)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(in_use(database)),
        Err(error) => Err(error).at("lock", marker),
    }
}

fn in_use(database: &Path) -> Error {
    Error::InUse {
        path: database.to_owned(),
    }
}

/// Gives the database and its log another name, and returns that.
///
/// If there is no database, somebody was killed here, and the last one that was put aside is it, or somebody deleted it.
fn set_aside(database: &Path) -> Result<Option<PathBuf>> {
    let log = log_of(database);
    let last = last_number(database)?;
    let next = numbered(database, last + 1);
    let last = (last > 0).then(|| numbered(database, last));
    let aside = match (is_there(database)?, has_log(database)?, last) {
        (true, ..) => {
            refuse_used(database)?;
            // Before its log: without a database nobody opens the store, without its log it is an older one.
            fs::rename(database, &next).at("put aside", database)?;
            reach("rebuild.aside")?;
            next
        }
        (false, true, Some(last)) if !has_log(&last)? => last,
        (false, true, _) => {
            let private = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&next);
            private.at("create", &next)?;
            next
        }
        (false, false, Some(last)) => last,
        (false, false, None) => return Ok(None),
    };
    if has_log(database)? {
        fs::rename(&log, log_of(&aside)).at("put aside", &log)?;
        reach("rebuild.log")?;
    }
    // What is left is empty, and of nothing.
    remove_database(database)?;
    keep_log(&aside)?;
    Ok(Some(aside))
}

/// SQLite deletes the log of an empty file; of a page of zeros it looks for the page in the log.
fn keep_log(aside: &Path) -> Result<()> {
    const PAGE: u64 = 4096;
    let file = OpenOptions::new()
        .write(true)
        .open(aside)
        .at("open", aside)?;
    if file.metadata().at("examine", aside)?.len() == 0 {
        file.set_len(PAGE).at("write", aside)?;
    }
    Ok(())
}

/// SQLite has a lock on each database that is open.
fn refuse_used(database: &Path) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(database);
    let file = file.at("open", database)?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK | Errno::ACCESS) => Err(in_use(database)),
        locked => locked.at("lock", database),
    }
}

const ASIDE: &str = "-damaged-";

fn numbered(database: &Path, number: u32) -> PathBuf {
    beside(database, &format!("{ASIDE}{number}"))
}

/// The number of the last database that was put aside; 0 when there is none.
fn last_number(database: &Path) -> Result<u32> {
    let home = database.parent().unwrap_or(database);
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    let mut last = 0;
    for entry in fs::read_dir(home).at("list", home)? {
        let found = entry.at("list", home)?.file_name();
        let number = found.to_str().and_then(|found| {
            let number = found.strip_prefix(&*name)?.strip_prefix(ASIDE)?;
            number.parse().ok()
        });
        last = last.max(number.unwrap_or_default());
    }
    Ok(last)
}

fn is_there(path: &Path) -> Result<bool> {
    path.try_exists().at("examine", path)
}

/// Whether there is anything in the log of a database.
fn has_log(database: &Path) -> Result<bool> {
    let log = log_of(database);
    match fs::metadata(&log) {
        Ok(facts) => Ok(facts.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("examine", &log),
    }
}

/// What there is of a database that nobody needs.
fn remove_database(path: &Path) -> Result<()> {
    ["", "-wal", "-shm"]
        .into_iter()
        .try_for_each(|suffix| remove_file(&beside(path, suffix)))
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.at("remove", path),
    }
}

fn sync_directory_of(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    let opened = File::open(directory).at("open", directory)?;
    opened.sync_all().at("write", directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Stack, StackId};

    /// A store of one stack, all of it in the log; gives the log.
    fn store(home: &Path) -> (PathBuf, StackId) {
        let store = Store::open(home).unwrap();
        store.put_stack(&Stack::default()).unwrap();
        (store.database().log(), Stack::default().id())
    }

    #[test]
    fn what_is_in_the_log_alone_is_read_whether_the_database_is_there_or_not() {
        for is_there in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let home = directory.path().join("store");
            let (log, stack) = store(&home);
            let database = home.join("ptest.db");
            fs::remove_file(&database).unwrap();
            if is_there {
                File::create(&database).unwrap();
            }
            let rebuilding = Store::rebuild(&home).unwrap();
            assert!(!log.exists());
            assert!(matches!(Store::rebuild(&home), Err(Error::InUse { .. })));
            rebuilding.salvage().unwrap();
            let aside = rebuilding.finish().unwrap().unwrap();
            assert!(
                Store::open(&home).unwrap().stack(&stack).is_ok(),
                "{is_there}"
            );
            // What was put aside is kept, and can be read once more.
            fs::remove_file(&database).unwrap();
            let rebuilding = Store::rebuild(&home).unwrap();
            rebuilding.salvage().unwrap();
            assert_eq!(rebuilding.finish().unwrap(), Some(aside), "{is_there}");
            assert!(
                Store::open(&home).unwrap().stack(&stack).is_ok(),
                "{is_there}"
            );
        }
    }

    #[test]
    fn each_database_that_is_put_aside_has_a_name_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("store");
        store(&home);
        for number in 1..4 {
            let aside = Store::rebuild(&home).unwrap().finish().unwrap().unwrap();
            assert_eq!(aside, home.join(format!("ptest.db-damaged-{number}")));
        }
    }
}
