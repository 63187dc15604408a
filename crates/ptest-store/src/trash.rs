//! Getting rid of things at once, and deleting them later.
//!
//! A rename into `trash/` takes microseconds whatever is inside; deleting is left to whoever has
//! time. What cannot be renamed is deleted where it is: whoever throws something away has forgotten
//! it before, so that what is left of it after a kill is thrown away again. How a tree is deleted
//! is in `remove`.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::Store;
use crate::error::{Context as _, Result};
use crate::layout::random_name;
use crate::remove;
use crate::steps::reach;

/// What [`Store::empty_trash`] did.
#[derive(Debug, Default)]
pub struct Emptied {
    /// How many files, links and directories were deleted.
    pub entries: u64,
    /// What could not be deleted, and why. It stays in the trash.
    pub failed: Vec<(PathBuf, io::Error)>,
}

impl Store {
    /// Moves something in one of the callers' directories of this store to the trash, whatever it
    /// is; a symbolic link is moved itself. Afterwards the path is free.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`](crate::Error::NotOurs) for everything that is not below one of
    /// [`Store::dir`]'s directories of this very store: the store's marker says that ptest made
    /// it, and no other path has one. A path where nothing is fails as not found.
    pub fn trash(&self, path: &Path) -> Result<()> {
        self.database().check_process()?;
        let path = self.own_path(path)?;
        fs::symlink_metadata(&path).at("examine", &path)?;
        self.discard(&path)
    }

    /// Deletes what is in the trash.
    ///
    /// - Symbolic links and mounts are never followed. A directory with something mounted in it
    ///   stays, and is reported.
    /// - Directories without permissions, trees of any depth and names of any bytes are deleted.
    /// - What fails is reported and does not keep the rest. Several processes may do this at once.
    pub fn empty_trash(&self) -> Result<Emptied> {
        self.database().check_process()?;
        remove::empty(&self.layout().trash())
    }

    /// Moves something of the store's to the trash; what is not there is good.
    pub(crate) fn discard(&self, path: &Path) -> Result<()> {
        self.discard_as(path, &random_name()?)
    }

    pub(crate) fn discard_as(&self, path: &Path, name: &str) -> Result<()> {
        let place = self.layout().trash().join(name);
        match fs::rename(path, &place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A directory that its owner may not write to cannot change its parent.
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) =>
            {
                fs::set_permissions(path, Permissions::from_mode(0o700))
                    .at("change the mode of", path)?;
                fs::rename(path, &place).at("move to the trash", path)?;
            }
            // What came with an overlay, as a store in a container's image did, cannot be renamed
            // there; nor can what is mounted apart from the trash.
            Err(error)
                if error.kind() == io::ErrorKind::CrossesDevices
                    && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) =>
            {
                remove::tree(path)?;
            }
            result => result.at("move to the trash", path)?,
        }
        reach("trash.renamed")
    }
}
