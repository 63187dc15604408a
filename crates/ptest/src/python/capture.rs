//! What a tool says, kept in part: the head and the tail of a stream, as bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes kept from the beginning of a stream, and as many from its end.
const KEPT: usize = 128 * 1024;

/// The head and the tail of a stream.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    omitted: u64,
}

impl Captured {
    fn push(&mut self, mut bytes: &[u8]) {
        let room = KEPT - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        bytes = rest;
        self.tail.extend(bytes);
        let excess = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..excess);
        self.omitted += excess as u64;
    }

    /// Everything that was kept, as text; says how much is missing in between.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.omitted > 0 {
            text.push_str(&format!("\n[… {} bytes left out …]\n", self.omitted));
        }
        let (front, back) = self.tail.as_slices();
        text.push_str(&String::from_utf8_lossy(&[front, back].concat()));
        text
    }
}

/// The reading side of a tool's output, and what came out of it.
pub(super) struct Stream {
    pipe: Option<File>,
    pub(super) kept: Captured,
}

impl Stream {
    /// Never blocks from now on.
    pub(super) fn new<P: Into<OwnedFd>>(pipe: Option<P>) -> io::Result<Self> {
        let pipe = pipe.map(|pipe| File::from(pipe.into()));
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            pipe,
            kept: Captured::default(),
        })
    }

    /// Takes what is there now, without waiting; at the end of the stream lets go of the pipe.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.kept.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What to wait for, until the end of the stream.
    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ends_of_a_long_stream_are_kept() {
        let mut kept = Captured::default();
        kept.push(b"first\n");
        for _ in 0..100 {
            kept.push(&[0; 10_000]);
        }
        kept.push(b"last\n");
        let text = kept.text();
        assert!(text.starts_with("first\n"));
        assert!(text.ends_with("last\n"));
        assert!(text.len() < 3 * KEPT);
        assert!(text.contains("bytes left out"));
    }
}
