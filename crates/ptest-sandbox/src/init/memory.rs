//! The file system in memory that takes what is written in directories of the host and is to be gone with the sandbox.
//!
//! One for all of them, so that they have one size together. It is attached, on top of the host's root where no path leads to
//! it, as long as mounts are made over it: the kernel makes none over what is attached nowhere. They keep it afterwards.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, chmodat};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, chownat, mkdirat, openat, stat};
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use rustix::process::{chdir, fchdir};

use crate::init::{AtStage as _, overlay, root};
use crate::protocol::{Failure, Stage};

/// The file system, once something needs it.
pub(super) struct Memory {
    size: Option<u64>,
    root: Option<OwnedFd>,
    covered: usize,
}

impl Memory {
    pub(super) fn new(size: Option<u64>) -> Self {
        Self {
            size,
            root: None,
            covered: 0,
        }
    }

    /// A directory of the host with what is written in it here, as a mount that is not attached anywhere yet.
    pub(super) fn cover(&mut self, path: &Path) -> Result<OwnedFd, Failure> {
        let (upper, work) = self.room(path).at(Stage::Overlay, path)?;
        overlay::over(path, upper, work)
    }

    /// Takes it off the host's root.
    pub(super) fn detach(self) -> io::Result<()> {
        if let Some(root) = self.root {
            fchdir(root)?;
            unmount(".", UnmountFlags::DETACH)?;
            chdir("/")?;
        }
        Ok(())
    }

    /// Two directories for what is written below `path`, the first of them like it.
    fn room(&mut self, path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
        if self.root.is_none() {
            self.root = Some(attach(self.size)?);
        }
        let Some(root) = &self.root else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let make = |name: &str| -> io::Result<OwnedFd> {
            mkdirat(root, name, Mode::from_raw_mode(0o755))?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(openat(root, name, flags, Mode::empty())?)
        };
        let number = self.covered;
        self.covered += 1;
        let name = format!("upper{number}");
        let (upper, work) = (make(&name)?, make(&format!("work{number}"))?);
        let like = stat(path)?;
        let owner = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
        // Of another user's it becomes ours: nothing else can be had.
        let _refused = chownat(
            root,
            name.as_str(),
            Some(owner.0),
            Some(owner.1),
            AtFlags::SYMLINK_NOFOLLOW,
        );
        chmodat(
            root,
            name.as_str(),
            Mode::from_raw_mode(like.st_mode),
            AtFlags::empty(),
        )?;
        Ok((upper, work))
    }
}

fn attach(size: Option<u64>) -> io::Result<OwnedFd> {
    let size = size.map(|size| size.to_string());
    let mut options = vec![("mode", "0755")];
    options.extend(size.as_deref().map(|size| ("size", size)));
    let root = root::new_mount(c"tmpfs", &options, root::SAFE)?;
    move_mount(
        root.as_fd(),
        "",
        CWD,
        "/",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    Ok(root)
}
