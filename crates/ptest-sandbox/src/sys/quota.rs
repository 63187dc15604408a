//! Project quotas: which project files are of, and what it may hold: ioctl_xfs_fsgetxattr(2) and quotactl(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

use super::check;

/// `FS_XFLAG_PROJINHERIT`: what is made in the directory is of its project.
pub(crate) const INHERIT: u32 = 0x200;
/// `PRJQUOTA`, the kind of quota.
const PROJECT: libc::c_int = 2;

/// `struct fsxattr`: what a file is besides its permissions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) flags: u32,
    extent_size: u32,
    extents: u32,
    /// 0 is of none.
    pub(crate) project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

const GET: Opcode = opcode::read::<Attributes>(b'X', 31);
const SET: Opcode = opcode::write::<Attributes>(b'X', 32);

/// What a file is.
pub(crate) fn attributes(file: impl AsFd) -> io::Result<Attributes> {
    // SAFETY: the kernel writes one such structure for this request, and any bits are a valid value of it.
    let found = unsafe { ioctl(file, Getter::<GET, Attributes>::new()) };
    Ok(found?)
}

/// Makes it that.
pub(crate) fn set_attributes(file: impl AsFd, attributes: Attributes) -> io::Result<()> {
    // SAFETY: the kernel reads one such structure for this request.
    let set = unsafe { ioctl(file, Setter::<SET, Attributes>::new(attributes)) };
    Ok(set?)
}

/// What a project holds on a file system, and may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    /// In bytes; 0 is none.
    pub(crate) limit: u64,
}

/// The unit of limits, in bytes.
const UNIT: u64 = 1024;

/// What a project holds on the file system of a file.
pub(crate) fn quota(file: impl AsFd, project: u32) -> io::Result<Quota> {
    // SAFETY: zeroes are a valid value.
    let mut found: libc::dqblk = unsafe { std::mem::zeroed() };
    match call(file, libc::Q_GETQUOTA, project, &mut found) {
        // XFS knows only of projects that were there once.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Quota::default()),
        Err(error) => Err(error),
        Ok(()) => Ok(Quota {
            bytes: found.dqb_curspace,
            files: found.dqb_curinodes,
            limit: found.dqb_bhardlimit * UNIT,
        }),
    }
}

/// Limits what a project may hold, in bytes; 0 takes the limit away.
pub(crate) fn set_quota(file: impl AsFd, project: u32, limit: u64) -> io::Result<()> {
    // SAFETY: zeroes are a valid value.
    let mut wanted: libc::dqblk = unsafe { std::mem::zeroed() };
    wanted.dqb_bhardlimit = limit.div_ceil(UNIT);
    wanted.dqb_valid = libc::QIF_BLIMITS;
    call(file, libc::Q_SETQUOTA, project, &mut wanted)
}

fn call(
    file: impl AsFd,
    command: libc::c_int,
    project: u32,
    block: &mut libc::dqblk,
) -> io::Result<()> {
    // SAFETY: the kernel reads or writes one such structure, which outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_fd().as_raw_fd(),
            libc::QCMD(command, PROJECT),
            project,
            std::ptr::from_mut(block),
        )
    };
    check(result).map(drop)
}
