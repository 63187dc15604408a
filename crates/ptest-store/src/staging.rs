//! Trees in the making: a private directory to fill, or a directory of the store's to take over.
//!
//! What becomes of them is the business of `commit`; what is left by a dead process, of `recover`.

use std::fs::{self, DirBuilder};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::Store;
use crate::error::{Context as _, Error, Result};
use crate::layout::random_name;
use crate::steps::reach;

/// A directory that will become a layer.
///
/// Dropped without a commit, it goes to the trash, unless it was the caller's before: then it
/// stays where it is. A staging whose process has died is removed by
/// [`Store::recover`](crate::Store::recover).
#[derive(Debug)]
pub struct Staging {
    store: Store,
    /// `staging/<random>`: holds `tree`, unless the tree is elsewhere, and later `manifest`.
    wrapper: PathBuf,
    tree: PathBuf,
    /// Says to `recover` that the maker lives.
    _lock: OwnedFd,
}

impl Store {
    /// Makes a fresh, empty directory to be filled and committed.
    pub fn stage(&self) -> Result<Staging> {
        let staging = Staging::begin(self)?;
        DirBuilder::new()
            .mode(0o755)
            .create(&staging.tree)
            .at("create the directory", &staging.tree)?;
        Ok(staging)
    }

    /// Takes over an existing directory of the store, such as the upper of an inactive
    /// environment, to be committed by rename.
    ///
    /// - It stays in its place until the commit renames it, so that a failure or a crash before
    ///   that leaves it to its owner.
    /// - The caller makes sure that nothing uses it: files that are still open would stay
    ///   writable in the layer.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`] unless `directory` is a real directory below one of [`Store::dir`]'s.
    pub fn stage_existing(&self, directory: &Path) -> Result<Staging> {
        let directory = self.own_path(directory)?;
        let metadata = fs::symlink_metadata(&directory).at("examine", &directory)?;
        if !metadata.is_dir() {
            return Err(Error::NotOurs { path: directory });
        }
        let mut staging = Staging::begin(self)?;
        staging.tree = directory;
        Ok(staging)
    }
}

impl Staging {
    /// The directory to fill.
    pub fn path(&self) -> &Path {
        &self.tree
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// A place beside the tree for what belongs to the commit.
    pub(crate) fn wrapper(&self) -> &Path {
        &self.wrapper
    }

    /// A private directory with nothing in it yet, not even a tree.
    pub(crate) fn begin(store: &Store) -> Result<Self> {
        store.database().check_process()?;
        loop {
            let wrapper = store.layout().staging().join(random_name()?);
            DirBuilder::new()
                .mode(0o700)
                .create(&wrapper)
                .at("create the directory", &wrapper)?;
            reach("stage.wrapper")?;
            // Between its creation and its lock, another process's recovery can have taken it for
            // abandoned.
            if let Some(lock) = lock(&wrapper).at("lock", &wrapper)? {
                return Ok(Self {
                    store: store.clone(),
                    tree: wrapper.join("tree"),
                    wrapper,
                    _lock: lock,
                });
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.store.database().check_process().is_err() {
            return;
        }
        // After a commit the wrapper is empty. A failure here leaves what `recover` removes.
        if fs::remove_dir(&self.wrapper).is_err() {
            let _ = self.store.discard(&self.wrapper);
        }
    }
}

/// Locks a directory of `staging/` for as long as the result lives; `None` when another process
/// has it, or it is no longer there.
pub(crate) fn lock(directory: &Path) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match rustix::fs::open(directory, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        result => result?,
    };
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        result => result?,
    }
    let locked = rustix::fs::fstat(&fd)?;
    match rustix::fs::statat(rustix::fs::CWD, directory, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino) => Ok(Some(fd)),
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
