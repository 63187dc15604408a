//! From a tree on disk to the entries of a manifest, and to what has to change on disk so that
//! the tree is exactly what the manifest says.
//!
//! Reading and changing are apart: [`scan`] refuses before anything is changed, [`Scan::apply`]
//! changes. The one thing that reading does change is a file with several names: it gets contents
//! of its own, because the other name may be somebody else's file.

mod apply;
mod options;
mod read;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fstat, openat, statat,
};
use rustix::io::Errno;

pub use self::options::{LeftOut, Lost, Modes, Mtimes, Specials};
pub(crate) use self::options::{Reading, Whole};
use self::read::Leaf;
use crate::access::{Need, with_access};
use crate::error::{Context as _, Error, Result};
use crate::manifest::{Entry, Kind, Mtime, TreePath};
use crate::overlay_marks::{self, Marks};
use crate::parallel;

/// The mode of every layer's own directory.
const ROOT_MODE: u32 = 0o755;

/// What [`scan`] found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Every entry of the tree, sorted.
    pub(crate) items: Vec<Item>,
    /// What the layer will lack.
    pub(crate) left_out: Vec<LeftOut>,
    /// Entries that must go.
    remove: Vec<TreePath>,
    root: Fix,
}

/// An entry as it will be in the layer.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) entry: Entry,
    fix: Fix,
}

/// What must change on disk for an entry to be what its manifest says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fix {
    mode: Option<u32>,
    times: Option<Mtime>,
    strip: Vec<CString>,
    whiteout: bool,
    opaque: bool,
}

impl Scan {
    /// The first entry that is not on disk as a layer should be.
    pub(crate) fn first_fix(&self) -> Option<&TreePath> {
        let items = self.items.iter();
        self.remove.first().or_else(|| {
            items
                .filter(|item| item.fix != Fix::default())
                .map(|item| &item.entry.path)
                .next()
        })
    }

    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.items.into_iter().map(|item| item.entry).collect()
    }
}

/// Reads the tree at `root`, which nothing else may change meanwhile.
pub(crate) fn scan(root: &Path, reading: Reading<'_>) -> Result<Scan> {
    let fd = open_root(root)?;
    let mut walk = Walk {
        root,
        fd: &fd,
        reading,
        scan: Scan::default(),
        leaves: Vec::new(),
    };
    walk.run()?;
    let Walk {
        mut scan, leaves, ..
    } = walk;

    let found = parallel::map(
        &leaves,
        || vec![0; read::BUFFER],
        |buffer, leaf| read::read(root, &fd, reading, leaf, buffer),
    )?;
    for (item, left_out) in found {
        scan.items.push(item);
        scan.left_out.extend(left_out);
    }
    scan.items
        .sort_unstable_by(|a, b| a.entry.path.cmp(&b.entry.path));
    scan.left_out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(scan)
}

/// The first pass: directories, and everything that is not a file or a link.
struct Walk<'a> {
    root: &'a Path,
    fd: &'a OwnedFd,
    reading: Reading<'a>,
    scan: Scan,
    leaves: Vec<Leaf>,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<()> {
        let mut pending: Vec<Option<TreePath>> = vec![None];
        while let Some(path) = pending.pop() {
            self.directory(path.as_ref(), &mut pending)?;
        }
        Ok(())
    }

    fn directory(
        &mut self,
        path: Option<&TreePath>,
        pending: &mut Vec<Option<TreePath>>,
    ) -> Result<()> {
        let relative = path.map_or(Path::new("."), TreePath::as_path);
        let full = || self.root.join(relative);
        let fd = with_access(self.root, relative, Need::Entry, || {
            openat(
                self.fd,
                relative,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
        })
        .at("open", full())?;
        let stat = fstat(&fd).at("examine", full())?;
        let marks = read_marks(self.root, relative, &fd)?;
        let entries = Dir::new(fd).at("list", full())?;

        match path {
            Some(path) => self.found_directory(path.clone(), &stat, marks)?,
            None => self.found_root(&stat, marks)?,
        }
        for entry in entries {
            let entry = entry.at("list", self.root.join(relative))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let child = join(path, name, self.root)?;
            self.child(child, entry.file_type(), pending)?;
        }
        Ok(())
    }

    /// overlayfs gives a lower root's marks no meaning; its mode is covered by the upper's.
    fn found_root(&mut self, stat: &Stat, marks: Marks) -> Result<()> {
        let mode = differs(stat.st_mode & 0o7777, ROOT_MODE);
        if self.reading.whole.is_some() && (mode.is_some() || !marks.lost.is_empty()) {
            return Err(Error::Refused {
                path: ".".into(),
                what: "the mode or an attribute of the tree itself",
            });
        }
        self.scan.root = Fix {
            mode,
            strip: marks.strip,
            ..Fix::default()
        };
        Ok(())
    }

    fn found_directory(&mut self, path: TreePath, stat: &Stat, marks: Marks) -> Result<()> {
        let overlay = self.reading.overlay;
        if let Some(whole) = self.reading.whole {
            whole.check_owner(&path, stat)?;
        }
        refuse_incomplete(overlay, &marks, &path)?;
        let found = stat.st_mode & 0o7777;
        let mode = self.reading.modes.of(found, true);
        let opaque = overlay && marks.opaque;
        lost(&mut self.scan.left_out, &path, &marks, found);
        let mut fix = Fix {
            mode: differs(found, mode),
            times: match self.reading.times {
                Mtimes::Keep => None,
                // Not part of the manifest; fixed all the same, so that a layer is the same
                // wherever it is made.
                Mtimes::FromContent { base } => differs(
                    mtime(stat),
                    Mtime {
                        seconds: base,
                        nanoseconds: 0,
                    },
                ),
            },
            ..Fix::default()
        };
        fix.opaque = opaque && !marks.opaque_for_users;
        fix.strip = marks.strip;
        if marks.opaque_for_users && !opaque {
            // A mark without meaning here must not get one in the layer.
            fix.strip.push(overlay_marks::OPAQUE.to_owned());
        }
        let kind = if opaque {
            Kind::Opaque { mode }
        } else {
            Kind::Directory { mode }
        };
        self.scan.items.push(Item {
            entry: Entry { path, kind },
            fix,
        });
        Ok(())
    }

    fn child(
        &mut self,
        path: TreePath,
        file_type: FileType,
        pending: &mut Vec<Option<TreePath>>,
    ) -> Result<()> {
        let stat = match file_type {
            FileType::Directory | FileType::RegularFile | FileType::Symlink => None,
            _ => Some(stat_entry(self.root, self.fd, &path)?),
        };
        let file_type = stat
            .as_ref()
            .map_or(file_type, |stat| FileType::from_raw_mode(stat.st_mode));
        match file_type {
            FileType::Directory => pending.push(Some(path)),
            FileType::RegularFile | FileType::Symlink => {
                self.leaves.push(Leaf { path, file_type });
            }
            FileType::CharacterDevice
                if self.reading.overlay && stat.is_some_and(|stat| stat.st_rdev == 0) =>
            {
                self.scan.items.push(Item {
                    entry: Entry {
                        path,
                        kind: Kind::Whiteout,
                    },
                    fix: Fix::default(),
                });
            }
            FileType::Socket => self.special(path, "a socket")?,
            FileType::Fifo => self.special(path, "a FIFO")?,
            _ => {
                return Err(Error::Refused {
                    path: path.as_path().to_owned(),
                    what: "a device",
                });
            }
        }
        Ok(())
    }

    fn special(&mut self, path: TreePath, what: &'static str) -> Result<()> {
        match self.reading.specials {
            Specials::Refuse => Err(Error::Refused {
                path: path.as_path().to_owned(),
                what,
            }),
            Specials::LeaveOut => {
                self.scan.left_out.push(LeftOut {
                    path: path.clone(),
                    lost: Lost::Entry(what),
                });
                self.scan.remove.push(path);
                Ok(())
            }
        }
    }
}

fn open_root(root: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, root, flags, Mode::empty()).at("open", root)
}

/// Reading an attribute asks for permission each time, whatever the descriptor may do.
fn read_marks(root: &Path, path: &Path, fd: impl AsFd) -> Result<Marks> {
    with_access(root, path, Need::Entry, || Marks::read(&fd))
        .at("read the attributes of", root.join(path))
}

fn stat_entry(root: &Path, fd: &OwnedFd, path: &TreePath) -> Result<Stat> {
    with_access(root, path.as_path(), Need::Parents, || {
        statat(fd, path.as_path(), AtFlags::SYMLINK_NOFOLLOW)
    })
    .at("examine", root.join(path))
}

fn join(parent: Option<&TreePath>, name: &[u8], root: &Path) -> Result<TreePath> {
    let bytes = match parent {
        Some(parent) => [parent.as_bytes(), b"/", name].concat(),
        None => name.to_vec(),
    };
    // A name from a directory can only be too deep.
    TreePath::new(bytes)
        .map_err(|_| Errno::NAMETOOLONG)
        .at("walk", root.join(OsStr::from_bytes(name)))
}

fn refuse_incomplete(overlay: bool, marks: &Marks, path: &TreePath) -> Result<()> {
    if overlay && marks.incomplete {
        return Err(Error::Refused {
            path: path.as_path().to_owned(),
            what: "an entry that overlayfs keeps in a lower layer (redirect_dir or metacopy)",
        });
    }
    Ok(())
}

fn lost(left_out: &mut Vec<LeftOut>, path: &TreePath, marks: &Marks, mode: u32) {
    let mut lose = |what| {
        left_out.push(LeftOut {
            path: path.clone(),
            lost: Lost::Part(what),
        });
    };
    if mode & 0o4000 != 0 {
        lose("the set-user-id bit".to_owned());
    }
    if mode & 0o2000 != 0 {
        lose("the set-group-id bit".to_owned());
    }
    for name in &marks.lost {
        lose(format!("the attribute {}", name.to_string_lossy()));
    }
}

fn differs<T: PartialEq>(found: T, wanted: T) -> Option<T> {
    (found != wanted).then_some(wanted)
}

pub(crate) fn mtime(stat: &Stat) -> Mtime {
    Mtime {
        seconds: stat.st_mtime,
        nanoseconds: stat.st_mtime_nsec as u32,
    }
}

pub(crate) fn timestamps(mtime: Mtime) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: mtime.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
