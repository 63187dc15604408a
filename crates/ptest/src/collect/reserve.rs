//! Room that is kept so that a full disk can be emptied: to forget a layer or an environment, the
//! database must be written.
//!
//! Not a promise: whoever fills the disk may take what is given up first.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use ptest_store::Store;
use rustix::fs::FallocateFlags;

use crate::error::{Error, ErrorKind, Result};

/// What a transaction that forgets everything takes at most.
const BYTES: u64 = 1 << 20;

/// Keeps the room, if it is not kept already. Where there is none nothing can be done.
pub(crate) fn keep(store: &Store) -> Result<()> {
    let path = path(store)?;
    if path.exists() {
        return Ok(());
    }
    let made = File::create(&path).and_then(|file| {
        Ok(rustix::fs::fallocate(
            &file,
            FallocateFlags::empty(),
            0,
            BYTES,
        )?)
    });
    if made.is_err() {
        // Less than was wanted is no use.
        let _ = fs::remove_file(&path);
    }
    Ok(())
}

/// Does the work; when the disk is full, once more in the room that was kept.
pub(crate) fn with_room<T>(store: &Store, work: impl Fn() -> Result<T>) -> Result<T> {
    let done = match work() {
        Err(error) if error.kind() == ErrorKind::Storage && give_up(store)? => work(),
        done => done,
    };
    keep(store)?;
    done
}

/// Gives the room up; says whether there was any.
fn give_up(store: &Store) -> Result<bool> {
    let path = path(store)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::io(format!("delete {}", path.display()), source)),
        Ok(()) => Ok(true),
    }
}

fn path(store: &Store) -> Result<PathBuf> {
    Ok(store.dir("reserve")?.join("room"))
}
