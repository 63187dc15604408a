//! How much some directories hold on the disk, counted by a process of its own: a large tree takes a while, and init must
//! answer meanwhile.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::sys::{self, Fork};

/// The unit in which the kernel counts what is allocated: stat(2).
const BLOCK: u64 = 512;

/// A count that is under way.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) pid: i32,
    result: OwnedFd,
    begun: Instant,
}

impl Survey {
    /// Begins to count.
    pub(super) fn begin(directories: &[OwnedFd]) -> io::Result<Self> {
        let (result, report) = pipe_with(PipeFlags::CLOEXEC)?;
        match sys::fork()? {
            Fork::Child => {
                let bytes = allocated(directories);
                let _unheard = rustix::io::write(report, &bytes.to_ne_bytes());
                sys::exit_now(0)
            }
            Fork::Parent(pid) => Ok(Self {
                pid: pid.as_raw_nonzero().get(),
                result,
                begun: Instant::now(),
            }),
        }
    }

    /// Readable when it is done.
    pub(super) fn result(&self) -> BorrowedFd<'_> {
        self.result.as_fd()
    }

    /// What was counted, and how long it took; `None` if who counted was killed.
    pub(super) fn end(self) -> (Option<u64>, Duration) {
        let mut bytes = [0; 8];
        let count = rustix::io::read(&self.result, &mut bytes);
        let counted = (count == Ok(bytes.len())).then(|| u64::from_ne_bytes(bytes));
        (counted, self.begun.elapsed())
    }
}

/// Whether directories can be looked at.
pub(super) fn check(directories: &[OwnedFd]) -> io::Result<()> {
    for directory in directories {
        open(directory.as_fd(), c".")?;
    }
    Ok(())
}

/// The bytes that are allocated below directories. A file counts once, whatever names it has; what cannot be looked at
/// does not.
pub(super) fn allocated(directories: &[OwnedFd]) -> u64 {
    let mut seen = HashSet::new();
    let opened = |directory: &OwnedFd| open(directory.as_fd(), c".").ok();
    let mut pending: Vec<OwnedFd> = directories.iter().filter_map(opened).collect();
    let mut bytes = 0;
    while let Some(directory) = pending.pop() {
        let Ok(entries) = Dir::read_from(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(found) = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if found.st_nlink < 2
                || is_directory(&found)
                || seen.insert((found.st_dev, found.st_ino))
            {
                bytes += found.st_blocks as u64 * BLOCK;
            }
            if is_directory(&found) {
                pending.extend(open(directory.as_fd(), name).ok());
            }
        }
    }
    bytes
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}

fn open(directory: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_allocated_counts_once_however_deep_it_lies() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/file"), vec![1; 100_000]).unwrap();
        fs::hard_link(root.path().join("a/b/file"), root.path().join("again")).unwrap();
        std::os::unix::fs::symlink("a", root.path().join("link")).unwrap();
        let directory: OwnedFd = fs::File::open(root.path()).unwrap().into();
        let counted = allocated(&[directory]);
        assert!((100_000..150_000).contains(&counted), "{counted}");
    }
}
