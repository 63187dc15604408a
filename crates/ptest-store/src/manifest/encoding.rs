//! The bytes of a manifest, format 1. Their BLAKE3 hash is the layer's id, so that this format
//! can never change: a new one has a new number and gives new ids.
//!
//! Numbers are little-endian; a *string* is its length as `u32`, then its bytes.
//!
//! ```text
//! manifest  = "ptmanif" 0x01, count u64, entry × count          sorted by path, each path once
//! entry     = path string, then
//!             0x01 mode u32, size u64, mtime, hash 32 bytes     a file
//!             0x02 mode u32                                     a directory
//!             0x03 mtime, target string                         a symbolic link
//!             0x04                                              a whiteout
//!             0x05 mode u32                                     an opaque directory
//! mtime     = seconds i64, nanoseconds u32
//! ```
//!
//! One manifest has one encoding: decoding accepts nothing else, and nothing after it.

use super::{BadTreePath, Entry, Kind, Mtime, TreePath};
use crate::id::{ContentHash, LayerId};

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// They do not begin as a manifest of a known format does.
    #[error("not a manifest of a known format")]
    UnknownFormat,
    /// They end too early, or go on after the end, or hold an impossible number.
    #[error("damaged at byte {offset}")]
    Damaged {
        /// Where.
        offset: usize,
    },
    /// An entry would leave the tree.
    #[error(transparent)]
    Path(#[from] BadTreePath),
    /// An entry breaks a rule.
    #[error("{path} {problem}")]
    Entry {
        /// The entry.
        path: TreePath,
        /// The rule that it breaks.
        problem: &'static str,
    },
    /// The bytes are a manifest, but of another layer.
    #[error("it is the manifest of {found}")]
    OfAnother {
        /// The layer that it describes.
        found: LayerId,
    },
}

const MAGIC: &[u8; 8] = b"ptmanif\x01";

const FILE: u8 = 1;
const DIRECTORY: u8 = 2;
const SYMLINK: u8 = 3;
const WHITEOUT: u8 = 4;
const OPAQUE: u8 = 5;

/// The shortest possible entry, a whiteout of one letter.
const SHORTEST: usize = 4 + 1 + 1;

pub(super) fn encode(entries: &[Entry]) -> Vec<u8> {
    let paths: usize = entries.iter().map(|e| e.path.as_bytes().len()).sum();
    let mut out = Vec::with_capacity(16 + paths + entries.len() * 64);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    for Entry { path, kind } in entries {
        put_string(&mut out, path.as_bytes());
        match kind {
            Kind::File {
                mode,
                size,
                mtime,
                hash,
            } => {
                out.push(FILE);
                out.extend_from_slice(&mode.to_le_bytes());
                out.extend_from_slice(&size.to_le_bytes());
                put_mtime(&mut out, *mtime);
                out.extend_from_slice(hash.as_bytes());
            }
            Kind::Directory { mode } => {
                out.push(DIRECTORY);
                out.extend_from_slice(&mode.to_le_bytes());
            }
            Kind::Symlink { mtime, target } => {
                out.push(SYMLINK);
                put_mtime(&mut out, *mtime);
                put_string(&mut out, target);
            }
            Kind::Whiteout => out.push(WHITEOUT),
            Kind::Opaque { mode } => {
                out.push(OPAQUE);
                out.extend_from_slice(&mode.to_le_bytes());
            }
        }
    }
    out
}

/// Reads entries; their order and their relation to each other are the caller's to check.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Entry>, ManifestError> {
    let mut reader = Reader { bytes, offset: 0 };
    if reader.take(MAGIC.len()).ok() != Some(MAGIC) {
        return Err(ManifestError::UnknownFormat);
    }
    let count = reader.u64()?;
    // Before anything is reserved for them.
    if count > ((bytes.len() - reader.offset) / SHORTEST) as u64 {
        return Err(reader.damaged());
    }
    let mut entries = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let path = TreePath::new(reader.string()?)?;
        let kind = match reader.array::<1>()? {
            [FILE] => Kind::File {
                mode: reader.u32()?,
                size: reader.u64()?,
                mtime: reader.mtime()?,
                hash: ContentHash::from_bytes(reader.array()?),
            },
            [DIRECTORY] => Kind::Directory {
                mode: reader.u32()?,
            },
            [SYMLINK] => Kind::Symlink {
                mtime: reader.mtime()?,
                target: reader.string()?.into(),
            },
            [WHITEOUT] => Kind::Whiteout,
            [OPAQUE] => Kind::Opaque {
                mode: reader.u32()?,
            },
            _ => return Err(reader.damaged()),
        };
        entries.push(Entry { path, kind });
    }
    if reader.offset != bytes.len() {
        return Err(reader.damaged());
    }
    Ok(entries)
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ManifestError> {
        let rest = &self.bytes[self.offset..];
        let taken = rest.get(..length).ok_or_else(|| self.damaged())?;
        self.offset += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ManifestError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.damaged())
    }

    fn u32(&mut self) -> Result<u32, ManifestError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, ManifestError> {
        self.array().map(u64::from_le_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], ManifestError> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn mtime(&mut self) -> Result<Mtime, ManifestError> {
        Ok(Mtime {
            seconds: i64::from_le_bytes(self.array()?),
            nanoseconds: self.u32()?,
        })
    }

    fn damaged(&self) -> ManifestError {
        ManifestError::Damaged {
            offset: self.offset,
        }
    }
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_mtime(out: &mut Vec<u8>, mtime: Mtime) {
    out.extend_from_slice(&mtime.seconds.to_le_bytes());
    out.extend_from_slice(&mtime.nanoseconds.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::Manifest;
    use super::*;

    fn sample() -> Manifest {
        let mtime = Mtime {
            seconds: -1,
            nanoseconds: 999_999_999,
        };
        let kinds = [
            ("a", Kind::Directory { mode: 0o1777 }),
            (
                "a/f",
                Kind::File {
                    mode: 0o644,
                    size: 5,
                    mtime,
                    hash: blake3::hash(b"hello").into(),
                },
            ),
            (
                "a/l",
                Kind::Symlink {
                    mtime,
                    target: b"f\xff".as_slice().into(),
                },
            ),
            ("o", Kind::Opaque { mode: 0o700 }),
            ("o/w", Kind::Whiteout),
        ];
        let entries = kinds.map(|(path, kind)| Entry {
            path: TreePath::new(path.as_bytes()).unwrap(),
            kind,
        });
        Manifest::new(entries.into()).unwrap()
    }

    /// This value is part of the format: layers on people's disks are named by it.
    #[test]
    fn the_id_of_a_known_manifest_never_changes() {
        assert_eq!(
            sample().id().to_string(),
            "43fd468f4ff43f65ff604e760d9ed0047484740e3ccf4da950b84bb303654d6b"
        );
        assert_eq!(
            Manifest::default().id().to_string(),
            "5162738763b93da815567d2a64575b7960c731646b58a6bcc51322ce43130e4e"
        );
    }

    #[test]
    fn every_cut_and_every_addition_is_refused() {
        let encoded = sample().encode();
        assert_eq!(Manifest::decode(&encoded).unwrap(), sample());
        for length in 0..encoded.len() {
            assert!(Manifest::decode(&encoded[..length]).is_err(), "{length}");
        }
        let longer = [encoded.as_slice(), b"\0"].concat();
        assert!(Manifest::decode(&longer).is_err());
    }

    #[test]
    fn no_change_of_a_byte_gives_the_same_manifest_or_a_panic() {
        let encoded = sample().encode();
        for index in 0..encoded.len() {
            for bit in 0..8 {
                let mut changed = encoded.clone();
                changed[index] ^= 1 << bit;
                if let Ok(manifest) = Manifest::decode(&changed) {
                    assert_eq!(manifest.encode(), changed);
                }
            }
        }
    }

    #[test]
    fn an_absurd_count_reserves_nothing() {
        let mut encoded = MAGIC.to_vec();
        encoded.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(
            Manifest::decode(&encoded),
            Err(ManifestError::Damaged { .. })
        ));
    }

    #[test]
    fn a_path_that_leaves_the_tree_is_refused() {
        let mut encoded = MAGIC.to_vec();
        encoded.extend_from_slice(&1u64.to_le_bytes());
        put_string(&mut encoded, b"../../x");
        encoded.push(WHITEOUT);
        assert!(matches!(
            Manifest::decode(&encoded),
            Err(ManifestError::Path(_))
        ));
    }
}
