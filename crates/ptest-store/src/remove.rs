//! Deletes trees, whatever their modes, depth and names, without ever leaving them.
//!
//! Works with descriptors, so that no path is too long and no link is followed, and asks the
//! kernel not to cross mounts: what is bound into a dead environment belongs to somebody else.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, unlinkat};
use rustix::io::Errno;

use crate::error::{Context as _, Error, Result};
use crate::layout::random_name;
use crate::trash::Emptied;

/// Deletes everything in the directory `trash`, but not it.
pub(crate) fn empty(trash: &Path) -> Result<Emptied> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(trash, flags, Mode::empty()).at("open", trash)?;
    let mut removal = Removal {
        root: &root,
        path: trash.to_owned(),
        emptied: Emptied::default(),
        moved_up: true,
    };
    // What lies too deep is moved up and deleted in the next round.
    while std::mem::take(&mut removal.moved_up) {
        removal.emptied.failed.clear();
        removal.contents(&root, 0).at("list", trash)?;
    }
    Ok(removal.emptied)
}

/// Deletes a directory where it is, with everything in it.
///
/// # Errors
///
/// The first thing that could not be deleted; the rest is gone.
pub(crate) fn tree(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::RelativePath {
            path: path.to_owned(),
        });
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(parent, flags, Mode::empty()).at("open", parent)?;
    let mut removal = Removal {
        root: &root,
        path: path.to_owned(),
        emptied: Emptied::default(),
        moved_up: false,
    };
    let name = CString::new(name.as_bytes())
        .map_err(io::Error::from)
        .at("delete", path)?;
    match removal.entry(&root, &name, FileType::Directory, 0) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).at("delete", path),
    }
    match removal.emptied.failed.into_iter().next() {
        Some((path, source)) => Err(source).at("delete", path),
        None => Ok(()),
    }
}

/// How many directories may be open at once.
const DEEPEST: usize = 64;

struct Removal<'a> {
    root: &'a OwnedFd,
    /// Where we are, for messages.
    path: PathBuf,
    emptied: Emptied,
    moved_up: bool,
}

impl Removal<'_> {
    /// Deletes what is in `directory`; fails only if that cannot be listed.
    fn contents(&mut self, directory: &OwnedFd, depth: usize) -> rustix::io::Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.path.push(OsStr::from_bytes(name.to_bytes()));
            match self.entry(directory, name, entry.file_type(), depth) {
                Ok(()) => self.emptied.entries += 1,
                // Another process deletes too, or the entry was moved up.
                Err(Errno::NOENT) => {}
                Err(errno) => self.emptied.failed.push((self.path.clone(), errno.into())),
            }
            self.path.pop();
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: &OwnedFd,
        name: &CStr,
        file_type: FileType,
        depth: usize,
    ) -> rustix::io::Result<()> {
        if file_type != FileType::Directory {
            match unlinkat(directory, name, AtFlags::empty()) {
                // Some file systems do not say what a name is.
                Err(Errno::ISDIR) => {}
                result => return result,
            }
        }
        // Most directories of a tree have something in them, but the mounted ones must be seen
        // before anything is tried on them.
        let child = open_writable(directory, name)?;
        if depth >= DEEPEST {
            let new = random_name().map_err(|_| Errno::IO)?;
            rustix::fs::renameat(directory, name, self.root, new)?;
            self.moved_up = true;
            return Err(Errno::NOENT);
        }
        let failures = self.emptied.failed.len();
        self.contents(&child, depth + 1)?;
        match unlinkat(directory, name, AtFlags::REMOVEDIR) {
            // What is left in it has been reported.
            Err(Errno::NOTEMPTY) if self.emptied.failed.len() > failures => Err(Errno::NOENT),
            result => result,
        }
    }
}

/// Opens a directory so that entries can be deleted from it.
fn open_writable(parent: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let open = |flags| {
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            // EAGAIN: something was renamed meanwhile, anywhere on the machine.
            match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    };
    let fd = match open(OFlags::RDONLY) {
        Err(Errno::ACCESS) => {
            let closed = open(OFlags::PATH)?;
            let path = format!("/proc/self/fd/{}", closed.as_raw_fd());
            rustix::fs::chmod(path, Mode::RWXU)?;
            open(OFlags::RDONLY)?
        }
        result => result?,
    };
    let mode = rustix::fs::fstat(&fd)?.st_mode;
    if mode & 0o700 != 0o700 {
        rustix::fs::fchmod(&fd, Mode::RWXU)?;
    }
    Ok(fd)
}
