//! What files take on disk.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use walkdir::WalkDir;

use crate::error::{Error, Result};

/// The bytes of all blocks that are allocated to what is at `path` and below, as `du` counts them.
///
/// A file with several names counts once. What goes away meanwhile, and what cannot be looked
/// into, counts nothing.
pub(crate) fn allocated(path: &Path) -> Result<u64> {
    allocated_to(path, WalkDir::new(path))
}

/// The same of what is below a directory, without the directory itself.
pub(crate) fn allocated_below(path: &Path) -> Result<u64> {
    allocated_to(path, WalkDir::new(path).min_depth(1))
}

fn allocated_to(path: &Path, entries: WalkDir) -> Result<u64> {
    const BLOCK: u64 = 512;
    let mut several_names = HashSet::new();
    let mut bytes = 0;
    for entry in entries {
        let facts = match entry.and_then(|entry| entry.metadata()) {
            Ok(facts) => facts,
            Err(error) if is_passed_over(&error) => continue,
            Err(error) => {
                let what = format!("measure {}", path.display());
                return Err(Error::io(what, error.into()));
            }
        };
        let is_new = facts.is_dir()
            || facts.nlink() == 1
            || several_names.insert((facts.dev(), facts.ino()));
        if is_new {
            bytes += facts.blocks() * BLOCK;
        }
    }
    Ok(bytes)
}

fn is_passed_over(error: &walkdir::Error) -> bool {
    let kind = error.io_error().map(io::Error::kind);
    matches!(
        kind,
        Some(io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn holes_count_nothing_and_a_second_name_neither() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let empty = allocated(path).unwrap();
        fs::write(path.join("full"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(path.join("full"), path.join("again")).unwrap();
        let sparse = File::create(path.join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        let bytes = allocated(path).unwrap() - empty;
        assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_is_not_there_takes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(allocated(&directory.path().join("gone")).unwrap(), 0);
    }
}
