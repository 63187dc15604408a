//! What keeps layers and recipes from being collected before a row refers to them.
//!
//! Whoever chooses or makes layers takes a lease first, says of each that it is used
//! ([`Store::touch`], a commit, [`recipe::touch`](crate::recipe::touch)), and gives the lease back
//! when a row refers to the stack. A collection leaves what was used since the oldest lease
//! began. It looks at the leases inside its transaction: what was touched before that is under a
//! lease that it sees, or in a row that it sees; what is touched afterwards is found to be gone.
//!
//! A lease is a locked file, so that it ends with its holder, however that ends. Not for keeping
//! operations apart: that is `lock`'s.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ptest_sandbox::queue::{self, Place};
use ptest_store::Store;

use crate::error::{Error, Result};
use crate::lock::Locks;
use crate::ptest::PATIENCE;
use crate::timestamp::Timestamp;

/// Whoever makes or looks at leases holds this lock: a file is not seen before it is locked.
const DOOR: &str = "leases";

/// Keeps what is used while it lasts.
#[derive(Debug)]
pub(crate) struct Lease {
    path: PathBuf,
    _held: Place,
}

impl Lease {
    pub(crate) fn take(store: &Store) -> Result<Self> {
        let path = directory(store)?.join(crate::random::hex()?);
        let failed = |source| Error::io(format!("lock {}", path.display()), source);
        let _door = Locks::of(store)?.acquire(DOOR, PATIENCE, "the list of leases")?;
        let file = File::create_new(&path).map_err(failed)?;
        match queue::enter_empty(file, "").map_err(failed)? {
            Ok(held) => Ok(Self { path, _held: held }),
            Err(_file) => Err(failed(io::ErrorKind::WouldBlock.into())),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A file that is left keeps nothing once its lock is free, and whoever looks at it next deletes it.
        let _ = fs::remove_file(&self.path);
    }
}

/// When the oldest lease that is held was taken. Deletes those of dead holders.
///
/// The clock may have been put back since: then what was used under the lease has times from before
/// it, and nobody can tell what else has.
pub(crate) fn oldest(store: &Store) -> Result<Option<Timestamp>> {
    let directory = directory(store)?;
    let failed = |source| Error::io(format!("read {}", directory.display()), source);
    let _door = Locks::of(store)?.acquire(DOOR, PATIENCE, "the list of leases")?;
    let mut oldest = None;
    for entry in fs::read_dir(&directory).map_err(failed)? {
        if let Some(taken) = taken(&entry.map_err(failed)?.path()).map_err(failed)? {
            oldest = oldest.min(Some(taken)).or(Some(taken));
        }
    }
    Ok(oldest)
}

/// When this lease was taken, if it is held.
fn taken(path: &Path) -> io::Result<Option<Timestamp>> {
    let file = match File::options().write(true).open(path) {
        // Given back just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let time = file.metadata()?.modified()?;
    if queue::enter_empty(file, "")?.is_ok() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(None),
        };
    }
    let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let taken = Timestamp::from_millisecond(time.as_millis() as i64);
    Ok(Some(if taken > Timestamp::now() {
        Timestamp::from_millisecond(i64::MIN)
    } else {
        taken
    }))
}

fn directory(store: &Store) -> Result<PathBuf> {
    Ok(store.dir("leases")?)
}
