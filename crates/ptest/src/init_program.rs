//! `ptest-init` on disk: the library carries it and writes it out once.
//!
//! One file for a store, so that the pages of all inits are shared, and named by
//! its content, so that two versions of ptest can share a store.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

static PROGRAM: &[u8] = include_bytes!(env!("PTEST_INIT_PROGRAM"));

/// The path of the program below `directory`, written there when it is not.
pub(crate) fn install(directory: &Path) -> Result<PathBuf> {
    let path = directory.join(file_name());
    if let Ok(found) = fs::symlink_metadata(&path)
        && found.len() == PROGRAM.len() as u64
    {
        return Ok(path);
    }
    write(directory, &path)
        .map_err(|source| Error::io(format!("write {}", path.display()), source))?;
    Ok(path)
}

fn file_name() -> String {
    format!("ptest-init-{}", env!("PTEST_INIT_HASH"))
}

fn write(directory: &Path, path: &Path) -> std::io::Result<()> {
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
