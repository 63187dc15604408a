//! Locks on parts of a file, held by the open file: `F_OFD_SETLK` and `F_OFD_GETLK` of fcntl(2).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use super::check;

/// A part of a file. A length of 0 is to the end of all files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// Locks a part for this open file alone, unless another has some of it. Says whether it is locked.
pub(crate) fn lock_region(file: &File, region: Region) -> io::Result<bool> {
    match call(file, libc::F_OFD_SETLK, libc::F_WRLCK, region) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives a part up.
pub(crate) fn unlock_region(file: &File, region: Region) -> io::Result<()> {
    call(file, libc::F_OFD_SETLK, libc::F_UNLCK, region).map(drop)
}

/// A lock that another open file has on some of this part.
pub(crate) fn locked_by_others(file: &File, region: Region) -> io::Result<Option<Region>> {
    let found = call(file, libc::F_OFD_GETLK, libc::F_WRLCK, region)?;
    Ok(
        (i32::from(found.l_type) != libc::F_UNLCK).then_some(Region {
            start: found.l_start as u64,
            length: found.l_len as u64,
        }),
    )
}

fn call(file: &File, command: i32, kind: i32, region: Region) -> io::Result<libc::flock> {
    let out_of_range = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: region.start.try_into().map_err(out_of_range)?,
        l_len: region.length.try_into().map_err(out_of_range)?,
        // What open file description locks ask for.
        l_pid: 0,
    };
    // SAFETY: the descriptor is open for as long as the file is borrowed, and the lock is valid for reading and writing.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) };
    check(result.into())?;
    Ok(lock)
}
