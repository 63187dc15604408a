//! The lock that keeps one upper directory from being mounted twice.
//!
//! The kernel accepts a second mount of one upper with no more than a warning in its log, and
//! both corrupt each other. A lock is handed to init, which holds it for life.
//!
//! A dying process loses its locks before what it ran is dead, and an init takes all of its
//! namespace with it. So the lock's directory also says which process it was handed to, and the
//! lock is not to be had until that one is gone, when the kernel has ended everything below it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, Result};
use crate::identity::start_time;

/// The file that says which process a lock was handed to.
const HOLDER: &str = "init";

/// How long a dying process is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes the lock on a directory without waiting for who holds it.
///
/// The lock lives as long as any copy of the descriptor, in whichever process. Held by another,
/// it is [`Error::Locked`].
pub fn take(directory: &Path) -> Result<OwnedFd> {
    let descriptor = lock(directory)?;
    if is_gone_by(directory, Instant::now() + PATIENCE)? {
        Ok(descriptor)
    } else {
        Err(locked(directory))
    }
}

/// Waits until nobody holds the lock on a directory and what its last holder ran is dead.
pub fn wait(directory: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match take(directory) {
            Err(Error::Locked { .. }) if Instant::now() < deadline => {
                if !is_gone_by(directory, deadline)? {
                    return Err(locked(directory));
                }
                // Held for a moment by a process that is no init, or has not named it yet.
                thread::sleep(Duration::from_millis(1));
            }
            taken => return taken.map(drop),
        }
    }
}

/// Says to which process the lock is handed; `lock` is the lock.
pub(crate) fn hand_to(lock: BorrowedFd<'_>, holder: Pid) -> Result<()> {
    let record = || -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = openat(lock, HOLDER, flags, Mode::RUSR | Mode::WUSR)?;
        let holder = holder.as_raw_nonzero().get().unsigned_abs();
        match start_time(holder) {
            Ok(started) => File::from(file).write_all(format!("{holder} {started}").as_bytes()),
            // It has ended already, and nobody needs to wait for it.
            Err(_ended) => Ok(()),
        }
    };
    record().map_err(|source| Error::Io {
        action: "record the holder of a lock in",
        path: HOLDER.into(),
        source,
    })
}

/// Whether the process that the lock was last handed to is gone, or goes before the deadline.
fn is_gone_by(directory: &Path, deadline: Instant) -> Result<bool> {
    let path = directory.join(HOLDER);
    let failed = |source: io::Error| Error::Io {
        action: "wait for the process named in",
        path: path.clone(),
        source,
    };
    let text = match fs::read_to_string(&path) {
        // It was never handed to anyone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        text => text.map_err(failed)?,
    };
    // Who is just writing it holds the lock.
    let Some((pid, started)) = text
        .split_once(' ')
        .and_then(|(pid, started)| Some((pid.parse::<u32>().ok()?, started.parse().ok()?)))
    else {
        return Ok(true);
    };
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = match number.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        None | Some(Err(Errno::SRCH)) => return Ok(true),
        Some(opened) => opened.map_err(|errno| failed(errno.into()))?,
    };
    // Ended, or another process has its number by now.
    if start_time(pid).ok() != Some(started) {
        return Ok(true);
    }
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).ok();
    match retry_on_intr(|| poll(&mut ended, left.as_ref())) {
        Ok(ready) => Ok(ready > 0),
        Err(errno) => Err(failed(errno.into())),
    }
}

fn locked(directory: &Path) -> Error {
    Error::Locked {
        path: directory.to_owned(),
    }
}

fn lock(directory: &Path) -> Result<OwnedFd> {
    let failed = |source: Errno| Error::Io {
        action: "lock",
        path: directory.to_owned(),
        source: source.into(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = open(directory, flags, Mode::empty()).map_err(failed)?;
    match flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(descriptor),
        Err(Errno::WOULDBLOCK) => Err(locked(directory)),
        Err(source) => Err(failed(source)),
    }
}
