//! What is in a layer: one entry for each path, sorted, and the rules that every manifest obeys.
//!
//! The bytes of a manifest, and so its identity, are in [`encoding`]; making one from a tree is
//! the business of `scan`.

mod encoding;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

pub use encoding::ManifestError;

use crate::id::{ContentHash, LayerId};

/// The entries of a layer, sorted by the bytes of their paths.
///
/// Every manifest obeys, however it came to be: paths are unique; the parent of every entry is an
/// entry and a directory, so that nothing can lie behind a symbolic link; modes have no bit but
/// the nine permissions and the sticky bit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    entries: Vec<Entry>,
}

impl Manifest {
    /// Makes a manifest of these entries, in any order.
    ///
    /// # Errors
    ///
    /// When the entries break a rule of [`Manifest`].
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, ManifestError> {
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Self::from_sorted(entries)
    }

    /// The entries, sorted.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries, sorted.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The entry at a path.
    pub fn get(&self, path: &[u8]) -> Option<&Entry> {
        let index = self
            .entries
            .binary_search_by(|entry| entry.path.as_bytes().cmp(path))
            .ok()?;
        Some(&self.entries[index])
    }

    /// The sizes of all files together.
    pub fn bytes(&self) -> u64 {
        self.entries
            .iter()
            .map(|entry| match entry.kind {
                Kind::File { size, .. } => size,
                _ => 0,
            })
            .fold(0, u64::saturating_add)
    }

    /// The canonical encoding, of which the id is the hash, and which [`Manifest::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        encoding::encode(&self.entries)
    }

    /// Reads a canonical encoding.
    ///
    /// # Errors
    ///
    /// When a byte of it is not as [`Manifest::encode`] would have written it.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::from_sorted(encoding::decode(bytes)?)
    }

    /// The id of the layer that this manifest describes.
    pub fn id(&self) -> LayerId {
        Self::id_of(&self.encode())
    }

    /// The id of the layer whose manifest has this canonical encoding.
    pub fn id_of(encoded: &[u8]) -> LayerId {
        blake3::hash(encoded).into()
    }

    fn from_sorted(entries: Vec<Entry>) -> Result<Self, ManifestError> {
        let mut directories = HashSet::new();
        let mut previous: Option<&TreePath> = None;
        for Entry { path, kind } in &entries {
            let wrong = |problem| ManifestError::Entry {
                path: path.clone(),
                problem,
            };
            if previous.is_some_and(|previous| previous >= path) {
                return Err(wrong("is not in order"));
            }
            previous = Some(path);
            if let Some(parent) = path.parent()
                && !directories.contains(parent)
            {
                return Err(wrong("is not in a directory"));
            }
            match kind {
                Kind::Directory { mode } | Kind::Opaque { mode } => {
                    check_mode(*mode).map_err(wrong)?;
                    directories.insert(path.as_bytes());
                }
                Kind::File { mode, mtime, .. } => {
                    check_mode(*mode).map_err(wrong)?;
                    check_mtime(*mtime).map_err(wrong)?;
                }
                Kind::Symlink { mtime, target } => {
                    check_mtime(*mtime).map_err(wrong)?;
                    if target.is_empty() || target.contains(&0) {
                        return Err(wrong("has no possible target"));
                    }
                }
                Kind::Whiteout => {}
            }
        }
        Ok(Self { entries })
    }
}

/// One path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
}

/// What a path of a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Permissions.
        mode: u32,
        /// Length in bytes.
        size: u64,
        /// Time of last change.
        mtime: Mtime,
        /// Hash of the contents.
        hash: ContentHash,
    },
    /// A directory, merged with what lies below it in a stack. Its time is not part of a layer.
    Directory {
        /// Permissions.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// Time of last change.
        mtime: Mtime,
        /// Where it points, not interpreted.
        target: Box<[u8]>,
    },
    /// Nothing: what lies below at this path is gone.
    Whiteout,
    /// A directory that hides everything below it.
    Opaque {
        /// Permissions.
        mode: u32,
    },
}

impl Kind {
    /// Whether it is a directory, opaque or not.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. } | Self::Opaque { .. })
    }
}

/// A point in time to the nanosecond, as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Mtime {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after that, less than 1,000,000,000.
    pub nanoseconds: u32,
}

/// A path inside a tree: relative, of ordinary components only, as bytes that need not be UTF-8.
///
/// It can be joined to any directory without leaving it. Ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Box<[u8]>);

impl TreePath {
    /// The longest path that a manifest may hold; no file system call takes a longer one.
    pub const MAX: usize = 4096;

    /// Checks that `bytes` stay in a tree.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, BadTreePath> {
        let bytes = bytes.into();
        let good = bytes.len() <= Self::MAX
            && !bytes.contains(&0)
            && bytes
                .split(|byte| *byte == b'/')
                .all(|component| !matches!(component, b"" | b"." | b".."));
        if good {
            Ok(Self(bytes))
        } else {
            Err(BadTreePath(bytes))
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The path of the directory that it is in, if that is not the tree's root.
    pub fn parent(&self) -> Option<&[u8]> {
        let slash = self.0.iter().rposition(|byte| *byte == b'/')?;
        Some(&self.0[..slash])
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_path(), f)
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_path().display().fmt(f)
    }
}

impl AsRef<Path> for TreePath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

impl std::borrow::Borrow<[u8]> for TreePath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes that are not a path inside a tree: absolute, with an empty, `.` or `..` component, with a
/// zero byte, or too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a path inside a tree: {:?}", String::from_utf8_lossy(.0))]
pub struct BadTreePath(Box<[u8]>);

/// The mode bits that a layer can hold.
pub(crate) const MODE_BITS: u32 = 0o1777;

fn check_mode(mode: u32) -> Result<(), &'static str> {
    if mode & !MODE_BITS == 0 {
        Ok(())
    } else {
        Err("has mode bits that a layer cannot hold")
    }
}

fn check_mtime(mtime: Mtime) -> Result<(), &'static str> {
    if mtime.nanoseconds < 1_000_000_000 {
        Ok(())
    } else {
        Err("has a second of more than a thousand million nanoseconds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry {
            path: TreePath::new(path.as_bytes()).unwrap(),
            kind,
        }
    }

    #[test]
    fn a_tree_path_never_leaves_its_tree() {
        for bad in [
            "", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "./a", "a\0b",
        ] {
            assert!(TreePath::new(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b", "...", "..a", "a b/ü", "-rf"] {
            assert!(TreePath::new(good.as_bytes()).is_ok(), "{good:?}");
        }
        assert!(TreePath::new(&b"\xff\xfe"[..]).is_ok());
    }

    #[test]
    fn nothing_lies_behind_a_link_or_without_a_parent() {
        let link = Kind::Symlink {
            mtime: Mtime::default(),
            target: b"/etc".as_slice().into(),
        };
        let whiteout = || entry("a/passwd", Kind::Whiteout);
        assert!(Manifest::new(vec![entry("a", link), whiteout()]).is_err());
        assert!(Manifest::new(vec![whiteout()]).is_err());
        let directory = entry("a", Kind::Directory { mode: 0o755 });
        assert!(Manifest::new(vec![whiteout(), directory]).is_ok());
    }

    #[test]
    fn a_path_is_there_once() {
        let twice = vec![entry("a", Kind::Whiteout), entry("a", Kind::Whiteout)];
        assert!(Manifest::new(twice).is_err());
    }

    #[test]
    fn set_user_id_cannot_be_expressed() {
        let entries = vec![entry("a", Kind::Directory { mode: 0o4755 })];
        assert!(Manifest::new(entries).is_err());
    }

    #[test]
    fn entries_are_found_by_path() {
        let manifest = Manifest::new(vec![
            entry("a-b", Kind::Whiteout),
            entry("a", Kind::Directory { mode: 0o755 }),
            entry("a/c", Kind::Whiteout),
        ])
        .unwrap();
        assert_eq!(manifest.get(b"a/c").unwrap().kind, Kind::Whiteout);
        assert_eq!(manifest.get(b"a/d"), None);
    }
}
