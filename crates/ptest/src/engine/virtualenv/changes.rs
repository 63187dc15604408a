//! What was written in an environment: its upper directory, read as overlayfs
//! marks it.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use walkdir::WalkDir;

use crate::engine::{Change, ChangeKind};
use crate::error::{Error, Result};

/// Every path of an upper directory that is not as the stack has it, sorted.
///
/// A directory that is there in the stack too says nothing by itself.
pub(super) fn of_upper(upper: &Path) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for entry in WalkDir::new(upper).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let what = format!("read {}", upper.display());
            Error::io(what, error.into())
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        let kind = if is_whiteout(entry.path())? {
            ChangeKind::Deleted
        } else {
            ChangeKind::Written
        };
        if let Ok(path) = entry.path().strip_prefix(upper) {
            changes.push(Change {
                path: path.to_owned(),
                kind,
            });
        }
    }
    Ok(changes)
}

/// A character device 0:0 stands for what was deleted (overlayfs, "whiteouts and
/// opaque directories").
fn is_whiteout(path: &Path) -> Result<bool> {
    let metadata = fs::symlink_metadata(path)
        .map_err(|source| Error::io(format!("look at {}", path.display()), source))?;
    Ok(metadata.file_type().is_char_device() && metadata.rdev() == 0)
}
