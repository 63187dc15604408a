//! A stack as an ordinary directory: the driver for where overlayfs is not to be had, and what
//! makes a tree that needs no store any more.
//!
//! How a tree is copied is in `copy`; what a stack shows, in `view`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::Store;
use crate::copy::{Cloned, Piece, Rewrite, copy};
use crate::error::{Context as _, Error, Result};
use crate::id::LayerId;
use crate::layout::random_name;
use crate::rewrite::Prefix;
use crate::stack::Stack;
use crate::staging::Staging;
use crate::steps::reach;

impl Store {
    /// Makes the directory `destination` and fills it with what a stack shows.
    ///
    /// - Modes and times of files and links are the layers'. A directory has its mode; its time
    ///   is now.
    /// - With `rewrite`: in every file that begins with `#!`, and in every selected text file,
    ///   mentions of the old prefix are replaced, and so is the beginning of symbolic links'
    ///   targets. A first line that no kernel could read is turned into a call by `sh`.
    /// - The directory appears complete or not at all: it is made elsewhere and renamed. An empty
    ///   directory in its place is replaced.
    /// - A killed process leaves nothing but what [`Store::recover`] removes; only when
    ///   `destination` is on another file system, a directory `.ptest-…` beside it.
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
        let parent = check_destination(destination)?;
        let prefix = rewrite.map(|Rewrite { from, to, .. }| Prefix { from, to });
        if let Some(prefix) = prefix
            && !prefix.is_usable()
        {
            return Err(Error::UnusablePrefix {
                path: Path::new(OsStr::from_bytes(prefix.to)).to_owned(),
            });
        }
        let places = self.stack_paths(stack)?;
        let places: HashMap<LayerId, PathBuf> =
            stack.layers().iter().copied().zip(places).collect();
        let view = self.resolve(stack)?;
        let pieces: Vec<Piece<'_>> = view
            .iter()
            .map(|(path, visible)| Piece {
                path,
                kind: &visible.kind,
                tree: &places[&visible.layer],
                layer: Some(visible.layer),
            })
            .collect();

        let unfinished = Unfinished::new(self, parent)?;
        let cloned = copy(&pieces, unfinished.path(), rewrite)?;
        reach("clone.copied")?;
        unfinished.finish(destination)?;
        Ok(cloned)
    }
}

/// The directory in the making, gone when dropped before it has its name.
enum Unfinished {
    /// In the store, where `recover` finds it.
    Staged(Staging),
    /// Where only a rename from beside is possible. `None` when it has its name.
    Beside(Option<PathBuf>),
}

impl Unfinished {
    fn new(store: &Store, parent: &Path) -> Result<Self> {
        if place_of(parent)? == place_of(store.home())? {
            return store.stage().map(Self::Staged);
        }
        let path = parent.join(format!(".ptest-{}", random_name()?));
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .at("create the directory", &path)?;
        Ok(Self::Beside(Some(path)))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Staged(staging) => staging.path(),
            Self::Beside(path) => path.as_deref().unwrap_or(Path::new("")),
        }
    }

    fn finish(mut self, destination: &Path) -> Result<()> {
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
        if let Self::Beside(path) = &mut self {
            *path = None;
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Self::Beside(Some(path)) = self {
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

/// Refuses early what the final rename would refuse; returns the directory that it is in.
fn check_destination(destination: &Path) -> Result<&Path> {
    let parent = match destination.parent() {
        Some(parent) if destination.is_absolute() => parent,
        _ => {
            return Err(Error::RelativePath {
                path: destination.to_owned(),
            });
        }
    };
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
    Ok(parent)
}
