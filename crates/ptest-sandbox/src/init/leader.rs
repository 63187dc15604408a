//! The leader of one command: its session's leader, its parent, and the parent of its orphans.
//!
//! A copy of init made for each command. It starts the command, tells init how that goes, and then
//! stays until init lets it go, so that whatever the command leaves behind can be found below it.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, ioctl_tiocsctty, set_child_subreaper, setsid};
use serde::{Deserialize, Serialize};

use crate::init::AtStage as _;
use crate::init::execute::{self, Context};
use crate::protocol::{Failure, Spawn, Stage, Status};
use crate::sys::{self, Fork, WaitEvent, Waited};

/// Largest message of a leader: a failure with a path in it.
pub(super) const MAX_MESSAGE: usize = 8 << 10;

/// What a leader tells init, one message each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// The command runs.
    Started { pid: i32 },
    /// The command does not run.
    Failed(Failure),
    /// The command was stopped from its terminal.
    Stopped { signal: i32 },
    /// The command ended.
    Ended(Ending),
}

/// How a command ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) status: Status,
    pub(super) user_time: Duration,
    pub(super) system_time: Duration,
    pub(super) peak_memory_bytes: u64,
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
    /// Whether the command left processes behind.
    pub(super) leftovers: bool,
}

/// Leads the command to its end. `init` is a socket that keeps messages apart.
pub(super) fn run(init: OwnedFd, spawn: &Spawn, context: Context<'_>) -> ! {
    let told = match start(&init, spawn, context) {
        Ok(pid) => {
            tell(&init, &Told::Started { pid });
            follow(&init, pid)
        }
        Err(failure) => Told::Failed(failure),
    };
    tell(&init, &told);
    // Init closes its side when nothing holds us any more.
    while read(&init, &mut [0; 1]) == Err(Errno::INTR) {}
    sys::exit_now(0)
}

fn start(init: &OwnedFd, spawn: &Spawn, context: Context<'_>) -> Result<i32, Failure> {
    let mut kept: Vec<RawFd> = context.descriptors.iter().map(OwnedFd::as_raw_fd).collect();
    kept.extend([0, 1, 2, init.as_raw_fd()]);
    close_others(kept).at(Stage::Descriptors, "")?;
    setsid().at(Stage::Fork, "")?;
    set_child_subreaper(Some(rustix::process::getpid())).at(Stage::Fork, "")?;
    // Inside a pid namespace the kernel does this and more.
    die_with_parent().at(Stage::Fork, "")?;
    if context.terminal {
        ioctl_tiocsctty(&context.descriptors[0]).at(Stage::Terminal, "")?;
    }
    let (outcome, report) = pipe_with(PipeFlags::CLOEXEC).at(Stage::Fork, "")?;
    match sys::fork().at(Stage::Fork, "")? {
        Fork::Child => {
            // The report is closed on execution: its silent end means success.
            let failure = match die_with_parent().at(Stage::Fork, "") {
                Ok(()) => execute::become_command(spawn, &context),
                Err(failure) => failure,
            };
            if let Ok(bytes) = postcard::to_stdvec(&failure) {
                let _lost = write(&report, &bytes[..bytes.len().min(MAX_MESSAGE)]);
            }
            sys::exit_now(127)
        }
        Fork::Parent(pid) => {
            drop(report);
            drop(context);
            let mut bytes = [0; MAX_MESSAGE];
            let count = loop {
                match read(&outcome, &mut bytes) {
                    Err(Errno::INTR) => {}
                    other => break other.unwrap_or(0),
                }
            };
            match postcard::from_bytes(&bytes[..count]) {
                Ok(failure) if count > 0 => Err(failure),
                _ => Ok(pid.as_raw_nonzero().get()),
            }
        }
    }
}

/// Waits for the command, reaping its orphans meanwhile.
fn follow(init: &OwnedFd, command: i32) -> Told {
    loop {
        match sys::wait_any(true, true) {
            Ok(Some(waited)) if waited.pid == command => match waited.event {
                WaitEvent::Exited(code) => return ended(waited, Status::Code(code)),
                WaitEvent::Signaled { signal, core } => {
                    return ended(waited, Status::Signal { signal, core });
                }
                WaitEvent::Stopped(signal) => tell(init, &Told::Stopped { signal }),
                WaitEvent::Other => {}
            },
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The command is our child: this cannot be, unless the kernel forgot it.
            Err(error) => {
                return Told::Failed(Failure {
                    stage: Stage::Fork,
                    subject: "".into(),
                    errno: error.raw_os_error().unwrap_or(libc::ECHILD),
                });
            }
        }
    }
}

fn ended(waited: Waited, status: Status) -> Told {
    // Reap what is dead already; what then is left of our children are leftovers.
    let leftovers = loop {
        match sys::wait_any(false, false) {
            Ok(Some(_)) => {}
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    Told::Ended(Ending {
        status,
        user_time: waited.user_time,
        system_time: waited.system_time,
        peak_memory_bytes: waited.peak_memory_bytes,
        read_bytes: waited.read_bytes,
        written_bytes: waited.written_bytes,
        leftovers,
    })
}

fn tell(init: &OwnedFd, told: &Told) {
    if let Ok(bytes) = postcard::to_stdvec(told) {
        // Init is gone: so are we, in a moment.
        let _gone = write(init.as_fd(), &bytes);
    }
}

fn die_with_parent() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

fn close_others(mut kept: Vec<RawFd>) -> io::Result<()> {
    kept.sort_unstable();
    kept.dedup();
    let mut first = 0;
    for descriptor in kept {
        let descriptor = descriptor as u32;
        if descriptor > first {
            sys::close_range(first, descriptor - 1, false)?;
        }
        first = descriptor + 1;
    }
    sys::close_range(first, u32::MAX, false)
}
