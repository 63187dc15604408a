//! The lock that keeps one upper directory from being mounted twice.
//!
//! The kernel accepts a second mount of one upper with no more than a warning in its log, and
//! both corrupt each other. A lock is handed to init, which holds it for life.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Takes the lock on a directory without waiting.
///
/// The lock lives as long as any copy of the descriptor, in whichever process. Held by another,
/// it is [`Error::Locked`].
pub fn take(directory: &Path) -> Result<OwnedFd> {
    let failed = |source: Errno| Error::Io {
        action: "lock",
        path: directory.to_owned(),
        source: source.into(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = open(directory, flags, Mode::empty()).map_err(failed)?;
    match flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(descriptor),
        Err(Errno::WOULDBLOCK) => Err(Error::Locked {
            path: directory.to_owned(),
        }),
        Err(source) => Err(failed(source)),
    }
}

/// Whether somebody holds the lock on a directory.
pub fn is_held(directory: &Path) -> Result<bool> {
    match take(directory) {
        Ok(descriptor) => {
            drop(File::from(descriptor));
            Ok(false)
        }
        Err(Error::Locked { .. }) => Ok(true),
        Err(other) => Err(other),
    }
}
