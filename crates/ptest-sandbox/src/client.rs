//! A way to a living sandbox: running commands, asking for usage, stopping it.
//!
//! Each request has a connection of its own, so that no caller waits for another. Every call ends
//! within a time even if init was crippled; only waiting for a command has no limit unless asked.
//! An init that is found to be crippled is killed, and with it all that it runs: so whoever comes next
//! meets a sandbox that has ended, which can be made anew.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, socketpair,
};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, geteuid, pidfd_open, pidfd_send_signal, waitid,
};

use crate::error::{Error, FailureSource, Result};
use crate::protocol::{Listed, Listing, Reply, Request, Usage};
use crate::run::{Command, Run, Stdio};
use crate::sys;
use crate::wire::{self, Inbox, WireError};

/// How long init may take to answer unless said otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long after its grace, or after SIGKILL, a sandbox may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A way to a living sandbox.
///
/// In a process that was forked from the one that made it, every call is [`Error::Forked`].
#[derive(Debug)]
pub struct Client {
    link: Link,
    pid: Pid,
    pidfd: Arc<OwnedFd>,
    creator: u32,
    patience: Duration,
}

/// How further connections are made.
#[derive(Debug)]
enum Link {
    /// By passing them through the connection that launched the sandbox.
    Control(Mutex<OwnedFd>),
    /// By the name of a socket in a directory.
    Socket { directory: OwnedFd, name: OsString },
}

impl Client {
    /// Finds a sandbox by the socket that it was told to listen on.
    ///
    /// [`Error::Ended`] when nobody listens there any more, [`Error::NotOurs`] when it is not
    /// this user's.
    pub fn connect(directory: OwnedFd, name: &OsStr) -> Result<Self> {
        let socket = dial(&directory, name)?;
        let peer = sys::peer(socket.as_fd())
            .map_err(|source| system("look at the other side of a socket", source))?;
        let expected = geteuid().as_raw();
        if peer.user != expected {
            return Err(Error::NotOurs {
                expected,
                found: peer.user,
            });
        }
        let pid = peer.pid.ok_or(Error::Ended)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Error::Ended)?;
        // As long as the connection stands, the number has not been given to another process.
        let mut state = [PollFd::new(&socket, PollFlags::IN)];
        let closed = poll(&mut state, Some(&wire::timespec(Duration::ZERO))) != Ok(0);
        if closed {
            return Err(Error::Ended);
        }
        let link = Link::Socket {
            directory,
            name: name.to_owned(),
        };
        Ok(Self {
            link,
            pid,
            pidfd: Arc::new(pidfd),
            creator: std::process::id(),
            patience: PATIENCE,
        })
    }

    pub(crate) fn controlling(control: OwnedFd, pid: Pid, pidfd: OwnedFd) -> Self {
        let link = Link::Control(Mutex::new(control));
        Self {
            link,
            pid,
            pidfd: Arc::new(pidfd),
            creator: std::process::id(),
            patience: PATIENCE,
        }
    }

    /// Sets how long init may take to answer before it counts as crippled: 30 seconds unless this is called.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Init's process id on the host.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether init lives.
    pub fn is_alive(&self) -> bool {
        matches!(
            wire::wait_for(&self.pidfd, PollFlags::IN, Some(Duration::ZERO)),
            Err(WireError::Deadline)
        )
    }

    /// Init's process.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether this process is the one that made the handle.
    pub(crate) fn is_ours(&self) -> bool {
        ensure_not_forked(self.creator).is_ok()
    }

    /// Starts a command.
    ///
    /// It runs when this returns. When the program cannot be found or executed the error's
    /// [`Error::exit_code`] says which.
    pub fn spawn(&self, command: &Command, stdio: Stdio<'_>) -> Result<Run> {
        let init = Arc::clone(&self.pidfd);
        self.judge(Run::start(
            self.open()?,
            init,
            command,
            stdio,
            self.patience,
        ))
    }

    /// Sends a signal to the process group of the command that was started with this key, by whatever process. Returns whether
    /// there is one that has not ended.
    pub fn signal_run(&self, key: u64, signal: i32) -> Result<bool> {
        let request = Request::SignalRun { key, signal };
        let answered = self.ask(&self.open()?, "signal a command", &request);
        match self.judge(answered) {
            Ok(Reply::Done) => Ok(true),
            Ok(_) => Err(Error::Malformed),
            Err(Error::System { source, .. }) if source.raw_os_error() == Some(libc::ESRCH) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// What the sandbox uses now.
    pub fn usage(&self) -> Result<Usage> {
        self.judge(self.ask_usage())
    }

    fn ask_usage(&self) -> Result<Usage> {
        match self.ask(&self.open()?, "ask for usage", &Request::Usage)? {
            Reply::Usage(usage) => Ok(usage),
            _ => Err(Error::Malformed),
        }
    }

    /// The processes of commands, as far as they can be listed.
    pub fn processes(&self) -> Result<Listing> {
        self.judge(
            self.open()
                .and_then(|socket| self.ask(&socket, "list processes", &Request::Processes))
                .and_then(|reply| match reply {
                    Reply::Processes(listing) => Ok(listing),
                    _ => Err(Error::Malformed),
                }),
        )
    }

    /// Sends a signal to a process that was listed; `false` if it has ended.
    pub fn signal(&self, process: &Listed, signal: i32) -> Result<bool> {
        let request = Request::SignalProcess {
            pid: process.pid,
            started: process.started,
            signal,
        };
        let socket = self.open()?;
        match self.judge(self.ask(&socket, "signal a process", &request)) {
            Ok(_) => Ok(true),
            Err(Error::System { source, .. })
                if source.raw_os_error() == Some(Errno::SRCH.raw_os_error()) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Stops every process for as long as the result lives. When this returns none runs.
    ///
    /// Processes that were stopped before stay so afterwards; commands that are started meanwhile
    /// begin when it ends. It ends with this process too, however that ends.
    ///
    /// # Errors
    ///
    /// When something does not stop within two seconds: then all goes on.
    pub fn freeze(&self) -> Result<Frozen> {
        let socket = self.open()?;
        self.judge(self.ask(&socket, "freeze the sandbox", &Request::Freeze))?;
        Ok(Frozen { _socket: socket })
    }

    /// Ends the sandbox: SIGTERM to every process, SIGKILL to those that are left after the grace.
    ///
    /// When this returns no process and no mount of it is left. One that has ended already is fine.
    pub fn stop(&self, grace: Duration) -> Result<()> {
        ensure_not_forked(self.creator)?;
        let deadline = Some(Instant::now() + self.patience);
        let asked = self.open().and_then(|socket| {
            let sent = wire::send(socket.as_fd(), &Request::Stop { grace }, &[], deadline);
            sent.map(|()| socket)
                .map_err(|error| Error::wire("stop the sandbox", error, self.patience))
        });
        // The connection stays open until the end, or init could miss what was said.
        let (_socket, patience) = match asked {
            Ok(socket) => (Some(socket), grace.saturating_add(Duration::from_secs(1))),
            Err(_) => (None, Duration::ZERO),
        };
        if !self.wait_for_end(patience)? {
            self.kill();
            if !self.wait_for_end(END_LIMIT)? {
                return Err(Error::Deadline {
                    action: "kill the sandbox",
                    limit: END_LIMIT,
                });
            }
        }
        Ok(())
    }

    /// Waits until init has ended or the time has passed. Returns whether it has.
    pub fn wait_for_end(&self, limit: Duration) -> Result<bool> {
        ensure_not_forked(self.creator)?;
        match wire::wait_for(&self.pidfd, PollFlags::IN, Some(limit)) {
            Ok(()) => {
                // Init is a child of the process that launched it, and of nobody else that has a handle.
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                let _reaped = waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
                Ok(true)
            }
            Err(WireError::Deadline) => Ok(false),
            Err(error) => Err(Error::wire("wait for the end of the sandbox", error, limit)),
        }
    }

    /// Kills init, and with it everything, without asking.
    pub(crate) fn kill(&self) {
        // It has ended already, or ends now.
        let _gone = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Kills an init of which nothing can be expected any more.
    ///
    /// One that is silent on one matter may have been told to let it wait, and is asked another.
    fn judge<T>(&self, result: Result<T>) -> Result<T> {
        let is_crippled = match &result {
            Err(Error::Malformed) => true,
            Err(Error::Deadline { .. }) => {
                matches!(
                    self.ask_usage(),
                    Err(Error::Deadline { .. } | Error::Malformed)
                )
            }
            _ => false,
        };
        if is_crippled {
            end(&self.pidfd);
        }
        result
    }

    /// Says something to init and takes its answer.
    fn ask(&self, socket: &OwnedFd, action: &'static str, request: &Request) -> Result<Reply> {
        let deadline = Some(Instant::now() + self.patience);
        let failed = |error| Error::wire(action, error, self.patience);
        wire::send(socket.as_fd(), request, &[], deadline).map_err(failed)?;
        match wire::receive(socket.as_fd(), &mut Inbox::default(), deadline) {
            Ok((Reply::Failed(failure), _)) => {
                Err(system(action, Errno::from_raw_os_error(failure.errno)))
            }
            Ok((reply, _)) => Ok(reply),
            Err(error) => Err(failed(error)),
        }
    }

    /// A new connection to init.
    fn open(&self) -> Result<OwnedFd> {
        ensure_not_forked(self.creator)?;
        match &self.link {
            Link::Socket { directory, name } => dial(directory, name),
            Link::Control(control) => {
                let action = "open a connection to init";
                let flags = SocketFlags::CLOEXEC;
                let (ours, theirs) =
                    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                        .map_err(|source| system(action, source))?;
                let control = control.lock().unwrap_or_else(PoisonError::into_inner);
                let deadline = Some(Instant::now() + self.patience);
                wire::send(
                    control.as_fd(),
                    &Request::Adopt,
                    &[theirs.as_fd()],
                    deadline,
                )
                .map_err(|error| Error::wire(action, error, self.patience))?;
                Ok(ours)
            }
        }
    }
}

/// A sandbox whose processes are stopped; they go on when this is dropped.
#[derive(Debug)]
pub struct Frozen {
    /// Init looks at its other end.
    _socket: OwnedFd,
}

impl Error {
    pub(crate) fn wire(action: &'static str, error: WireError, limit: Duration) -> Self {
        match error {
            WireError::Closed => Self::Ended,
            WireError::Deadline => Self::Deadline { action, limit },
            WireError::Version(found) => Self::Version {
                expected: crate::protocol::VERSION,
                found,
            },
            WireError::Malformed => Self::Malformed,
            WireError::Io(source) => Self::System { action, source },
        }
    }

    pub(crate) fn launch(failure: crate::protocol::Failure) -> Self {
        Self::Launch(FailureSource(failure))
    }
}

/// Kills a crippled init and waits until it is gone, so that nobody meets it any more.
pub(crate) fn end(pidfd: &OwnedFd) {
    // It has ended already, or ends now.
    let _gone = pidfd_send_signal(pidfd, Signal::KILL);
    let _late = wire::wait_for(pidfd, PollFlags::IN, Some(END_LIMIT));
}

/// Handles are of no use in a forked child: their connections are the parent's.
pub(crate) fn ensure_not_forked(creator: u32) -> Result<()> {
    if std::process::id() == creator {
        Ok(())
    } else {
        Err(Error::Forked { owner: creator })
    }
}

/// The path of a name in an open directory, short enough for a socket address.
pub(crate) fn socket_address(directory: &OwnedFd, name: &OsStr) -> Result<SocketAddrUnix> {
    let invalid = || Error::Invalid {
        what: "socket name",
        value: name.to_owned(),
    };
    if name.is_empty() || name.as_encoded_bytes().contains(&b'/') {
        return Err(invalid());
    }
    let mut path = OsString::from(format!("/proc/self/fd/{}/", directory.as_raw_fd()));
    path.push(name);
    SocketAddrUnix::new(path.as_os_str()).map_err(|_| invalid())
}

pub(crate) fn system(action: &'static str, source: impl Into<io::Error>) -> Error {
    Error::System {
        action,
        source: source.into(),
    }
}

fn dial(directory: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    let address = socket_address(directory, name)?;
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|source| system("create a socket", source))?;
    match connect(&socket, &address) {
        Ok(()) => Ok(socket),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Err(Error::Ended),
        Err(source) => Err(system("connect to init", source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_works_only_in_the_process_that_made_it() {
        let own = std::process::id();
        assert!(ensure_not_forked(own).is_ok());
        let parent = own + 1;
        assert!(
            matches!(ensure_not_forked(parent), Err(Error::Forked { owner }) if owner == parent)
        );
    }

    #[test]
    fn a_socket_name_that_is_a_path_or_too_long_is_refused() {
        let directory: OwnedFd = std::fs::File::open("/").unwrap().into();
        for name in ["", "a/b", &"x".repeat(108)] {
            let address = socket_address(&directory, OsStr::new(name));
            assert!(matches!(address, Err(Error::Invalid { .. })), "{name}");
        }
    }
}
