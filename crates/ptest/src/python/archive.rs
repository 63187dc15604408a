//! Reads a zip archive that is not trusted.
//!
//! Every name is checked before anything is written, links and doubled names are refused, and
//! what is unpacked is bounded by what the archive declares and by a fixed maximum. Knows
//! nothing of wheels.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

/// The largest number of entries that is read. The largest wheels have some 30,000.
const MAX_ENTRIES: usize = 500_000;
/// The largest size that is unpacked. The largest wheels unpack to some 5 GB.
const MAX_BYTES: u64 = 32 << 30;

/// An opened archive whose names have been checked.
#[derive(Debug)]
pub(crate) struct Archive {
    zip: ZipArchive<File>,
    entries: Vec<Entry>,
}

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative, with `/`, without `.` and `..`.
    pub(crate) name: String,
    /// Declared size.
    pub(crate) size: u64,
    /// Whether the archive marks it as a program.
    pub(crate) executable: bool,
    index: usize,
}

impl Archive {
    /// Opens the archive at `path` and checks its list of names.
    pub(crate) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(ArchiveError::Read)?;
        let mut zip = ZipArchive::new(file).map_err(ArchiveError::from)?;
        if zip.len() > MAX_ENTRIES {
            return Err(ArchiveError::TooLarge);
        }
        if zip.has_duplicate_names() {
            return Err(ArchiveError::Invalid(
                "two entries have one name".to_owned(),
            ));
        }
        let mut entries = Vec::with_capacity(zip.len());
        let mut names = BTreeSet::new();
        let mut total = 0_u64;
        for index in 0..zip.len() {
            let file = zip.by_index_raw(index).map_err(ArchiveError::from)?;
            let name = file.name().map_err(ArchiveError::from)?.into_owned();
            if !is_safe(name.strip_suffix('/').unwrap_or(&name)) {
                return Err(ArchiveError::UnsafePath { entry: name });
            }
            if file.is_dir() {
                continue;
            }
            if file.is_symlink() {
                return Err(ArchiveError::Link { entry: name });
            }
            if file.encrypted() {
                return Err(ArchiveError::Invalid(format!("{name} is encrypted")));
            }
            total = total.saturating_add(file.size());
            if total > MAX_BYTES {
                return Err(ArchiveError::TooLarge);
            }
            if !names.insert(name.clone()) {
                return Err(ArchiveError::Invalid(format!("{name} is there twice")));
            }
            entries.push(Entry {
                executable: file.unix_mode().is_some_and(|mode| mode & 0o111 != 0),
                size: file.size(),
                name,
                index,
            });
        }
        Ok(Self { zip, entries })
    }

    /// All files, in the archive's order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Copies an entry's content to `sink`.
    pub(crate) fn copy(
        &mut self,
        entry: &Entry,
        sink: &mut impl Write,
    ) -> Result<(), ArchiveError> {
        let file = self.zip.by_index(entry.index).map_err(ArchiveError::from)?;
        // One byte more than declared: an entry that unpacks to more than it says is refused.
        let copied = io::copy(&mut file.take(entry.size + 1), sink).map_err(|source| {
            ArchiveError::Entry {
                entry: entry.name.clone(),
                source,
            }
        })?;
        if copied == entry.size {
            Ok(())
        } else {
            Err(ArchiveError::Invalid(format!(
                "{} has another size than declared",
                entry.name
            )))
        }
    }

    /// An entry's content, which must not be larger than `limit`.
    pub(crate) fn read(&mut self, entry: &Entry, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        if entry.size > limit {
            return Err(ArchiveError::TooLarge);
        }
        let mut content = Vec::with_capacity(entry.size as usize);
        self.copy(entry, &mut content)?;
        Ok(content)
    }

    /// Unpacks everything below `directory`.
    pub(crate) fn unpack(&mut self, directory: &Path) -> Result<(), ArchiveError> {
        for entry in self.entries.clone() {
            let path = directory.join(&entry.name);
            let failed = |source| ArchiveError::Write {
                path: path.clone(),
                source,
            };
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            let mut file = File::create_new(&path).map_err(failed)?;
            self.copy(&entry, &mut file)?;
        }
        Ok(())
    }
}

/// Whether a name stays below the directory it is joined to, written in one way only.
pub(crate) fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', '\0'])
        && name
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && part.len() < 256)
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read.
    #[error("failed to read the archive")]
    Read(#[source] io::Error),
    /// It is no zip archive, or one that is damaged or of an unknown kind.
    #[error("the archive is damaged: {0}")]
    Invalid(String),
    /// An entry's content cannot be unpacked.
    #[error("failed to unpack {entry}")]
    Entry {
        /// Its name.
        entry: String,
        /// Why.
        source: io::Error,
    },
    /// An entry would be written outside of the directory.
    #[error("the entry {entry:?} leaves the directory it is unpacked to")]
    UnsafePath {
        /// Its name.
        entry: String,
    },
    /// An entry is a symbolic link.
    #[error("the entry {entry:?} is a link")]
    Link {
        /// Its name.
        entry: String,
    },
    /// It has more entries or bytes than any honest archive.
    #[error("the archive is too large")]
    TooLarge,
    /// A file cannot be written.
    #[error("failed to write {path}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<ZipError> for ArchiveError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(source) => Self::Read(source),
            other => Self::Invalid(other.to_string()),
        }
    }
}
