//! Gives a file the contents of another: shared where the file system can clone files, as btrfs
//! and xfs do, else copied within the kernel, holes staying holes.
//!
//! Whether a file system can do it is found out by doing it. Which files are copied where is the
//! business of `copy` and `scan`.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ioctl_ficlone};
use rustix::io::Errno;

use crate::Store;
use crate::error::{Context as _, Result};

/// How files get their contents when a tree of the store is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyMethod {
    /// They share them with the layer, and each keeps its own from when one is written.
    Reflink,
    /// They are copied.
    Copy {
        /// What the system said when it was asked to share, as an error number.
        errno: i32,
    },
}

impl Store {
    /// How files are copied on the store's file system, found out by sharing one.
    ///
    /// Nothing is remembered: each copy of a tree finds it out with its first file.
    pub fn copy_method(&self) -> Result<CopyMethod> {
        let directory = self.layout().staging();
        // Without names, so that a killed process leaves nothing.
        let unnamed = || {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            rustix::fs::open(&directory, flags, Mode::RUSR | Mode::WUSR).map(File::from)
        };
        let mut source = unnamed().at("create a file in", &directory)?;
        let copy = unnamed().at("create a file in", &directory)?;
        // More than a file system would keep beside a file's name.
        source
            .write_all(&[1; 1 << 14])
            .at("write a file in", &directory)?;
        Ok(
            match share(&copy, &source).at("share a file in", &directory)? {
                Ok(()) => CopyMethod::Reflink,
                Err(refusal) => CopyMethod::Copy {
                    errno: refusal.raw_os_error(),
                },
            },
        )
    }
}

/// Copies many files, and asks the file system to share only until it has refused once.
#[derive(Debug)]
pub(crate) struct Copier {
    can_share: AtomicBool,
}

impl Copier {
    pub(crate) fn new() -> Self {
        Self {
            can_share: AtomicBool::new(true),
        }
    }

    /// Gives the empty `copy` the `size` bytes of `source`, which is at its beginning. Says
    /// whether they are shared.
    pub(crate) fn copy(&self, source: &mut File, copy: &mut File, size: u64) -> io::Result<bool> {
        if size == 0 {
            return Ok(false);
        }
        if self.can_share.load(Ordering::Relaxed) {
            if share(copy, source)?.is_ok() {
                return Ok(true);
            }
            self.can_share.store(false, Ordering::Relaxed);
        }
        // The size of a block that is counted, whatever the file system's own.
        let allocated = source.metadata()?.blocks() * 512;
        let copied = if allocated < size {
            copy_between_holes(source, copy, size)?
        } else {
            io::copy(source, copy)?
        };
        if copied != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(false)
    }
}

/// Shares the contents of `source`; the inner error is the refusal of a file system that cannot.
fn share(copy: &File, source: &File) -> io::Result<Result<(), Errno>> {
    match ioctl_ficlone(copy, source) {
        Ok(()) => Ok(Ok(())),
        Err(
            refusal @ (Errno::OPNOTSUPP
            | Errno::XDEV
            | Errno::INVAL
            | Errno::NOTTY
            | Errno::NOSYS
            | Errno::PERM
            | Errno::ACCESS),
        ) => Ok(Err(refusal)),
        Err(errno) => Err(errno.into()),
    }
}

/// Copies what is not a hole, and gives the size that the copy then has.
fn copy_between_holes(source: &mut File, copy: &mut File, size: u64) -> io::Result<u64> {
    let mut end = 0;
    loop {
        let start = match rustix::fs::seek(&*source, rustix::fs::SeekFrom::Data(end)) {
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            // What knows no holes has none.
            Err(Errno::INVAL) if end == 0 => return io::copy(source, copy),
            found => found?,
        };
        end = rustix::fs::seek(&*source, rustix::fs::SeekFrom::Hole(start))?;
        source.seek(SeekFrom::Start(start))?;
        copy.seek(SeekFrom::Start(start))?;
        if io::copy(&mut (&*source).take(end - start), copy)? != end - start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    copy.set_len(size.max(end))?;
    Ok(size.max(end))
}
