//! The clone driver: a stack as an ordinary tree, for where nothing can be
//! mounted and for the profile `none`.
//!
//! What commands change in it is found by comparing it with a list made when it
//! was fresh. Not for how files are copied: that is the store's, and not for how
//! their paths are moved: see `python::relocate`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ptest_store::Store;
use rustix::fs::{CWD, RenameFlags};
use walkdir::WalkDir;

use super::directory::Directory;
use crate::engine::{Change, ChangeKind, Instance, Upper};
use crate::error::{Error, ErrorKind, Result};
use crate::python::relocate::clone_tree;

/// Makes the tree of a stack.
pub(super) fn create(store: &Store, directory: &Directory, instance: &Instance) -> Result<()> {
    let tree = directory.tree();
    copy(store, instance, &tree, &tree)?;
    write_list(&tree, &directory.list(&tree)?)
}

/// Every path that is not as it was when the tree was fresh, sorted.
pub(super) fn changes(directory: &Directory) -> Result<Vec<Change>> {
    let tree = directory.tree();
    let mut fresh = read_list(&directory.list(&tree)?)?;
    let mut changes = Vec::new();
    for (path, mark) in marks(&tree)? {
        if fresh.remove(&path).as_ref() != Some(&mark) {
            changes.push(Change {
                path,
                kind: ChangeKind::Written,
            });
        }
    }
    changes.extend(fresh.into_keys().map(|path| Change {
        path,
        kind: ChangeKind::Deleted,
    }));
    changes.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(changes)
}

/// Puts the tree on another stack: made beside, then exchanged, so that there is always one and it has its list.
pub(super) fn restack(
    store: &Store,
    directory: &Directory,
    instance: &Instance,
    upper: Upper,
) -> Result<()> {
    let (tree, next) = (directory.tree(), directory.next_tree());
    if next.symlink_metadata().is_ok() {
        discard(store, directory, &next)?;
    }
    copy(store, instance, &next, &tree)?;
    write_list(&next, &directory.list(&next)?)?;
    if upper == Upper::Keep {
        for change in changes(directory)? {
            carry(&tree, &next, &change)?;
        }
    }
    exchange(&next, &tree)?;
    discard(store, directory, &next)
}

fn copy(store: &Store, instance: &Instance, destination: &Path, place: &Path) -> Result<()> {
    let hard_links = instance.settings.hard_links;
    clone_tree(store, &instance.stack, destination, place, hard_links)?;
    Ok(())
}

/// Throws a tree away, and its list.
fn discard(store: &Store, directory: &Directory, tree: &Path) -> Result<()> {
    let list = directory.list(tree)?;
    store.trash(tree)?;
    match fs::remove_file(&list) {
        // The tree was never complete.
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::io(format!("delete {}", list.display()), source)),
        Ok(()) => Ok(()),
    }
}

/// Takes a change over into the next tree.
fn carry(tree: &Path, next: &Path, change: &Change) -> Result<()> {
    let target = next.join(&change.path);
    match change.kind {
        ChangeKind::Deleted => match fs::remove_file(&target) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("delete {}", target.display()), source))
            }
            _ => Ok(()),
        },
        ChangeKind::Written => {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)
                    .map_err(|source| Error::io(format!("create {}", parent.display()), source))?;
            }
            link(&tree.join(&change.path), &target)
        }
    }
}

/// What tells a file that was changed from one that was not.
///
/// The change time is not among it: a rename of the tree alters it.
type Mark = String;

fn marks(tree: &Path) -> Result<BTreeMap<PathBuf, Mark>> {
    let mut marks = BTreeMap::new();
    for entry in WalkDir::new(tree).min_depth(1) {
        let failed = |source| Error::io(format!("read {}", tree.display()), source);
        let entry = entry.map_err(|error| failed(error.into()))?;
        if entry.file_type().is_dir() {
            continue;
        }
        let facts = entry.metadata().map_err(|error| failed(error.into()))?;
        let mark = format!(
            "{:o} {} {}.{:09}",
            facts.mode(),
            facts.size(),
            facts.mtime(),
            facts.mtime_nsec()
        );
        if let Ok(path) = entry.path().strip_prefix(tree) {
            marks.insert(path.to_owned(), mark);
        }
    }
    Ok(marks)
}

/// One record a path, `MARK NUL PATH NUL`: a path may hold anything but NUL.
fn write_list(tree: &Path, list: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    for (path, mark) in marks(tree)? {
        bytes.extend_from_slice(mark.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(path.as_os_str().as_bytes());
        bytes.push(0);
    }
    fs::write(list, bytes).map_err(|source| Error::io(format!("write {}", list.display()), source))
}

fn read_list(list: &Path) -> Result<BTreeMap<PathBuf, Mark>> {
    let bytes =
        fs::read(list).map_err(|source| Error::io(format!("read {}", list.display()), source))?;
    let mut fields = bytes.split(|byte| *byte == 0);
    let mut fresh = BTreeMap::new();
    while let (Some(mark), Some(path)) = (fields.next(), fields.next()) {
        let mark = std::str::from_utf8(mark).map_err(|source| {
            Error::new(ErrorKind::Corrupt, format!("{} is damaged", list.display()))
                .with_source(source)
        })?;
        fresh.insert(PathBuf::from(OsStr::from_bytes(path)), mark.to_owned());
    }
    Ok(fresh)
}

/// Gives a file of the old tree a name in the next one too: until they are exchanged the old one has everything.
fn link(from: &Path, to: &Path) -> Result<()> {
    let failed = |source| {
        let what = format!("link {} to {}", from.display(), to.display());
        Error::io(what, source)
    };
    match fs::remove_file(to) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(failed(source)),
        _ => fs::hard_link(from, to).map_err(failed),
    }
}

fn exchange(one: &Path, other: &Path) -> Result<()> {
    rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(|errno| {
        let what = format!("exchange {} and {}", one.display(), other.display());
        Error::io(what, errno.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_back_any_path() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("a\nb")).unwrap();
        fs::write(tree.join("a\nb").join(OsStr::from_bytes(b"\xff c")), "x").unwrap();
        let list = directory.path().join("list");
        write_list(&tree, &list).unwrap();
        assert_eq!(read_list(&list).unwrap(), marks(&tree).unwrap());
    }
}
