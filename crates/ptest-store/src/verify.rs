//! Whether a layer's tree is still what was committed.
//!
//! Only looks. What to do about a corrupt layer is the business of `recover`.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;
use std::path::Path;

use crate::Store;
use crate::error::{Error, Result};
use crate::id::{ContentHash, LayerId};
use crate::manifest::{Kind, Manifest, TreePath};
use crate::scan::{self, Modes, Mtimes, Reading, Scan, Specials};

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every path, type, mode, size and time; the contents of about 64 files, other ones each
    /// time.
    Sampled,
    /// The contents of every file too.
    Full,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is what was committed, as far as was looked.
    Sound,
    /// It is not.
    Corrupt {
        /// The first difference.
        detail: String,
    },
}

impl Store {
    /// Compares a layer's tree with its manifest, and the manifest with the id.
    ///
    /// # Errors
    ///
    /// Only when it cannot be looked at; what is wrong with it is a [`Verdict`].
    pub fn verify(&self, id: &LayerId, depth: Depth) -> Result<Verdict> {
        let corrupt = |detail: String| Ok(Verdict::Corrupt { detail });
        let place = self.layout().layer(id);
        if !place.is_dir() {
            return corrupt("its directory is missing".to_owned());
        }
        let manifest = match self.manifest(id) {
            Err(Error::Manifest { source, .. }) => {
                return corrupt(format!("its manifest: {source}"));
            }
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return corrupt("its manifest is missing".to_owned());
            }
            result => result?,
        };
        let sample = Sample::of(&manifest);
        let found = match depth {
            Depth::Full => scan_layer(&place, &|_| None),
            Depth::Sampled => scan_layer(&place, &|path| sample.skip(path)),
        };
        match found {
            Ok(scan) => Ok(compare(&manifest, scan)),
            Err(Error::Refused { path, what }) => corrupt(format!("{} is {what}", path.display())),
            Err(error) => Err(error),
        }
    }
}

/// The manifest that a tree would have as a layer; `None` when it cannot be one as it is.
pub(crate) fn manifest_on_disk(place: &Path) -> Result<Option<Manifest>> {
    match scan_layer(place, &|_| None) {
        Ok(scan) if scan.first_fix().is_none() => Ok(Manifest::new(scan.into_entries()).ok()),
        Ok(_) | Err(Error::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn scan_layer(
    place: &Path,
    assume: &(dyn Fn(&TreePath) -> Option<ContentHash> + Sync),
) -> Result<Scan> {
    let reading = Reading {
        overlay: true,
        times: Mtimes::Keep,
        modes: Modes::Keep,
        specials: Specials::Refuse,
        unshare: None,
        assume,
        whole: None,
    };
    scan::scan(place, reading)
}

fn compare(manifest: &Manifest, scan: Scan) -> Verdict {
    let corrupt = |path: &TreePath, problem: &str| Verdict::Corrupt {
        detail: format!("{path} {problem}"),
    };
    if let Some(path) = scan.first_fix() {
        return corrupt(path, "has an attribute or a mode that no layer has");
    }
    let found = scan.into_entries();
    let mut found = found.iter().peekable();
    for expected in manifest.entries() {
        match found.peek() {
            Some(entry) if entry.path < expected.path => {
                return corrupt(&entry.path, "was added");
            }
            Some(entry) if entry.path == expected.path => {
                if entry.kind != expected.kind {
                    return corrupt(&entry.path, what_changed(&expected.kind, &entry.kind));
                }
                found.next();
            }
            _ => return corrupt(&expected.path, "is missing"),
        }
    }
    match found.next() {
        Some(entry) => corrupt(&entry.path, "was added"),
        None => Verdict::Sound,
    }
}

fn what_changed(expected: &Kind, found: &Kind) -> &'static str {
    use Kind::{Directory, File, Opaque, Symlink};
    match (expected, found) {
        (File { size: a, .. }, File { size: b, .. }) if a != b => "has another size",
        (File { hash: a, .. }, File { hash: b, .. }) if a != b => "has other contents",
        (File { mode: a, .. }, File { mode: b, .. })
        | (Directory { mode: a }, Directory { mode: b })
        | (Opaque { mode: a }, Opaque { mode: b })
            if a != b =>
        {
            "has another mode"
        }
        (Symlink { target: a, .. }, Symlink { target: b, .. }) if a != b => "points elsewhere",
        (File { .. }, File { .. }) | (Symlink { .. }, Symlink { .. }) => "has another time",
        _ => "is of another type",
    }
}

/// The choice of files whose contents are read.
struct Sample<'a> {
    manifest: &'a Manifest,
    files: u64,
    random: RandomState,
}

impl<'a> Sample<'a> {
    const SIZE: u64 = 64;

    fn of(manifest: &'a Manifest) -> Self {
        let is_file = |kind: &Kind| matches!(kind, Kind::File { .. });
        let files = manifest.entries().iter().filter(|e| is_file(&e.kind));
        Self {
            manifest,
            files: files.count() as u64,
            random: RandomState::new(),
        }
    }

    /// The hash to assume for a file that is not chosen.
    fn skip(&self, path: &TreePath) -> Option<ContentHash> {
        let chosen = self.random.hash_one(path) % self.files.max(1) < Self::SIZE;
        match self.manifest.get(path.as_bytes())?.kind {
            Kind::File { hash, .. } if !chosen => Some(hash),
            _ => None,
        }
    }
}
