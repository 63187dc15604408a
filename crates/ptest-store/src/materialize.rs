//! A stack as an ordinary directory: the driver for where overlayfs is not to be had, and what
//! makes a tree that needs no store any more.
//!
//! How a tree is copied is in `copy`; what a stack shows, in `view`.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags, StatxFlags, renameat_with, statx};

use crate::Store;
use crate::contents::CopyMethod;
use crate::copy::{Cloned, Contents, Piece, Rewrite, copy};
use crate::error::{Context as _, Error, Result};
use crate::id::LayerId;
use crate::layout::random_name;
use crate::rewrite::Prefix;
use crate::stack::Stack;
use crate::staging::Staging;
use crate::steps::reach;
use crate::view::View;

impl Store {
    /// Makes the directory `destination` and fills it with what a stack shows.
    ///
    /// - Modes and times of files and links are the layers'. A directory has its mode; its time
    ///   is now.
    /// - With `rewrite`: in every file that begins with `#!`, and in every selected text file,
    ///   mentions of the old prefix are replaced, and so is the beginning of symbolic links'
    ///   targets. A first line that no kernel could read is turned into a call by `sh`.
    /// - The directory appears complete or not at all: it is made elsewhere and renamed. An empty
    ///   directory in its place is replaced. One that something is mounted on cannot be: what is
    ///   made within it is moved up piece by piece, in the order of the names.
    /// - A killed process leaves nothing but what [`Store::recover`] removes; only when
    ///   `destination` is on another file system, a directory `.ptest-…` beside it, or in it when
    ///   it is a mount point.
    ///
    /// # Errors
    ///
    /// [`Error::DestinationTaken`] when something is there; [`Error::UnusablePrefix`] when a
    /// script could not name the new prefix; [`Error::LayerMissing`] or [`Error::LayerCorrupt`].
    pub fn clone_tree(
        &self,
        stack: &Stack,
        destination: &Path,
        rewrite: Option<Rewrite<'_>>,
    ) -> Result<Cloned> {
        self.copy_tree(stack, destination, rewrite, Contents::Own)
    }

    /// The same, but where files cannot share their contents they become further names of the
    /// layers' files: nothing is copied, and whoever writes to one writes into the layer.
    ///
    /// From then on the layers are verified in full each time they are served, until none of
    /// these names is left.
    ///
    /// # Errors
    ///
    /// [`Error::LinksAsRoot`]: permissions that keep others from writing do not keep root.
    pub fn link_tree(
        &self,
        stack: &Stack,
        destination: &Path,
        rewrite: Option<Rewrite<'_>>,
    ) -> Result<Cloned> {
        if rustix::process::geteuid().is_root() {
            return Err(Error::LinksAsRoot);
        }
        let contents = match self.copy_method()? {
            CopyMethod::Reflink => Contents::Own,
            CopyMethod::Copy { .. } => Contents::Linked,
        };
        self.copy_tree(stack, destination, rewrite, contents)
    }

    fn copy_tree(
        &self,
        stack: &Stack,
        destination: &Path,
        rewrite: Option<Rewrite<'_>>,
        contents: Contents,
    ) -> Result<Cloned> {
        self.check_destination(destination)?;
        let prefix = rewrite.map(|Rewrite { from, to, .. }| Prefix { from, to });
        if let Some(prefix) = prefix
            && !prefix.is_usable()
        {
            return Err(Error::UnusablePrefix {
                path: Path::new(OsStr::from_bytes(prefix.to)).to_owned(),
            });
        }
        let places = self.places(stack)?;
        let view = self.resolve(stack)?;
        let pieces = pieces(&view, &places);

        let unfinished = Unfinished::new(self, destination)?;
        let cloned = copy(&pieces, unfinished.path(), rewrite, contents)?;
        if contents == Contents::Linked {
            // Before anybody can write to one.
            self.mark_linked(stack)?;
        }
        reach("clone.copied")?;
        unfinished.finish(destination)?;
        Ok(cloned)
    }

    /// Where the trees of a stack's layers are.
    pub(crate) fn places(&self, stack: &Stack) -> Result<HashMap<LayerId, PathBuf>> {
        let paths = self.stack_paths(stack)?;
        Ok(stack.layers().iter().copied().zip(paths).collect())
    }

    /// Refuses early what [`clone_tree`](Store::clone_tree) would refuse in the end: what is not
    /// absolute, and what is there and not an empty directory.
    pub fn check_destination(&self, destination: &Path) -> Result<()> {
        if !destination.is_absolute() || destination.parent().is_none() {
            return Err(Error::RelativePath {
                path: destination.to_owned(),
            });
        }
        let taken = match fs::symlink_metadata(destination) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Ok(found) if found.is_dir() => fs::read_dir(destination)
                .at("list", destination)?
                .next()
                .is_some(),
            result => result.at("examine", destination).map(|_| true)?,
        };
        if taken {
            return Err(Error::DestinationTaken {
                path: destination.to_owned(),
            });
        }
        Ok(())
    }
}

/// What to copy so that a tree shows what a view does.
pub(crate) fn pieces<'a>(view: &'a View, places: &'a HashMap<LayerId, PathBuf>) -> Vec<Piece<'a>> {
    let entries = view.iter();
    entries
        .map(|(path, visible)| Piece {
            path,
            kind: &visible.kind,
            tree: &places[&visible.layer],
            layer: Some(visible.layer),
        })
        .collect()
}

/// The directory in the making, gone when dropped before it has its name.
enum Unfinished {
    /// In the store, where `recover` finds it.
    Staged(Staging),
    /// Where only a rename from beside is possible, or from within a mount point. `None` when it
    /// has its name.
    Near(Option<PathBuf>),
}

impl Unfinished {
    fn new(store: &Store, destination: &Path) -> Result<Self> {
        let parent = destination.parent().unwrap_or(destination);
        let place = place_of(parent)?;
        let near = if is_mount_point(destination, place)? {
            destination
        } else if place == place_of(store.home())? {
            return store.stage().map(Self::Staged);
        } else {
            parent
        };
        let path = near.join(format!(".ptest-{}", random_name()?));
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .at("create the directory", &path)?;
        Ok(Self::Near(Some(path)))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Staged(staging) => staging.path(),
            Self::Near(path) => path.as_deref().unwrap_or(Path::new("")),
        }
    }

    fn finish(mut self, destination: &Path) -> Result<()> {
        if self.path().parent() == Some(destination) {
            return self.move_up(destination);
        }
        fs::rename(self.path(), destination).map_err(|source| match source.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => Error::DestinationTaken {
                path: destination.to_owned(),
            },
            _ => Error::Io {
                action: "create",
                path: destination.to_owned(),
                source,
            },
        })?;
        if let Self::Near(path) = &mut self {
            *path = None;
        }
        Ok(())
    }

    /// Moves what was made within a mount point up into it; takes all of it back if one piece
    /// cannot be moved.
    fn move_up(&self, destination: &Path) -> Result<()> {
        let made = self.path();
        let mut names: Vec<OsString> = fs::read_dir(made)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
            .at("list", made)?;
        names.sort();
        for (moved, name) in names.iter().enumerate() {
            let target = destination.join(name);
            // Somebody else may have put something there meanwhile: it stays.
            let renamed = renameat_with(CWD, made.join(name), CWD, &target, RenameFlags::NOREPLACE);
            if let Err(errno) = renamed {
                for name in &names[..moved] {
                    // What is reported is why the move failed; what stays is seen.
                    let _ = fs::rename(destination.join(name), made.join(name));
                }
                return Err(errno).at("create", target);
            }
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Self::Near(Some(path)) = self {
            // What is reported is why it was not finished.
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// What two directories have in common when a rename between them is possible: not the device
/// alone, which a bind mount shares, nor the mount alone, which a btrfs subvolume does.
fn place_of(directory: &Path) -> Result<(u32, u32, u64)> {
    let found =
        statx(CWD, directory, AtFlags::empty(), StatxFlags::MNT_ID).at("examine", directory)?;
    Ok((found.stx_dev_major, found.stx_dev_minor, found.stx_mnt_id))
}

/// Whether something is mounted on an existing directory in a parent that is at `parent`.
fn is_mount_point(directory: &Path, parent: (u32, u32, u64)) -> Result<bool> {
    Ok(directory.is_dir() && place_of(directory)?.2 != parent.2)
}
