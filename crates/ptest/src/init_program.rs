//! `ptest-init` on disk: the library carries it and writes it out once.
//!
//! One file for a store, so that the pages of all inits are shared, and named by
//! its content, so that two versions of ptest can share a store. Whoever may start
//! it holds a shared lock on the file, which says to a collection that it is used.
//! What runs already needs the file no more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};

static PROGRAM: &[u8] = include_bytes!(env!("PTEST_INIT_PROGRAM"));

const PREFIX: &str = "ptest-init-";

/// The program of some version, there for as long as this is.
#[derive(Debug)]
pub(crate) struct InitProgram {
    path: PathBuf,
    _lock: File,
}

impl InitProgram {
    /// This version's program below `directory`, written there when it is not.
    pub(crate) fn install(directory: &Path) -> Result<Self> {
        let path = directory.join(file_name());
        let failed = |source| Error::io(format!("write {}", path.display()), source);
        loop {
            if let Some(found) = lock(&path, FlockOperation::LockShared).map_err(failed)?
                && found.metadata().map_err(failed)?.len() == PROGRAM.len() as u64
            {
                return Ok(Self { path, _lock: found });
            }
            write(directory, &path).map_err(failed)?;
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The programs of other versions below `directory`.
    pub(crate) fn others(directory: &Path) -> Result<Vec<PathBuf>> {
        let failed = |source| Error::io(format!("read {}", directory.display()), source);
        let mut others = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let is_one = name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
            if is_one && name != *file_name() {
                others.push(directory.join(name));
            }
        }
        others.sort();
        Ok(others)
    }

    /// A program that no process uses, and none can while the result lives.
    pub(crate) fn unless_used(path: &Path) -> Result<Option<Self>> {
        let found = lock(path, FlockOperation::NonBlockingLockExclusive)
            .map_err(|source| Error::io(format!("lock {}", path.display()), source))?;
        Ok(found.map(|lock| Self {
            path: path.to_owned(),
            _lock: lock,
        }))
    }
}

fn file_name() -> String {
    format!("{PREFIX}{}", env!("PTEST_INIT_HASH"))
}

/// The file at `path` under this lock; `None` when it is not there, or somebody else's.
fn lock(path: &Path, operation: FlockOperation) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match flock(&file, operation) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    // A collection may have thrown it away between our open and our lock.
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(found)) if held.ino() == found.ino() && held.dev() == found.dev() => {
            Ok(Some(file))
        }
        _ => Ok(None),
    }
}

fn write(directory: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let temporary = directory.join(format!(".{}-{}", file_name(), std::process::id()));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o755)
        .open(&temporary)?;
    file.write_all(PROGRAM)?;
    drop(file);
    fs::rename(&temporary, path)
}
