//! Starts `ptest-init` and waits until the sandbox is ready.
//!
//! The program is started with an ordinary posix_spawn: no code of ours runs between fork and
//! exec, so this is safe in a process with any number of threads.

use std::ffi::OsString;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, fchmod, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::client::{Client, PATIENCE, socket_address, system};
use crate::enforcement::Enforcement;
use crate::error::{Error, Result};
use crate::identity;
use crate::limits::{Kept, Limits};
use crate::lock;
use crate::plan::{Isolation, MAX_LAYERS, Mount, Network, Plan};
use crate::protocol::{Launch, LeftOut, Reply, Request, Term};
use crate::proxy;
use crate::wire::{self, Inbox, WireError};

/// Makes sandboxes.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
    patience: Duration,
}

/// How long a sandbox lives, and how it is found.
#[derive(Debug, Default)]
pub struct LaunchOptions {
    /// Who it lives for.
    pub owner: Owner,
    /// Names its control group. Letters, digits, `-`, `_` and `.`, at most 64.
    pub id: String,
    /// A lock that init holds for life; see [`crate::lock`].
    pub lock: Option<OwnedFd>,
    /// Where it listens for other clients.
    pub listen: Option<Listen>,
    /// What its commands reach beyond a private network, and how; see [`crate::proxy`].
    pub proxy: Option<proxy::Options>,
    /// Where what its commands use is recorded; see [`crate::ring::begin`].
    pub ring: Option<OwnedFd>,
    /// The most that its commands may use.
    pub limits: Limits,
    /// How long it lives at most.
    pub term: Term,
    /// A limit that nothing here can hold is not an error; see [`Sandbox::limits`].
    pub allow_weaker_limits: bool,
}

/// Who a sandbox lives for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// This process: it dies with it, and with its handle.
    #[default]
    Process,
    /// Another process: it dies with that, and no handle ends it.
    Other {
        /// Its id.
        pid: u32,
        /// When it started: see [`crate::identity::start_time`].
        start_time: u64,
    },
    /// Nobody: it lives until it is stopped.
    Detached,
}

/// A socket to listen on.
#[derive(Debug)]
pub struct Listen {
    /// The directory, open.
    pub directory: OwnedFd,
    /// The socket's name in it. What has that name is replaced.
    pub name: OsString,
}

impl Launcher {
    /// A launcher of the given init program.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            patience: PATIENCE,
        }
    }

    /// Sets how long init may take to answer, also when the sandbox is there: see [`Client::with_patience`].
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The init program.
    pub fn program(&self) -> &std::path::Path {
        &self.program
    }

    /// Makes the sandbox that a plan describes. It is ready for commands when this returns.
    ///
    /// On an error nothing of it is left.
    pub fn launch(&self, plan: &Plan, options: LaunchOptions) -> Result<Sandbox> {
        check_layers(plan)?;
        let proxy = match &options.proxy {
            Some(_) if !has_private_network(plan) => return Err(Error::NotPrivate),
            Some(options) => Some((proxy::Waiting::start(&self.program)?, options)),
            None => None,
        };
        // Before the control group: whoever cleans up looks for one where there is a socket.
        let listener = options.listen.as_ref().map(listening_socket).transpose()?;
        let weaker = options.allow_weaker_limits;
        let enforcement = Enforcement::choose(plan, &options.id, &options.limits, weaker)?;
        let owner = match options.owner {
            Owner::Process => Some(own_pidfd()?),
            Owner::Other { pid, start_time } => Some(pidfd_of(pid, start_time)?),
            Owner::Detached => None,
        };
        let launch = Launch {
            plan: plan.clone(),
            owned: owner.is_some(),
            kept: options.owner == Owner::Process,
            locked: options.lock.is_some(),
            listens: listener.is_some(),
            proxied: proxy.is_some(),
            recorded: options.ring.is_some(),
            confinement: enforcement.confinement(),
            gauges: enforcement.gauges(),
            duties: enforcement.duties().clone(),
            term: options.term,
        };
        let descriptors: Vec<BorrowedFd<'_>> = [&owner, &options.lock, &listener]
            .into_iter()
            .flatten()
            .map(|one| one.as_fd())
            .chain(enforcement.descriptors(options.ring.as_ref()))
            .collect();
        let request = Request::Launch(Box::new(launch));
        let lock = options.lock.as_ref().map(|lock| lock.as_fd());
        let started = self.start(&request, &descriptors, lock);
        let served = started.and_then(|started| {
            let proxy = match (proxy, started.entrance) {
                (Some((waiting, proxy)), Some(entrance)) => {
                    let init = started.client.pidfd();
                    let served = waiting.serve(init, entrance, lock, proxy, options.owner);
                    if served.is_err() {
                        started.client.kill();
                        started.client.wait_for_end(PATIENCE)?;
                    }
                    Some(served?)
                }
                (Some(_), None) => return Err(Error::Malformed),
                (None, _) => None,
            };
            Ok((started.client, started.left_out, started.landlock, proxy))
        });
        let (client, left_out, landlock, proxy) = match served {
            Ok(served) => served,
            Err(error) => {
                enforcement.release();
                return Err(error);
            }
        };
        Ok(Sandbox {
            client,
            proxy,
            owner: options.owner,
            left_out,
            landlock,
            enforcement,
        })
    }

    fn start(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
        lock: Option<BorrowedFd<'_>>,
    ) -> Result<Started> {
        let action = "launch the sandbox";
        let deadline = Some(Instant::now() + self.patience);
        let flags = SocketFlags::CLOEXEC;
        let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|source| system(action, source))?;
        let started = Program::new(&self.program)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let started = started.map_err(|source| Error::Start {
            program: self.program.clone(),
            source,
        })?;
        let stub = Stub(Some(started));

        let mut inbox = Inbox::default();
        wire::send(control.as_fd(), request, descriptors, deadline)
            .map_err(|error| self.unanswered(action, error))?;
        let forked = wire::receive(control.as_fd(), &mut inbox, deadline);
        let (pid, pidfd) = match forked.map_err(|error| self.unanswered(action, error))? {
            (Reply::Forked { pid }, descriptors) => Pid::from_raw(pid)
                .zip(descriptors.into_iter().next())
                .ok_or(Error::Malformed)?,
            (Reply::Failed(failure), _) => return Err(Error::launch(failure)),
            _ => return Err(Error::Malformed),
        };
        stub.reap();
        let recorded = lock.map_or(Ok(()), |lock| lock::hand_to(lock, pid));
        let ready = wire::receive(control.as_fd(), &mut inbox, deadline);
        let client = Client::controlling(control, pid, pidfd).with_patience(self.patience);
        match ready {
            Ok((Reply::Ready { left_out, landlock }, entrance)) if recorded.is_ok() => {
                Ok(Started {
                    client,
                    left_out,
                    landlock,
                    entrance: entrance.into_iter().next(),
                })
            }
            other => {
                client.kill();
                client.wait_for_end(PATIENCE)?;
                recorded?;
                match other {
                    Ok((Reply::Failed(failure), _)) => Err(Error::launch(failure)),
                    Ok(_) => Err(Error::Malformed),
                    Err(error) => Err(self.unanswered(action, error)),
                }
            }
        }
    }

    /// A program that closes the connection without a word is not an init that we can use.
    fn unanswered(&self, action: &'static str, error: WireError) -> Error {
        match error {
            WireError::Closed => Error::Start {
                program: self.program.clone(),
                source: io::Error::other("it ended without an answer"),
            },
            other => Error::wire(action, other, self.patience),
        }
    }
}

/// What init has said of itself.
struct Started {
    client: Client,
    left_out: Vec<LeftOut>,
    landlock: u8,
    /// The socket of its proxy.
    entrance: Option<OwnedFd>,
}

/// A sandbox that this process launched. It has everything that a [`Client`] has.
#[derive(Debug)]
pub struct Sandbox {
    client: Client,
    proxy: Option<proxy::Running>,
    owner: Owner,
    left_out: Vec<LeftOut>,
    landlock: u8,
    enforcement: Enforcement,
}

impl Sandbox {
    /// What the plan allowed to leave out, and could not be made visible.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The version of Landlock that holds; 0 when the plan wants none, or the kernel has none.
    pub fn landlock(&self) -> u8 {
        self.landlock
    }

    /// How strictly each limit that was asked for holds.
    pub fn limits(&self) -> &[Kept] {
        self.enforcement.kept()
    }

    /// Ends the sandbox; see [`Client::stop`]. Its proxy ends and its control group is removed too.
    pub fn stop(&self, grace: Duration) -> Result<()> {
        self.client.stop(grace)?;
        if let Some(proxy) = &self.proxy {
            proxy.end()?;
        }
        self.enforcement.release();
        Ok(())
    }
}

impl Deref for Sandbox {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A sandbox that lives for this process ends here. In a forked child nothing happens.
impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.owner == Owner::Process && self.client.is_ours() {
            // If even killing fails, the kernel ends init with this process.
            let _unended = self.stop(Duration::ZERO);
        }
    }
}

/// The process that was started, until it has made init.
struct Stub(Option<Child>);

impl Stub {
    fn reap(mut self) {
        if let Some(mut child) = self.0.take() {
            // Fails where somebody else in this process reaps children: fine.
            let _reaped = child.wait();
        }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ended = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn has_private_network(plan: &Plan) -> bool {
    matches!(
        plan.isolation,
        Isolation::Namespaces {
            network: Network::Private,
            ..
        }
    )
}

fn check_layers(plan: &Plan) -> Result<()> {
    let layers = plan.mounts.iter().map(|mount| match mount {
        Mount::Overlay(stack) => stack.lowers.len(),
        _ => 0,
    });
    match layers.max() {
        Some(found) if found > MAX_LAYERS => Err(Error::TooManyLayers {
            found,
            limit: MAX_LAYERS,
        }),
        _ => Ok(()),
    }
}

fn own_pidfd() -> Result<OwnedFd> {
    pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
        .map_err(|source| system("open this process", source))
}

/// A process that was seen to start at that time. What is open stays it, whoever gets its number later.
fn pidfd_of(pid: u32, start_time: u64) -> Result<OwnedFd> {
    let gone = || system("open the owner", Errno::SRCH);
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pidfd = pidfd_open(number.ok_or_else(gone)?, PidfdFlags::empty())
        .map_err(|source| system("open the owner", source))?;
    match identity::start_time(pid) {
        Ok(found) if found == start_time => Ok(pidfd),
        _ => Err(gone()),
    }
}

/// Binds a socket that only this user can connect to. Init listens on it.
fn listening_socket(listen: &Listen) -> Result<OwnedFd> {
    let failed = |source: Errno| system("bind the sandbox's socket", source);
    let address = socket_address(&listen.directory, &listen.name)?;
    match unlinkat(&listen.directory, &listen.name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(source) => return Err(failed(source)),
    }
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed)?;
    // The name gets the mode that the socket has when it is bound.
    fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    bind(&socket, &address).map_err(failed)?;
    Ok(socket)
}
