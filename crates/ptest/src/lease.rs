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

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use ptest_store::Store;

use crate::error::{Error, Result};
use crate::lock::FileLock;
use crate::ptest::PATIENCE;
use crate::timestamp::Timestamp;

const PREFIX: &str = "lease-";

/// Keeps what is used while it lasts.
#[derive(Debug)]
pub(crate) struct Lease(Option<FileLock>);

impl Lease {
    pub(crate) fn take(store: &Store) -> Result<Self> {
        let name = format!("{PREFIX}{}", crate::random::hex()?);
        let path = store.dir("locks")?.join(name);
        // Only a collection can hold it, for a moment.
        FileLock::acquire(&path, PATIENCE, "a lease").map(|lock| Self(Some(lock)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A file that is left keeps nothing once its lock is free, and tidying deletes it.
        let _ = self.0.take().map(FileLock::discard);
    }
}

/// When the oldest lease that is held was taken.
///
/// The clock may have been put back since: then what was used under the lease has times from before
/// it, and nobody can tell what else has.
pub(crate) fn oldest(locks: &Path) -> Result<Option<Timestamp>> {
    let failed = |source| Error::io(format!("read {}", locks.display()), source);
    let mut oldest = None;
    for entry in fs::read_dir(locks).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes())
        {
            continue;
        }
        // Looked at first: once it is given back there is nothing to look at.
        let taken = match entry.metadata().and_then(|facts| facts.modified()) {
            Ok(time) => time.duration_since(UNIX_EPOCH).unwrap_or_default(),
            Err(source) if source.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(failed(source)),
        };
        if let Some(left) = FileLock::try_acquire(&entry.path())? {
            left.discard()?;
        } else {
            let mut taken = Timestamp::from_millisecond(taken.as_millis() as i64);
            if taken > Timestamp::now() {
                taken = Timestamp::from_millisecond(i64::MIN);
            }
            oldest = oldest.min(Some(taken)).or(Some(taken));
        }
    }
    Ok(oldest)
}
