//! What is in a view: links to an environment's files, programs that run in it, and what a shell reads to find them.
//!
//! Directories are real, and every file is a link: a Python of the host that imports from here
//! writes its bytecode into the view and never into a layer, which would damage it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink,
};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use crate::environment::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::python::activation;
use crate::python::tree::{Layers, Tree as _, is_opaque, is_whiteout};
use crate::python::{ENV_PREFIX, relocate};

/// Numbers for the directories that files are linked from: a link of less than 60 bytes takes no
/// block of its own on most file systems.
const SOURCES: &str = ".sources";

/// A view in the making.
pub(super) struct Build<'a> {
    trees: Layers,
    destination: &'a Path,
    site_packages: PathBuf,
    /// How many numbers were given.
    sources: Cell<usize>,
}

/// What the programs in `bin` do.
pub(super) struct Shims<'a> {
    /// The store.
    pub(super) home: &'a Path,
    /// The program `ptest`, if it is known where that is.
    pub(super) program: Option<PathBuf>,
    /// The environment that they run in.
    pub(super) record: &'a Record,
    /// Where it sees its tree.
    pub(super) prefix: &'a Path,
    /// Where the view will be.
    pub(super) view: &'a Path,
}

/// What one name of a merged directory is: numbers are those of the places, topmost first.
enum Found {
    Leaf(usize),
    /// Merged from several, until something hides what is below.
    Directory {
        places: Vec<usize>,
        hides: bool,
    },
    Hidden,
}

impl<'a> Build<'a> {
    /// Of these directories, bottom first, as overlayfs would merge them.
    pub(super) fn new(trees: &[PathBuf], destination: &'a Path) -> Result<Self> {
        let site_packages = trees
            .iter()
            .find_map(|tree| relocate::site_packages(tree).ok()?.into_iter().next());
        Ok(Self {
            trees: Layers(trees.to_vec()),
            destination,
            sources: Cell::new(0),
            site_packages: site_packages.ok_or_else(|| {
                Error::new(
                    ErrorKind::Unsupported,
                    "the environment has no place for packages",
                )
            })?,
        })
    }

    /// Where packages are, relative to the environment.
    pub(super) fn site_packages(&self) -> &Path {
        &self.site_packages
    }

    /// What tells whether the view would be another one, the stack being the same: the names, not
    /// the contents, of what commands wrote.
    pub(super) fn mark(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        let written = self.trees.0.last();
        for place in written.into_iter().flat_map(|tree| {
            [
                Path::new("bin"),
                Path::new("pyvenv.cfg"),
                &self.site_packages,
            ]
            .map(|place| tree.join(place))
        }) {
            for entry in WalkDir::new(place).sort_by_file_name() {
                let facts = match entry {
                    Ok(entry) => entry,
                    // What is deleted meanwhile, or was never there, has no name.
                    Err(error) if error.io_error().is_some_and(is_absence) => continue,
                    Err(error) => return Err(Error::io("read the environment", error.into())),
                };
                let kind = facts.file_type();
                let what = match kind {
                    kind if kind.is_dir() && is_opaque(facts.path()) => b'o',
                    kind if kind.is_dir() => b'd',
                    kind if kind.is_char_device() => b'w',
                    _ => match facts.metadata() {
                        Ok(facts) if facts.mode() & 0o111 != 0 => b'x',
                        _ => b'f',
                    },
                };
                hasher.update(facts.path().as_os_str().as_bytes());
                hasher.update([0, what]);
            }
        }
        let digest = hasher.finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Fills the directory, which is not there yet.
    pub(super) fn run(&self, shims: &Shims<'_>) -> Result<()> {
        let failed = |source| Error::io(format!("fill {}", self.destination.display()), source);
        self.packages().map_err(failed)?;
        self.configuration().map_err(failed)?;
        self.programs(shims).map_err(failed)
    }

    fn packages(&self) -> io::Result<()> {
        let places = self.trees.seen(&self.site_packages)?;
        fs::create_dir_all(self.destination.join(SOURCES))?;
        fs::create_dir_all(self.destination.join(&self.site_packages))?;
        let all: Vec<usize> = (0..places.len()).collect();
        self.merge(&places, &all, Path::new(""))
    }

    /// Fills the directory `relative` of the packages with what these places have there.
    fn merge(&self, places: &[PathBuf], merged: &[usize], relative: &Path) -> io::Result<()> {
        let mut names: BTreeMap<OsString, Found> = BTreeMap::new();
        for number in merged {
            // What a command deletes meanwhile is not there.
            let Some(entries) = if_there(fs::read_dir(places[*number].join(relative)))? else {
                continue;
            };
            for entry in entries {
                add(&mut names, *number, &entry?)?;
            }
        }
        let here = self.destination.join(&self.site_packages).join(relative);
        let up: PathBuf = self
            .site_packages
            .components()
            .chain(relative.components())
            .map(|_| "..")
            .collect();
        let mut sources: BTreeMap<usize, PathBuf> = BTreeMap::new();
        for (name, found) in names {
            match found {
                Found::Leaf(number) => {
                    let source = match sources.entry(number) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(new) => {
                            new.insert(self.source(&places[number].join(relative))?)
                        }
                    };
                    symlink(up.join(source).join(&name), here.join(&name))?;
                }
                Found::Directory { places: deeper, .. } => {
                    fs::create_dir(here.join(&name))?;
                    self.merge(places, &deeper, &relative.join(&name))?;
                }
                Found::Hidden => {}
            }
        }
        Ok(())
    }

    /// A short name, from the top of the view, for a directory that files are linked from.
    fn source(&self, directory: &Path) -> io::Result<PathBuf> {
        let number = self.sources.replace(self.sources.get() + 1);
        let name = Path::new(SOURCES).join(number.to_string());
        symlink(directory, self.destination.join(&name))?;
        Ok(name)
    }

    fn configuration(&self) -> io::Result<()> {
        let Some(mut file) = self.trees.open(Path::new("pyvenv.cfg"))? else {
            return Ok(());
        };
        io::copy(
            &mut file,
            &mut File::create_new(self.destination.join("pyvenv.cfg"))?,
        )
        .map(|_| ())
    }

    fn programs(&self, shims: &Shims<'_>) -> io::Result<()> {
        let bin = Path::new("bin");
        fs::create_dir(self.destination.join(bin))?;
        for name in self.trees.list(bin)? {
            let Some(mut program) = self.trees.open(&bin.join(&name))? else {
                continue;
            };
            let (mode, text) = if program.metadata()?.permissions().mode() & 0o111 != 0 {
                (0o755, shims.script(&name))
            } else if name.as_bytes().starts_with(b"activate") {
                let mut text = Vec::new();
                program.read_to_end(&mut text)?;
                // What was made by a layer names the place of every environment, a copy its own.
                let view = shims.view.as_os_str().as_bytes();
                let prefix = shims.prefix.as_os_str().as_bytes();
                let text = activation::moved(&text, ENV_PREFIX.as_bytes(), view);
                (0o644, activation::moved(&text, prefix, view))
            } else {
                continue;
            };
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(self.destination.join(bin).join(&name))?
                .write_all(&text)?;
        }
        Ok(())
    }
}

impl Shims<'_> {
    fn script(&self, name: &OsStr) -> Vec<u8> {
        let program = self.program.as_deref().unwrap_or(Path::new("ptest"));
        let inside = self.prefix.join("bin").join(name);
        [
            b"#!/bin/sh\n# Runs in an environment of ptest's, which makes this anew after each change.\nptest="
                .as_slice(),
            &quoted(program.as_os_str()),
            b"\n[ -x \"$ptest\" ] || ptest=$(command -v ptest) || {\n    \
              echo \"$0: ptest is gone; install it again, or delete this directory\" >&2\n    \
              exit 125\n}\nexec \"$ptest\" --ptest-home ",
            &quoted(self.home.as_os_str()),
            b" exec ",
            self.record.id.as_str().as_bytes(),
            b" -- ",
            &quoted(inside.as_os_str()),
            b" \"$@\"\n",
        ]
        .concat()
    }
}

/// Adds what one place has under one name; those above it were added before.
fn add(names: &mut BTreeMap<OsString, Found>, number: usize, entry: &DirEntry) -> io::Result<()> {
    let kind = entry.file_type()?;
    let hides = kind.is_dir() && is_opaque(&entry.path());
    match names.get_mut(&entry.file_name()) {
        None => {
            let found = if kind.is_dir() {
                Found::Directory {
                    places: vec![number],
                    hides,
                }
            } else if is_whiteout(kind, entry.metadata()?.rdev()) {
                Found::Hidden
            } else {
                Found::Leaf(number)
            };
            names.insert(entry.file_name(), found);
        }
        Some(Found::Directory {
            places,
            hides: hidden,
        }) if !*hidden => {
            if kind.is_dir() {
                places.push(number);
                *hidden = hides;
            } else {
                *hidden = true;
            }
        }
        Some(_) => {}
    }
    Ok(())
}

fn is_absence(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if is_absence(&error) => Ok(None),
        result => result.map(Some),
    }
}

/// In single quotes, for `sh`.
fn quoted(text: &OsStr) -> Vec<u8> {
    activation::quoted(text.as_bytes())
}
