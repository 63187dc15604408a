//! What is kept of a stream that somebody writes without end: its first and last bytes, and a file of it.
//!
//! Bytes, never decoded. How they are taken out of a pipe is [`crate::collect`]'s business.

use std::fs::File;
use std::io::{self, Write as _};

/// How many bytes of the beginning of a stream are kept unless said otherwise, and as many of its end.
pub const KEPT: usize = 1 << 20;

/// One of the two streams that a command writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// What is to be kept of a stream. All of it is taken.
#[derive(Debug)]
pub struct Keep {
    /// How many bytes of its beginning are kept in memory.
    pub head: usize,
    /// How many bytes of its end are kept in memory, as far as the beginning has not got them.
    pub tail: usize,
    /// The file that it is written to besides.
    pub spill: Option<Spill>,
}

impl Keep {
    /// Nothing in memory: to add a file to, or to count only.
    pub fn nothing() -> Self {
        Self {
            head: 0,
            tail: 0,
            spill: None,
        }
    }
}

/// [`KEPT`] bytes of the beginning and of the end, and no file.
impl Default for Keep {
    fn default() -> Self {
        Self {
            head: KEPT,
            tail: KEPT,
            spill: None,
        }
    }
}

/// A file that a stream is written to as it comes.
#[derive(Debug)]
pub struct Spill {
    /// Where it is written, from the file's present place on.
    pub file: File,
    /// The most bytes that are written.
    pub limit: u64,
}

/// What was taken of a stream.
#[derive(Debug, Default)]
pub struct Captured {
    /// The beginning.
    pub head: Vec<u8>,
    /// The end, as far as it is not in the beginning.
    pub tail: Vec<u8>,
    /// How many bytes came.
    pub total: u64,
    /// How many bytes at the beginning of the stream are in the file.
    pub spilled: u64,
    /// Why the file has less than it could have. The stream was taken on nevertheless.
    pub spill_error: Option<io::Error>,
    /// Why it was not passed on to its end: then it was not taken to its end either.
    pub forward_error: Option<io::Error>,
    /// Whether somebody can still write to it: what comes now is lost.
    pub held_open: bool,
}

impl Captured {
    /// How many bytes between head and tail are not in memory.
    pub fn omitted(&self) -> u64 {
        self.total - self.head.len() as u64 - self.tail.len() as u64
    }

    /// How many bytes are kept nowhere, neither in memory nor in the file.
    pub fn dropped(&self) -> u64 {
        let from = self.spilled.max(self.head.len() as u64);
        (self.total - self.tail.len() as u64).saturating_sub(from)
    }

    /// All that was kept in memory as text for people; says how much is missing in between.
    pub fn text(&self) -> String {
        if self.omitted() == 0 {
            // A character may be in both.
            return String::from_utf8_lossy(&[&self.head[..], &self.tail].concat()).into_owned();
        }
        format!(
            "{}\n[… {} bytes left out …]\n{}",
            String::from_utf8_lossy(&self.head),
            self.omitted(),
            String::from_utf8_lossy(&self.tail),
        )
    }
}

/// A stream while it comes.
#[derive(Debug)]
pub(crate) struct Keeper {
    head: Vec<u8>,
    head_limit: usize,
    tail: Ring,
    total: u64,
    spill: Option<Spill>,
    spilled: u64,
    spill_error: Option<io::Error>,
}

impl Keeper {
    pub(crate) fn new(keep: Keep) -> Self {
        Self {
            head: Vec::new(),
            head_limit: keep.head,
            tail: Ring::new(keep.tail),
            total: 0,
            spill: keep.spill,
            spilled: 0,
            spill_error: None,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.spill(bytes);
        let room = self.head_limit - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.push(rest);
    }

    pub(crate) fn finish(self, held_open: bool) -> Captured {
        Captured {
            head: self.head,
            tail: self.tail.into_bytes(),
            total: self.total,
            spilled: self.spilled,
            spill_error: self.spill_error,
            forward_error: None,
            held_open,
        }
    }

    fn spill(&mut self, bytes: &[u8]) {
        let Some(Spill { file, limit }) = &mut self.spill else {
            return;
        };
        let room = usize::try_from(*limit - self.spilled).unwrap_or(usize::MAX);
        let mut rest = &bytes[..room.min(bytes.len())];
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => self.spill_error = Some(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.spilled += count as u64;
                    rest = &rest[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.spill_error = Some(error),
            }
            if self.spill_error.is_some() {
                // A file with a gap would look as if it were whole.
                self.spill = None;
                return;
            }
        }
    }
}

/// The last bytes of many.
#[derive(Debug)]
struct Ring {
    bytes: Vec<u8>,
    limit: usize,
    /// Where the oldest byte is, and the next one goes, once it is full.
    next: usize,
}

impl Ring {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            next: 0,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        // What does not stay is not copied.
        let bytes = &bytes[bytes.len().saturating_sub(self.limit)..];
        let room = self.limit - self.bytes.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.bytes.extend_from_slice(first);
        if rest.is_empty() {
            return;
        }
        let (to_end, from_start) = rest.split_at(rest.len().min(self.limit - self.next));
        self.bytes[self.next..][..to_end.len()].copy_from_slice(to_end);
        self.bytes[..from_start.len()].copy_from_slice(from_start);
        self.next = (self.next + rest.len()) % self.limit;
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.rotate_left(self.next);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    fn take(keep: Keep, all: &[u8], chunk: usize) -> Captured {
        let mut keeper = Keeper::new(keep);
        all.chunks(chunk).for_each(|bytes| keeper.push(bytes));
        keeper.finish(false)
    }

    #[test]
    fn the_ends_that_are_kept_are_the_same_however_the_stream_comes() {
        let all: Vec<u8> = (0..1000_u32).map(|n| (n % 251) as u8).collect();
        for length in [0, 1, 9, 10, 11, 16, 17, 18, 500, 1000] {
            let all = &all[..length];
            for chunk in 1..=40 {
                for (head, tail) in [(10, 7), (0, 7), (10, 0), (0, 0), (600, 600)] {
                    let keep = Keep {
                        head,
                        tail,
                        spill: None,
                    };
                    let taken = take(keep, all, chunk);
                    let end = length.min(head);
                    assert_eq!(taken.head, all[..end]);
                    assert_eq!(taken.tail, all[length.saturating_sub(tail).max(end)..]);
                    assert_eq!(taken.total, length as u64);
                    assert_eq!(taken.dropped(), taken.omitted());
                    let kept = taken.head.len() + taken.tail.len();
                    assert_eq!(taken.omitted(), (length - kept) as u64);
                }
            }
        }
    }

    #[test]
    fn a_file_has_the_beginning_up_to_its_limit_and_only_what_is_nowhere_is_dropped() {
        let all: Vec<u8> = (0..100).collect();
        // What the file has, and what is then nowhere with 10 bytes of each end in memory.
        for (limit, dropped) in [(0, 80), (5, 80), (60, 30), (90, 0), (100, 0), (1000, 0)] {
            let mut file = tempfile::tempfile().unwrap();
            let keep = Keep {
                head: 10,
                tail: 10,
                spill: Some(Spill {
                    file: file.try_clone().unwrap(),
                    limit,
                }),
            };
            let taken = take(keep, &all, 7);
            let mut written = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut written).unwrap();
            assert_eq!(written, all[..(limit as usize).min(100)]);
            assert_eq!(taken.spilled, written.len() as u64);
            assert_eq!((taken.omitted(), taken.dropped()), (80, dropped));
            assert!(taken.spill_error.is_none());
        }
    }

    #[test]
    fn a_file_that_takes_no_more_is_told_and_does_not_end_the_taking() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let keep = Keep {
            head: 3,
            tail: 0,
            spill: Some(Spill {
                file: full,
                limit: 100,
            }),
        };
        let taken = take(keep, b"many words", 4);
        assert_eq!(
            taken.spill_error.unwrap().kind(),
            io::ErrorKind::StorageFull
        );
        assert_eq!((taken.total, taken.spilled), (10, 0));
        assert_eq!(taken.head, b"man");
    }

    #[test]
    fn text_says_what_is_missing_and_keeps_a_character_that_is_in_both_ends() {
        let keep = || Keep {
            head: 4,
            tail: 4,
            spill: None,
        };
        assert_eq!(take(keep(), "abcäfgh".as_bytes(), 3).text(), "abcäfgh");
        assert_eq!(
            take(keep(), b"headlefttail", 5).text(),
            "head\n[… 4 bytes left out …]\ntail"
        );
    }
}
