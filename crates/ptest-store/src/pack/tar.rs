//! The form of tar that packages have: POSIX ustar with extended headers (pax), and of that only
//! what a tree needs.
//!
//! Not for tar in general, which has several meanings for one file: what other programs read
//! differently is refused here (sparse files, global headers, sizes said twice, other bases). That
//! is why this is not the crate `tar`, which also reads extended headers of any size into memory
//! and has no times before 1970.

pub(crate) mod read;
pub(crate) mod write;

use crate::manifest::Mtime;

/// Everything in a tar is a number of these.
pub(crate) const BLOCK: usize = 512;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// As it is written; of a directory it may end with a slash.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: MemberKind,
    /// Without the bits of the type.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) mtime: Mtime,
    /// Where a link leads.
    pub(crate) link: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    HardLink,
    Symlink,
    Directory,
}

impl MemberKind {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::Directory => b'5',
        }
    }
}

/// Where the fields of a header are.
mod field {
    use std::ops::Range;

    pub(super) const NAME: Range<usize> = 0..100;
    pub(super) const MODE: Range<usize> = 100..108;
    pub(super) const UID: Range<usize> = 108..116;
    pub(super) const GID: Range<usize> = 116..124;
    pub(super) const SIZE: Range<usize> = 124..136;
    pub(super) const MTIME: Range<usize> = 136..148;
    pub(super) const CHECKSUM: Range<usize> = 148..156;
    pub(super) const TYPE: usize = 156;
    pub(super) const LINK: Range<usize> = 157..257;
    pub(super) const MAGIC: Range<usize> = 257..265;
    pub(super) const PREFIX: Range<usize> = 345..500;
}

/// The beginning of what POSIX defines, with its version.
const MAGIC: &[u8; 8] = b"ustar\x0000";
/// What GNU tar writes there: the rest is the same, but for the field of the prefix.
const MAGIC_OF_GNU: &[u8; 8] = b"ustar  \0";

/// The sum of a header's bytes, those of the sum itself counted as spaces.
fn checksum(header: &[u8; BLOCK]) -> u64 {
    let all: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = header[field::CHECKSUM]
        .iter()
        .map(|byte| u64::from(*byte))
        .sum();
    all - own + 8 * u64::from(b' ')
}

/// How much follows `size` bytes up to the next block.
pub(crate) fn padding(size: u64) -> usize {
    let over = (size % BLOCK as u64) as usize;
    (BLOCK - over) % BLOCK
}

#[cfg(test)]
mod tests {
    use super::read::Reader;
    use super::*;

    fn member(name: &[u8], kind: MemberKind) -> Member {
        Member {
            name: name.to_vec(),
            kind,
            mode: 0o644,
            size: 0,
            mtime: Mtime::default(),
            link: Vec::new(),
        }
    }

    fn assert_comes_back(member: &Member) {
        let mut bytes = Vec::new();
        write::header(&mut bytes, member);
        assert_eq!(bytes.len() % BLOCK, 0);
        bytes.extend(std::iter::repeat_n(b'x', member.size as usize));
        bytes.resize(bytes.len() + padding(member.size), 0);
        bytes.extend_from_slice(&write::END);
        let mut reader = Reader::new(bytes.as_slice());
        assert_eq!(reader.next().unwrap().as_ref(), Some(member));
        let mut contents = vec![0; member.size as usize];
        reader.read_exact(&mut contents).unwrap();
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn names_of_any_bytes_and_length_come_back() {
        for length in [1, 99, 100, 101, 255, 4095] {
            for byte in [b'a', b'\xff', b'\n', b' ', b'='] {
                assert_comes_back(&member(&vec![byte; length], MemberKind::File));
                let link = Member {
                    link: vec![byte; length],
                    ..member(b"l", MemberKind::Symlink)
                };
                assert_comes_back(&link);
            }
        }
    }

    #[test]
    fn times_come_back_to_the_nanosecond_before_and_after_1970() {
        for seconds in [0, 1, -1, 1_700_000_000, -5_000_000_000, i64::MAX, i64::MIN] {
            for nanoseconds in [0, 1, 999_999_999, 100_000_000, 5] {
                assert_comes_back(&Member {
                    mtime: Mtime {
                        seconds,
                        nanoseconds,
                    },
                    ..member(b"f", MemberKind::File)
                });
            }
        }
    }

    #[test]
    fn sizes_and_modes_come_back() {
        for size in [0, 1, 511, 512, 513, 5000] {
            assert_comes_back(&Member {
                size,
                mode: 0o1777,
                ..member(b"f", MemberKind::File)
            });
        }
        let mut bytes = Vec::new();
        let huge = Member {
            size: 1 << 40,
            ..member(b"f", MemberKind::File)
        };
        write::header(&mut bytes, &huge);
        let mut reader = Reader::new(bytes.as_slice());
        assert_eq!(reader.next().unwrap(), Some(huge));
    }
}
