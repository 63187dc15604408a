//! What other versions of ptest put beside a store: their `ptest-init`, and the pip they carry.
//! What a dead process was writing there, too.
//!
//! Not for this version's own, nor for the pip of an older interpreter, which any version uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ptest_store::Store;

use crate::error::{Error, Result};
use crate::init_program::InitProgram;
use crate::python::PipTool;

/// Programs that no process uses, and that none begins to use while this lasts.
#[derive(Debug)]
pub(super) struct Unused {
    /// Locked, each, against whoever would use them.
    _programs: Vec<InitProgram>,
    paths: Vec<PathBuf>,
}

impl Unused {
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    pub(super) fn trash(&self, store: &Store) -> Result<()> {
        for path in &self.paths {
            match store.trash(path) {
                // Another collection was faster.
                Err(ptest_store::Error::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound => {}
                trashed => trashed?,
            }
        }
        Ok(())
    }
}

/// Finds them. While a process of another version lives, only other versions' programs are.
pub(super) fn unused(store: &Store) -> Result<Unused> {
    let directory = store.dir("bin")?;
    let mut programs = Vec::new();
    let mut all_free = true;
    for path in InitProgram::others(&directory)? {
        match InitProgram::unless_used(&path)? {
            Some(program) => programs.push(program),
            None => all_free = false,
        }
    }
    let mut paths: Vec<PathBuf> = programs.iter().map(|it| it.path().to_owned()).collect();
    paths.extend(unfinished(&directory)?);
    if all_free && !programs.is_empty() {
        paths.extend(pips(&directory)?);
    }
    Ok(Unused {
        _programs: programs,
        paths,
    })
}

/// What was being written when its writer died: each has a hidden name until it is complete, which
/// takes seconds.
fn unfinished(directory: &Path) -> Result<Vec<PathBuf>> {
    const LONG: Duration = Duration::from_hours(1);
    let failed = |source| Error::io(format!("read {}", directory.display()), source);
    let mut unfinished = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // What is gone again is complete.
        let written = entry.metadata().and_then(|facts| facts.modified());
        let is_old = written.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LONG));
        if is_hidden && is_old {
            unfinished.push(entry.path());
        }
    }
    Ok(unfinished)
}

/// The pips that other versions carried: a wheel in a directory named by its content, and
/// unpacked copies whose names end with that.
fn pips(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::io(format!("read {}", directory.display()), source);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    let carried = |name: &&String| {
        name.len() == 16
            && name.bytes().all(|byte| byte.is_ascii_hexdigit())
            && name.as_str() != PipTool::carried_hash()
    };
    let hashes: Vec<&String> = names.iter().filter(carried).collect();
    let is_one = |name: &String| {
        hashes
            .iter()
            .any(|hash| name == *hash || name.ends_with(&format!("-{hash}")))
    };
    let mut pips: Vec<&String> = names.iter().filter(|name| is_one(name)).collect();
    pips.sort();
    Ok(pips.into_iter().map(|name| directory.join(name)).collect())
}
