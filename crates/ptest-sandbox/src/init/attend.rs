//! Attends one command that is not in a sandbox, so that nothing of it outlives who asked for it.
//!
//! `ptest-init attend PARENT -- COMMAND…` runs the command with the descriptors, variables and
//! working directory that it was started with, and ends as the command does. When the command has
//! ended, when the process PARENT is gone, or on SIGTERM, everything that came from the command is
//! killed, also what left its group and session. Not for isolation: the command sees all of the
//! host.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, set_child_subreaper,
    set_dumpable_behavior, set_parent_process_death_signal,
};

use crate::init::processes;
use crate::sys::{self, Fork, WaitEvent};

/// A program that cannot be executed, and one that is not there: as a shell says it.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Runs the command to its end and ends in the same way. Returns only why it was not run.
pub(super) fn run(parent: &OsStr, command: &[OsString]) -> io::Result<Infallible> {
    // What the parent has open without CLOEXEC is not for the command.
    sys::close_range(3, u32::MAX, false)?;
    let parent = watch(parent)?;
    set_child_subreaper(Some(getpid()))?;
    let signals = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
    let signals = sys::signals_as_descriptor(&signals)?;
    sys::default_signal_actions();
    match sys::fork()? {
        Fork::Child => become_command(command),
        Fork::Parent(pid) => {
            let end = follow(pid, &parent, &signals);
            // Without children there is nothing to look for.
            if sys::wait_any(false, false).is_ok() {
                processes::kill_descendants(getpid());
            }
            end_as(end?)
        }
    }
}

/// A descriptor that is ready when the parent has ended.
fn watch(parent: &OsStr) -> io::Result<OwnedFd> {
    let parent = parent.to_str().and_then(|text| text.parse::<i32>().ok());
    let parent = parent
        .filter(|parent| *parent > 0)
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let watched = pidfd_open(parent, PidfdFlags::empty())?;
    // In this order: as long as it is our parent its id is not given to another process.
    if getppid() == Some(parent) {
        Ok(watched)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Waits until the command has ended, reaping its orphans meanwhile. `None` if it is to be ended.
fn follow(command: Pid, parent: &OwnedFd, signals: &OwnedFd) -> io::Result<Option<WaitEvent>> {
    loop {
        let mut watched = [
            PollFd::new(parent, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !watched[0].revents().is_empty() {
            return Ok(None);
        }
        if sys::arrived_signals(signals)
            .into_iter()
            .any(|signal| signal != libc::SIGCHLD)
        {
            return Ok(None);
        }
        while let Some(waited) = sys::wait_any(false, false)? {
            let ended = matches!(
                waited.event,
                WaitEvent::Exited(_) | WaitEvent::Signaled { .. }
            );
            if ended && waited.pid == command.as_raw_nonzero().get() {
                return Ok(Some(waited.event));
            }
        }
    }
}

fn become_command(command: &[OsString]) -> ! {
    let Some((program, arguments)) = command.split_first() else {
        sys::exit_now(NOT_FOUND)
    };
    sys::unblock_signals();
    // Should the attendant be killed, at least the command itself goes with it.
    let error = match set_parent_process_death_signal(Some(Signal::KILL)) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error.into(),
    };
    // The command's words, in its place.
    let _unheard = writeln!(io::stderr(), "{}: {error}", program.display());
    sys::exit_now(match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    })
}

fn end_as(end: Option<WaitEvent>) -> ! {
    match end {
        Some(WaitEvent::Exited(code)) => sys::exit_now(code),
        Some(WaitEvent::Signaled { signal, .. }) => {
            // The command has dumped its memory, if anybody wants it; this one's is of no use.
            let _unlikely = set_dumpable_behavior(DumpableBehavior::NotDumpable);
            sys::unblock_signals();
            let _unlikely = sys::kill(getpid().as_raw_nonzero().get(), signal);
            sys::exit_now(128 + signal)
        }
        _ => sys::exit_now(128 + libc::SIGTERM),
    }
}
