//! How much of a project's room is used, as the kernel shows it to everybody. Not for who made it a project: see `quota`.

use std::os::fd::OwnedFd;

use rustix::fs::{StatVfs, fstatvfs};

/// A project's room, and that of the file system around it.
#[derive(Debug)]
pub(super) struct Room {
    /// A directory of the project: of one such the kernel tells what the project has.
    pub(super) directory: OwnedFd,
    /// A file, of which it tells what the file system has.
    pub(super) file: OwnedFd,
}

impl Room {
    /// The bytes that are used, if they can be told.
    pub(super) fn used(&self) -> Option<u64> {
        let (project, around) = self.look()?;
        // Newer kernels show no more as free than the file system has.
        (project.f_bavail < around.f_bavail)
            .then(|| project.f_blocks.saturating_sub(project.f_bavail) * project.f_frsize)
    }

    /// Whether nothing more can be written, for the project has no room though the file system has.
    pub(super) fn is_full(&self) -> bool {
        self.look()
            .is_some_and(|(project, around)| project.f_bavail == 0 && around.f_bavail > 0)
    }

    fn look(&self) -> Option<(StatVfs, StatVfs)> {
        Some((fstatvfs(&self.directory).ok()?, fstatvfs(&self.file).ok()?))
    }
}
