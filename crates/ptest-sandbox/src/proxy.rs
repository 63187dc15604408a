//! A way out of a sandbox that has a network of its own: to the hosts that rules allow, and to no others.
//!
//! The way is a proxy that is outside of the sandbox, for HTTP and SOCKS 5 on one port. Init, in the sandbox's network,
//! makes the socket that it listens on; a process outside (`serve`) accepts there and connects in the host's network.
//! Nothing else joins the two, so that a program which does not ask the proxy reaches nobody. The proxy knows who is asked
//! for, not what is said.
//!
//! This is the client's side: rules, options, and starting it.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod http;
mod refusals;
mod relay;
pub(crate) mod rules;
pub(crate) mod serve;
pub(crate) mod socks;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use serde::{Deserialize, Serialize};

pub use self::refusals::{FILE as REFUSALS, Reason, Refusal};
pub use self::rules::{InvalidRule, Rule, USUAL_PORTS};
use crate::client::{PATIENCE, system};
use crate::error::{Error, Result};
use crate::init::PROXY;
use crate::launch::Owner;
use crate::protocol::Reply;
use crate::wire::{self, Inbox, WireError};

/// The port on the sandbox's `127.0.0.1`. Below 1024, where commands have nothing to do: every other is theirs.
pub const PORT: u16 = 1023;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long a proxy may take to end when init has.
const END_LIMIT: Duration = Duration::from_secs(10);

/// What may be reached, and how.
#[derive(Debug)]
pub struct Options {
    /// What is allowed.
    pub rules: Vec<Rule>,
    /// A directory in whose file [`REFUSALS`] each refusal is recorded.
    pub record: Option<OwnedFd>,
    /// How long a request may take to come.
    pub patience: Duration,
}

impl Options {
    /// Just these rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            record: None,
            patience: Duration::from_secs(30),
        }
    }
}

/// What the proxy is told. Descriptors: init's pidfd, the socket, the lock if `locked`, the directory if `recorded`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    rules: Vec<Rule>,
    patience: Duration,
    /// It does not stay the client's child.
    detached: bool,
    locked: bool,
    recorded: bool,
}

/// The descriptors that came with the order.
struct Passed {
    init: OwnedFd,
    listener: OwnedFd,
    /// Held until this process ends: who waits for the lock waits for the proxy too.
    _lock: Option<OwnedFd>,
    record: Option<OwnedFd>,
}

/// The socket that a proxy accepts on, in the network that this process is in.
pub(crate) fn listener() -> io::Result<OwnedFd> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener.into())
}

/// The program while it waits for its order: it is started beside init, so that it costs no time.
pub(crate) struct Waiting {
    program: Option<Child>,
    socket: OwnedFd,
}

impl Waiting {
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|source| system("start the proxy", source))?;
        let started = Program::new(program)
            .arg(PROXY)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let started = started.map_err(|source| Error::Start {
            program: program.to_owned(),
            source,
        })?;
        Ok(Self {
            program: Some(started),
            socket,
        })
    }

    /// Lets it serve, for as long as init lives.
    pub(crate) fn serve(
        mut self,
        init: BorrowedFd<'_>,
        listener: OwnedFd,
        lock: Option<BorrowedFd<'_>>,
        options: &Options,
        owner: Owner,
    ) -> Result<Running> {
        let order = Order {
            rules: options.rules.clone(),
            patience: options.patience,
            detached: owner != Owner::Process,
            locked: lock.is_some(),
            recorded: options.record.is_some(),
        };
        let record = options.record.as_ref().map(|record| record.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> = [Some(init), Some(listener.as_fd()), lock, record]
            .into_iter()
            .flatten()
            .collect();
        let deadline = Some(Instant::now() + PATIENCE);
        let failed = |error| match error {
            WireError::Closed => system(
                "start the proxy",
                io::Error::other("it ended without an answer"),
            ),
            other => Error::wire("start the proxy", other, PATIENCE),
        };
        wire::send(self.socket.as_fd(), &order, &descriptors, deadline).map_err(failed)?;
        let answer = wire::receive(self.socket.as_fd(), &mut Inbox::default(), deadline);
        match answer.map_err(failed)? {
            (Reply::Forked { .. }, descriptors) => {
                let pidfd = descriptors.into_iter().next().ok_or(Error::Malformed)?;
                if owner == Owner::Process {
                    // It serves itself.
                    self.program = None;
                }
                Ok(Running { pidfd })
            }
            _ => Err(Error::Malformed),
        }
    }
}

/// What does not serve itself has left that to its copy and ends, or is of no use.
impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(mut program) = self.program.take() {
            let _ended = program.kill();
            // Fails where somebody else in this process reaps children: fine.
            let _reaped = program.wait();
        }
    }
}

/// A proxy that serves.
#[derive(Debug)]
pub(crate) struct Running {
    pidfd: OwnedFd,
}

impl Running {
    /// Waits for its end, which follows that of init.
    pub(crate) fn end(&self) -> Result<()> {
        let ended = match wire::wait_for(&self.pidfd, PollFlags::IN, Some(END_LIMIT)) {
            Err(WireError::Deadline) => {
                // It ends now, or has meanwhile.
                let _gone = pidfd_send_signal(&self.pidfd, Signal::KILL);
                wire::wait_for(&self.pidfd, PollFlags::IN, Some(END_LIMIT))
            }
            ended => ended,
        };
        ended.map_err(|error| Error::wire("wait for the end of the proxy", error, END_LIMIT))?;
        // It is a child of the process that launched it, unless it is detached.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _reaped = waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        Ok(())
    }
}
