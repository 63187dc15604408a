//! Passes bytes on to a descriptor of somebody else's, without waiting for it.
//!
//! Whether that blocks is not ours to change: others have the same open file. So it is asked before each write whether there is
//! room, and no more is written than a pipe has room for then.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What a pipe with any room takes without blocking: pipe(7), `PIPE_BUF`.
const AT_ONCE: usize = 4096;

#[derive(Debug)]
pub(super) struct Forward {
    to: File,
    pending: Vec<u8>,
    written: usize,
}

impl Forward {
    pub(super) fn new(to: OwnedFd) -> Self {
        Self {
            to: to.into(),
            pending: Vec::new(),
            written: 0,
        }
    }

    /// Adds what is to be passed on.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    pub(super) fn is_pending(&self) -> bool {
        self.written < self.pending.len()
    }

    /// Writes what there is room for.
    pub(super) fn write(&mut self) -> io::Result<()> {
        const NOW: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        while self.is_pending() {
            if !self.has_room(Some(&NOW))? {
                return Ok(());
            }
            self.write_once()?;
        }
        Ok(())
    }

    /// Writes all of it, however long that takes.
    pub(super) fn write_all(&mut self) -> io::Result<()> {
        while self.is_pending() {
            if self.has_room(None)? {
                self.write_once()?;
            }
        }
        Ok(())
    }

    fn has_room(&self, limit: Option<&Timespec>) -> io::Result<bool> {
        match poll(&mut [PollFd::new(&self.to, PollFlags::OUT)], limit) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn write_once(&mut self) -> io::Result<()> {
        let rest = &self.pending[self.written..];
        match self.to.write(&rest[..rest.len().min(AT_ONCE)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => self.written += count,
            Err(error) => match error.kind() {
                // Somebody else was faster, or has made it one that does not block.
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
        if !self.is_pending() {
            self.pending.clear();
            self.written = 0;
        }
        Ok(())
    }
}

impl AsFd for Forward {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.to.as_fd()
    }
}
