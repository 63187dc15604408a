//! The second pass of a scan: files and symbolic links, each by itself.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{
    CWD, FileType, Mode, OFlags, Stat, fchmod, fstat, futimens, openat, readlinkat, renameat,
};

use super::{
    Fix, Item, LeftOut, Reading, differs, lost, mtime, read_marks, refuse_incomplete, stat_entry,
    timestamps,
};
use crate::access::{Need, with_access};
use crate::contents::Copier;
use crate::error::{Context as _, Result};
use crate::id::ContentHash;
use crate::layout::random_name;
use crate::manifest::{Entry, Kind, TreePath};

/// Large enough that most files take one call, small enough for the cache.
pub(super) const BUFFER: usize = 128 * 1024;

/// A file or symbolic link still to be read.
pub(super) struct Leaf {
    pub(super) path: TreePath,
    pub(super) file_type: FileType,
}

pub(super) type Found = (Item, Vec<LeftOut>);

/// Reads one leaf. `buffer` is scratch space.
pub(super) fn read(
    root: &Path,
    fd: &OwnedFd,
    reading: Reading<'_>,
    leaf: &Leaf,
    buffer: &mut [u8],
) -> Result<Found> {
    match leaf.file_type {
        FileType::Symlink => read_link(root, fd, reading, &leaf.path),
        _ => read_file(root, fd, reading, &leaf.path, buffer),
    }
}

fn read_link(root: &Path, fd: &OwnedFd, reading: Reading<'_>, path: &TreePath) -> Result<Found> {
    let stat = stat_entry(root, fd, path)?;
    if let Some(whole) = reading.whole {
        whole.check_owner(path, &stat)?;
    }
    let target = with_access(root, path.as_path(), Need::Parents, || {
        readlinkat(fd, path.as_path(), Vec::new())
    })
    .at("read the link", root.join(path))?
    .into_bytes();
    let found = mtime(&stat);
    let mtime = reading.times.of(found, &blake3::hash(&target).into());
    let item = Item {
        entry: Entry {
            path: path.clone(),
            kind: Kind::Symlink {
                mtime,
                target: target.into(),
            },
        },
        fix: Fix {
            times: differs(found, mtime),
            ..Fix::default()
        },
    };
    Ok((item, Vec::new()))
}

fn read_file(
    root: &Path,
    fd: &OwnedFd,
    reading: Reading<'_>,
    path: &TreePath,
    buffer: &mut [u8],
) -> Result<Found> {
    let full = || root.join(path);
    let mut file = open_file(root, fd, path)?;
    let mut stat = fstat(&file).at("examine", full())?;
    if let Some(scratch) = reading.unshare
        && stat.st_nlink > 1
    {
        unshare(root, fd, path, &mut file, &stat, scratch)?;
        file = open_file(root, fd, path)?;
        stat = fstat(&file).at("examine", full())?;
    }
    if let Some(whole) = reading.whole {
        whole.check_owner(path, &stat)?;
        whole.check_file(path, file.as_fd(), &stat)?;
    }
    let marks = read_marks(root, path.as_path(), &file)?;
    refuse_incomplete(reading.overlay, &marks, path)?;
    if reading.overlay && marks.whiteout {
        let item = Item {
            entry: Entry {
                path: path.clone(),
                kind: Kind::Whiteout,
            },
            fix: Fix {
                whiteout: true,
                ..Fix::default()
            },
        };
        return Ok((item, Vec::new()));
    }

    let size = stat.st_size as u64;
    let hash = match (reading.assume)(path) {
        Some(hash) => hash,
        None => hash_contents(&mut file, size, buffer).at("read", full())?,
    };
    let (found, found_mode) = (mtime(&stat), stat.st_mode & 0o7777);
    let mtime = reading.times.of(found, &hash);
    let mode = reading.modes.of(found_mode, false);
    let mut left_out = Vec::new();
    lost(&mut left_out, path, &marks, found_mode);
    let item = Item {
        entry: Entry {
            path: path.clone(),
            kind: Kind::File {
                mode,
                size,
                mtime,
                hash,
            },
        },
        fix: Fix {
            mode: differs(found_mode, mode),
            times: differs(found, mtime),
            strip: marks.strip,
            ..Fix::default()
        },
    };
    Ok((item, left_out))
}

fn hash_contents(file: &mut File, size: u64, buffer: &mut [u8]) -> io::Result<ContentHash> {
    let mut hasher = blake3::Hasher::new();
    let mut left = size;
    while left > 0 {
        match file.read(buffer) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it became shorter meanwhile",
                ));
            }
            Ok(length) => {
                hasher.update(&buffer[..length]);
                left = left.saturating_sub(length as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.finalize().into())
}

/// Gives a file with several names contents of its own under this name. The copy is made in
/// `scratch`, so that the tree never holds a half of it.
fn unshare(
    root: &Path,
    fd: &OwnedFd,
    path: &TreePath,
    file: &mut File,
    stat: &Stat,
    scratch: &Path,
) -> Result<()> {
    let copy = scratch.join(random_name()?);
    let mut new = File::create_new(&copy).at("create", &copy)?;
    Copier::new()
        .copy(file, &mut new, stat.st_size as u64)
        .at("write", &copy)?;
    fchmod(&new, Mode::from_raw_mode(stat.st_mode & 0o7777)).at("change the mode of", &copy)?;
    futimens(&new, &timestamps(mtime(stat))).at("set the time of", &copy)?;
    with_access(root, path.as_path(), Need::Parents, || {
        renameat(CWD, &copy, fd, path.as_path())
    })
    .at("replace", root.join(path))
}

fn open_file(root: &Path, fd: &OwnedFd, path: &TreePath) -> Result<File> {
    with_access(root, path.as_path(), Need::Entry, || {
        openat(
            fd,
            path.as_path(),
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
    })
    .map(File::from)
    .at("open", root.join(path))
}
