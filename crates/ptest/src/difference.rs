//! What differs between two environments or snapshots: packages, then files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use ptest_store::{Change, Kind};

use crate::error::Result;
use crate::lease::Lease;
use crate::packages::{self, PackageChange};
use crate::ptest::Ptest;

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Packages, by name.
    pub packages: Vec<PackageChange>,
    /// Files and links, by path.
    pub files: Vec<FileChange>,
}

/// A file or link that differs in what it is, holds or permits. Times alone are no difference, and
/// a directory is one only by what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The path, relative to the environment.
    pub path: PathBuf,
    /// Its size before, in bytes, if it was there.
    pub before: Option<u64>,
    /// Its size after, if it is there.
    pub after: Option<u64>,
}

impl Ptest {
    /// What is different in `after` from `before`, each the name or id of an environment or the
    /// name of a snapshot.
    ///
    /// What runs in an active environment is stopped while what was written in it is copied.
    pub fn diff(&self, before: &str, after: &str) -> Result<Difference> {
        let lease = Lease::take(self.store())?;
        let (before, after) = (self.source(before)?, self.source(after)?);
        let changes = self.store().diff(&before.stack, &after.stack)?;
        let difference = Difference {
            packages: packages::difference(
                &self.packages_of(&self.contents_of(&before)?, &[])?,
                &self.packages_of(&self.contents_of(&after)?, &[])?,
            ),
            files: changes.iter().filter_map(file_change).collect(),
        };
        drop(lease);
        Ok(difference)
    }
}

fn file_change(change: &Change) -> Option<FileChange> {
    let [before, after] = [&change.before, &change.after]
        .map(|kind| kind.as_ref().filter(|kind| !kind.is_directory()));
    if before.is_none() && after.is_none() {
        return None;
    }
    if let (Some(before), Some(after)) = (before, after)
        && is_same(before, after)
    {
        return None;
    }
    Some(FileChange {
        path: OsStr::from_bytes(change.path.as_bytes()).into(),
        before: before.map(size),
        after: after.map(size),
    })
}

fn is_same(before: &Kind, after: &Kind) -> bool {
    match (before, after) {
        (
            Kind::File {
                mode, size, hash, ..
            },
            Kind::File {
                mode: other_mode,
                size: other_size,
                hash: other_hash,
                ..
            },
        ) => (mode, size, hash) == (other_mode, other_size, other_hash),
        (Kind::Symlink { target, .. }, Kind::Symlink { target: other, .. }) => target == other,
        _ => before == after,
    }
}

/// As stat(2) gives it: of a link, the length of its target.
fn size(kind: &Kind) -> u64 {
    match kind {
        Kind::File { size, .. } => *size,
        Kind::Symlink { target, .. } => target.len() as u64,
        _ => 0,
    }
}
