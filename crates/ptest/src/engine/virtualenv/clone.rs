//! The clone driver: a stack as an ordinary tree, for where nothing can be
//! mounted and for the profile `none`.
//!
//! What commands change in it is found by comparing it with a list made when it
//! was fresh. Not for how files are copied: that is the store's, and not for how
//! their paths are moved: see `python::relocate`.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use ptest_store::{Entry, LeftOut, Stack, Staging, Store, TreePath, View};
use walkdir::WalkDir;

use super::directory::Directory;
use crate::engine::{Change, ChangeKind, Instance, Upper};
use crate::error::{Error, ErrorKind, Result};
use crate::python::relocate::{clone_tree, moved_back};

/// Makes the tree of an instance.
pub(super) fn create(store: &Store, directory: &Directory, instance: &Instance) -> Result<()> {
    make(
        store,
        directory,
        instance,
        &instance.stack,
        instance.generation,
    )?;
    point_at(directory, instance.generation)
}

/// Every path that is not as it was when the tree was fresh, sorted.
pub(super) fn changes(directory: &Directory, generation: u32) -> Result<Vec<Change>> {
    let mut fresh = read_list(&directory.list(generation))?;
    let mut changes = Vec::new();
    for (path, mark) in marks(&directory.tree_of(generation))? {
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

/// Makes the tree of another generation beside the one that is there, on the disk.
pub(super) fn restack(
    store: &Store,
    directory: &Directory,
    instance: &Instance,
    to: u32,
    stack: &Stack,
    upper: Upper,
) -> Result<()> {
    let from = instance.generation;
    make(store, directory, instance, stack, to)?;
    if upper == Upper::Keep {
        let (tree, next) = (directory.tree_of(from), directory.tree_of(to));
        for change in changes(directory, from)? {
            carry(&tree, &next, &change)?;
        }
    }
    // The one that is there goes when this is the one that is named.
    Ok(store.flush()?)
}

/// Makes the tree of this generation the one that is used.
pub(super) fn point_at(directory: &Directory, generation: u32) -> Result<()> {
    let (link, tree) = (directory.tree(), directory.tree_of(generation));
    let Some(name) = tree.file_name() else {
        return Ok(());
    };
    if fs::read_link(&link).is_ok_and(|target| target.as_os_str() == name) {
        return Ok(());
    }
    let next = link.with_extension("next");
    let failed = |source| Error::io(format!("create {}", link.display()), source);
    match fs::remove_file(&next) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
        _ => symlink(name, &next).map_err(failed)?,
    }
    fs::rename(&next, &link).map_err(failed)
}

/// Copies what is not as it was when the tree was fresh, for a layer; `None` when all is.
pub(super) fn stage_changes(
    store: &Store,
    directory: &Directory,
    instance: &Instance,
) -> Result<Option<(Staging, Vec<LeftOut>)>> {
    let (written, deleted): (Vec<Change>, Vec<Change>) = changes(directory, instance.generation)?
        .into_iter()
        .partition(|change| change.kind == ChangeKind::Written);
    let written: HashSet<PathBuf> = written.into_iter().map(|change| change.path).collect();
    let deleted: Vec<TreePath> = deleted
        .iter()
        .filter_map(|change| TreePath::new(change.path.as_os_str().as_bytes()).ok())
        .collect();
    let stack = store.resolve(&instance.stack)?;
    let tree = directory.tree_of(instance.generation);
    let is_new_directory =
        |entry: &Entry| entry.kind.is_directory() && stack.get(entry.path.as_bytes()).is_none();
    let is_changed =
        |entry: &Entry| written.contains(entry.path.as_path()) || is_new_directory(entry);
    if written.is_empty() && deleted.is_empty() && !has_new_directory(&tree, &stack)? {
        return Ok(None);
    }
    let place = directory.tree();
    Ok(Some(store.stage_changes(
        &tree,
        &is_changed,
        &deleted,
        Some(moved_back(&place)),
    )?))
}

/// Whether a command made a directory, which the list of fresh files does not show.
fn has_new_directory(tree: &Path, stack: &View) -> Result<bool> {
    for entry in WalkDir::new(tree).min_depth(1) {
        let entry =
            entry.map_err(|error| Error::io(format!("read {}", tree.display()), error.into()))?;
        let path = entry.path().strip_prefix(tree).unwrap_or(entry.path());
        if entry.file_type().is_dir() && stack.get(path.as_os_str().as_bytes()).is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The tree is made to be used at the place that leads to the one that is used.
fn make(
    store: &Store,
    directory: &Directory,
    instance: &Instance,
    stack: &Stack,
    generation: u32,
) -> Result<()> {
    let tree = directory.tree_of(generation);
    let hard_links = instance.settings.hard_links;
    clone_tree(store, stack, &tree, &directory.tree(), hard_links)?;
    write_list(&tree, &directory.list(generation))
}

/// Takes a change over into the next tree.
fn carry(tree: &Path, next: &Path, change: &Change) -> Result<()> {
    let target = next.join(&change.path);
    match change.kind {
        ChangeKind::Deleted => match fs::remove_file(&target) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
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

/// Gives a file of the old tree a name in the next one too: either may be the one that stays.
fn link(from: &Path, to: &Path) -> Result<()> {
    let failed = |source| {
        let what = format!("link {} to {}", from.display(), to.display());
        Error::io(what, source)
    };
    match fs::remove_file(to) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed(source)),
        _ => fs::hard_link(from, to).map_err(failed),
    }
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
