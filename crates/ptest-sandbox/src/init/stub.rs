//! The first act: from the launch message to a process 1 in its own namespaces.
//!
//! The stub is the process that the client started. It writes the mappings of the new user
//! namespace, because only a process outside may, and ends. It assembles nothing.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, chdir};
use rustix::stdio;

use crate::init::gauges::Gauges;
use crate::init::identities;
use crate::init::{AtStage as _, events};
use crate::plan::{Isolation, Network};
use crate::protocol::{Failure, Launch, Reply, Request, Stage};
use crate::sys::{self, Clone};
use crate::wire::{self, Inbox};

/// How long the client may take to send the launch message.
const PATIENCE: Duration = Duration::from_secs(30);

/// The descriptors that came with the launch message.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) owner: Option<OwnedFd>,
    pub(super) lock: Option<OwnedFd>,
    pub(super) listener: Option<OwnedFd>,
    pub(super) gauges: Gauges,
    pub(super) ring: Option<OwnedFd>,
    cgroup: Option<OwnedFd>,
}

/// Serves the client on standard input. Returns in the stub; the copy never returns.
pub(super) fn run() -> io::Result<()> {
    // What the client's process has open without CLOEXEC is not ours to hold for life.
    sys::close_range(3, u32::MAX, false)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(stdio::stdin(), 3)?;
    let deadline = Some(Instant::now() + PATIENCE);
    let mut inbox = Inbox::default();
    let (Request::Launch(launch), descriptors) =
        wire::receive::<Request>(socket.as_fd(), &mut inbox, deadline).map_err(io::Error::other)?
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    sys::place_descriptor(null.as_fd(), 0)?;
    chdir("/")?;
    sys::default_signal_actions();

    let passed = sort(&launch, descriptors).ok_or(io::ErrorKind::InvalidData)?;
    match divide(&launch, &passed) {
        Ok(Divided::Stub { pid, pidfd, go }) => {
            let mapped = match launch.plan.isolation {
                Isolation::Namespaces { .. } => identities::map(pid),
                Isolation::None => Ok(()),
            };
            match mapped {
                Ok(()) => {
                    let forked = Reply::Forked {
                        pid: pid.as_raw_nonzero().get(),
                    };
                    tell(socket.as_fd(), &forked, &[pidfd.as_fd()])?;
                    // Only now may init speak, so that its words come after these.
                    rustix::io::write(go, &[0])?;
                    Ok(())
                }
                Err(failure) => tell(socket.as_fd(), &Reply::Failed(failure), &[]),
            }
        }
        Ok(Divided::Init { go }) => {
            drop(null);
            let proceed = rustix::io::read(go, &mut [0; 1]).is_ok_and(|count| count == 1);
            if proceed {
                events::run(socket, *launch, passed);
            }
            sys::exit_now(125);
        }
        Err(failure) => tell(socket.as_fd(), &Reply::Failed(failure), &[]),
    }
}

enum Divided {
    Stub {
        pid: Pid,
        pidfd: OwnedFd,
        go: OwnedFd,
    },
    Init {
        go: OwnedFd,
    },
}

fn divide(launch: &Launch, passed: &Passed) -> Result<Divided, Failure> {
    for file in &launch.confinement.attached {
        fs::write(file, b"0").at(Stage::ControlGroup, file)?;
    }
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC).at(Stage::Fork, "")?;
    let namespaces = match launch.plan.isolation {
        Isolation::None => 0,
        Isolation::Namespaces {
            network,
            control_groups,
        } => {
            let flag = |wanted, flag| if wanted { flag } else { 0 };
            libc::CLONE_NEWUSER
                | libc::CLONE_NEWNS
                | libc::CLONE_NEWPID
                | libc::CLONE_NEWIPC
                | libc::CLONE_NEWUTS
                | flag(network != Network::Host, libc::CLONE_NEWNET)
                | flag(control_groups, libc::CLONE_NEWCGROUP)
        }
    };
    // An init that its owner launched is that one's child. Another must not be: it would stay a zombie
    // for as long as the client lives. It becomes a child of the host's init.
    let parent = if launch.kept { libc::CLONE_PARENT } else { 0 };
    let cgroup = passed.cgroup.as_ref().map(AsFd::as_fd);
    match sys::clone_process((namespaces | parent) as u64, cgroup).at(Stage::Namespaces, "")? {
        Clone::Parent { pid, pidfd } => Ok(Divided::Stub { pid, pidfd, go }),
        Clone::Child => Ok(Divided::Init { go: wait }),
    }
}

fn sort(launch: &Launch, descriptors: Vec<OwnedFd>) -> Option<Passed> {
    let mut descriptors = descriptors.into_iter();
    let mut take = |present: bool| -> Option<Option<OwnedFd>> {
        if present {
            descriptors.next().map(Some)
        } else {
            Some(None)
        }
    };
    Some(Passed {
        owner: take(launch.owned)?,
        lock: take(launch.locked)?,
        listener: take(launch.listens)?,
        cgroup: take(launch.confinement.born)?,
        ring: take(launch.recorded)?,
        gauges: Gauges::new(
            launch
                .gauges
                .iter()
                .map(|gauge| Some((*gauge, take(true)??)))
                .collect::<Option<Vec<_>>>()?,
        ),
    })
}

fn tell(socket: BorrowedFd<'_>, reply: &Reply, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let deadline = Some(Instant::now() + PATIENCE);
    wire::send(socket, reply, descriptors, deadline).map_err(io::Error::other)
}
