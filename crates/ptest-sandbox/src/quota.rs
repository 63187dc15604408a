//! Project quotas of ext4 and XFS: the kernel's limit of what some directories hold together.
//!
//! A file system counts what is of each project, which is a number. A directory hands its own on to what is made in it, so
//! that one which was empty needs nothing more. Only root sets numbers and limits, and the kernel holds everybody to them
//! who has no capabilities outside of namespaces: whatever runs in a sandbox. Not for what is to be limited, nor for who
//! looks where there are no quotas: that is `enforcement`'s and `init::watch`'s.
//!
//! Whose a number is, a file says that has it, and nothing but it: a copy of the file is of no project, the number is
//! counted as used as long as the file is there, and two who choose one number at a time see that.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, fstatvfs, openat};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::limits::Disk;
use crate::sys::{self, INHERIT, Quota};

/// How often a number is chosen. Of a thousand million few are taken.
const TRIES: u32 = 8;
/// The first number: people and other programs count upwards from small ones.
const FIRST: u32 = 1 << 30;

/// Lets the kernel hold a limit, if it can here; else nothing of it is left. The directories are used by nobody meanwhile.
///
/// # Errors
///
/// Where there are no quotas or this process may set none; for directories in which something is that has no part in the
/// project; where the directories are of somebody else's project already.
pub(crate) fn hold(disk: &Disk, file: &Path) -> io::Result<()> {
    let parent = File::open(file.parent().unwrap_or(file))?;
    let around = sys::attributes(&parent)?;
    if around.project != 0 || around.flags & INHERIT != 0 {
        // What is of another project could not be moved out of it.
        return Err(refused("it is in a project"));
    }
    // Before anything is made.
    sys::quota(&parent, FIRST)?;
    let own = match project_of(file)? {
        Some((_, project)) => project,
        None => 0,
    };
    let mut joining = Vec::new();
    for directory in &disk.directories {
        joining.extend(outsiders(directory, own)?);
    }
    let (opened, project) = claim(file)?;
    let held = sys::set_quota(&opened, project, disk.bytes)
        .and_then(|()| joining.iter().try_for_each(|one| join(one, project)))
        .and_then(|()| check(disk));
    if held.is_err() {
        // Why it is not held is what the caller must know.
        let _ = sys::set_quota(&opened, project, 0);
    }
    held
}

/// Takes away the limit of the project that a file stands for, if there is one. What is of the project stays so.
pub fn lift(file: &Path) -> io::Result<()> {
    match project_of(file)? {
        Some((opened, project)) => sys::set_quota(opened, project, 0),
        None => Ok(()),
    }
}

/// Takes a tree, which nobody else uses, out of its project: what it holds counts no more. What cannot be opened, and links,
/// which take next to nothing, go on counting until they are gone.
pub fn let_go(tree: &Path) {
    let mut pending = vec![tree.to_owned()];
    while let Some(path) = pending.pop() {
        // As said.
        let _ = leave(&path);
        let Ok(entries) = fs::read_dir(&path) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(entry.path()),
                Ok(kind) if kind.is_file() => drop(leave(&entry.path())),
                _ => {}
            }
        }
    }
}

fn leave(path: &Path) -> io::Result<()> {
    let file = open(path)?;
    let mut attributes = sys::attributes(&file)?;
    if attributes.project == 0 {
        return Ok(());
    }
    attributes.project = 0;
    attributes.flags &= !INHERIT;
    sys::set_attributes(&file, attributes)
}

/// The file of a project, open, and its number; `None` if there is none.
fn project_of(file: &Path) -> io::Result<Option<(File, u32)>> {
    let opened = match open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let project = sys::attributes(&opened)?.project;
    Ok((project != 0).then_some((opened, project)))
}

/// The same, with a number that nothing else has if it had none.
fn claim(file: &Path) -> io::Result<(File, u32)> {
    if let Some(claimed) = project_of(file)? {
        return Ok(claimed);
    }
    let mut options = OpenOptions::new();
    let opened = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)?;
    for _ in 0..TRIES {
        let project = any_number()?;
        if sys::quota(&opened, project)? != Quota::default() {
            continue;
        }
        let mut attributes = sys::attributes(&opened)?;
        attributes.project = project;
        sys::set_attributes(&opened, attributes)?;
        if sys::quota(&opened, project)?.files == 1 {
            return Ok((opened, project));
        }
    }
    leave(file)?;
    Err(refused("no number is free"))
}

fn any_number() -> io::Result<u32> {
    let mut bytes = [0; 4];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(FIRST | u32::from_ne_bytes(bytes) & (FIRST - 1))
}

/// What is to join a project for a directory to be in it: nothing if it is, else itself and the files in it. Links cannot
/// join, and could then not be renamed in it; nor is a tree to be walked.
fn outsiders(directory: &Path, own: u32) -> io::Result<Vec<OwnedFd>> {
    let opened = open(directory)?;
    let project = sys::attributes(&opened)?.project;
    if project != 0 && project == own {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() != FileType::RegularFile {
            return Err(refused("it was used without a project"));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        all.push(openat(&opened, name, flags, Mode::empty())?);
    }
    all.push(opened.into());
    Ok(all)
}

fn join(file: impl AsFd, project: u32) -> io::Result<()> {
    let file = file.as_fd();
    let mut attributes = sys::attributes(file)?;
    attributes.project = project;
    if FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode).is_dir() {
        attributes.flags |= INHERIT;
    }
    sys::set_attributes(file, attributes)
}

/// Whether the kernel holds the limit: it then says that the directories have as much room. A file system can count and
/// hold nobody to it, and one that is smaller has its own limit.
fn check(disk: &Disk) -> io::Result<()> {
    for directory in &disk.directories {
        let room = fstatvfs(open(directory)?)?;
        if (room.f_blocks * room.f_frsize).abs_diff(disk.bytes) > room.f_frsize {
            return Err(refused("it is not held"));
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    OpenOptions::new()
        .read(true)
        .custom_flags(flags as i32)
        .open(path)
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, why)
}
