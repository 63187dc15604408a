//! Reads an environment's files, whether they are in one directory or in a stack of them.
//!
//! An environment at rest is not mounted. What it would show is found here by the rules of an
//! overlay: the upper directory wins, and a marker in it hides what is below.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, FileType};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A tree of files to read from. Paths are relative to its root.
pub trait Tree: Send + Sync {
    /// The names in a directory, sorted. One that does not exist is empty.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// The regular file at `path`, or the one that a link there leads to; `None` if there is
    /// none.
    fn open(&self, path: &Path) -> io::Result<Option<File>>;
}

/// One or more directories, bottom first, seen as the overlay of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers(pub Vec<PathBuf>);

impl Layers {
    /// One plain directory.
    pub fn single(directory: impl Into<PathBuf>) -> Self {
        Self(vec![directory.into()])
    }

    /// The entries that are seen at `path`, topmost first, up to the first that hides the rest.
    pub(crate) fn seen(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut seen = Vec::new();
        for layer in self.0.iter().rev() {
            let mut place = layer.clone();
            let mut hides = false;
            let mut found = true;
            for part in path.components() {
                place.push(part);
                match place.symlink_metadata() {
                    Ok(facts) if is_whiteout(facts.file_type(), facts.rdev()) => {
                        return Ok(seen);
                    }
                    Ok(facts) if facts.is_dir() => hides |= is_opaque(&place),
                    Ok(_) => hides = true,
                    Err(error) if is_absence(&error) => {
                        found = false;
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            if found {
                seen.push(place);
            }
            if hides {
                break;
            }
        }
        Ok(seen)
    }
}

impl Tree for Layers {
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        // By name: whether the topmost entry of that name is one.
        let mut names: BTreeMap<OsString, bool> = BTreeMap::new();
        for place in self.seen(directory)? {
            if !place.is_dir() {
                continue;
            }
            for entry in fs::read_dir(place)? {
                let entry = entry?;
                let facts = entry.metadata()?;
                names
                    .entry(entry.file_name())
                    .or_insert(!is_whiteout(facts.file_type(), facts.rdev()));
            }
        }
        Ok(names
            .into_iter()
            .filter_map(|(name, is_there)| is_there.then_some(name))
            .collect())
    }

    fn open(&self, path: &Path) -> io::Result<Option<File>> {
        let Some(place) = self.seen(path)?.into_iter().next() else {
            return Ok(None);
        };
        match File::open(place) {
            Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
            Ok(_) => Ok(None),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The overlay's marker for a deleted entry.
pub(crate) fn is_whiteout(kind: FileType, device: u64) -> bool {
    kind.is_char_device() && device == 0
}

/// The overlay's marker for a directory that shows nothing of those below.
pub(crate) fn is_opaque(directory: &Path) -> bool {
    let mut value = [0; 1];
    matches!(
        rustix::fs::lgetxattr(directory, "user.overlay.opaque", &mut value),
        Ok(1) if value == *b"y"
    )
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn layers(files: &[&[(&str, &str)]]) -> (tempfile::TempDir, Layers) {
        let directory = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (number, files) in files.iter().enumerate() {
            let layer = directory.path().join(number.to_string());
            fs::create_dir_all(&layer).unwrap();
            for (name, text) in *files {
                let path = layer.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            paths.push(layer);
        }
        (directory, Layers(paths))
    }

    fn text(layers: &Layers, path: &str) -> Option<String> {
        let mut text = String::new();
        let mut file = layers.open(Path::new(path)).unwrap()?;
        file.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn the_upper_file_wins_and_directories_are_merged() {
        let (_directory, layers) = layers(&[
            &[("a/one", "1"), ("a/both", "lower")],
            &[("a/two", "2"), ("a/both", "upper")],
        ]);
        assert_eq!(layers.list(Path::new("a")).unwrap(), ["both", "one", "two"]);
        assert_eq!(text(&layers, "a/both").unwrap(), "upper");
        assert_eq!(text(&layers, "a/one").unwrap(), "1");
        assert_eq!(text(&layers, "a/absent"), None);
        assert_eq!(text(&layers, "a/one/absent"), None);
        assert!(layers.list(Path::new("absent")).unwrap().is_empty());
    }

    #[test]
    fn a_file_hides_a_directory_below() {
        let (_directory, layers) = layers(&[&[("a/b", "x")], &[("a", "file")]]);
        assert_eq!(text(&layers, "a/b"), None);
        assert_eq!(text(&layers, "a").unwrap(), "file");
    }

    #[test]
    fn an_opaque_directory_shows_nothing_of_those_below() {
        let (_directory, layers) = layers(&[&[("a/b", "x")], &[("a/c", "y")]]);
        let upper = layers.0[1].join("a");
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(&upper, "user.overlay.opaque", b"y", flags).is_err() {
            println!("SKIP: needs xattr: the file system has no user attributes");
            return;
        }
        assert_eq!(layers.list(Path::new("a")).unwrap(), ["c"]);
        assert_eq!(text(&layers, "a/b"), None);
    }

    #[test]
    fn a_whiteout_hides_what_is_below() {
        let (_directory, layers) = layers(&[&[("a/b", "x"), ("a/d/e", "x")], &[("a/c", "y")]]);
        for name in ["a/b", "a/d"] {
            let made = rustix::fs::mknodat(
                rustix::fs::CWD,
                layers.0[1].join(name),
                rustix::fs::FileType::CharacterDevice,
                rustix::fs::Mode::empty(),
                0,
            );
            if made.is_err() {
                println!("SKIP: needs mknod: a whiteout cannot be made here");
                return;
            }
        }
        assert_eq!(layers.list(Path::new("a")).unwrap(), ["c"]);
        assert_eq!(text(&layers, "a/b"), None);
        assert_eq!(text(&layers, "a/d/e"), None);
    }
}
