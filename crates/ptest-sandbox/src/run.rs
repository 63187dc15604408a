//! One command in a sandbox, from the client's side.
//!
//! Output never passes through here: a command gets the caller's descriptors, which may be pipes that
//! [`crate::collect`] takes it out of, or a terminal whose controlling side [`crate::terminal`] relays.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::client::{end, ensure_not_forked};
use crate::error::{Error, FailureSource, Result};
use crate::protocol::{Exit, Leftovers, Reply, Request, Spawn, TerminalSize};
use crate::wire::{self, Inbox, WireError};

/// A command to run. Nothing of it comes from the caller's own environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments. A program without a slash is looked for on the PATH of `environment`.
    pub arguments: Vec<OsString>,
    /// All variables that the command sees.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory inside.
    pub directory: PathBuf,
    /// How long it may run. Afterwards it and everything it started is ended. Zero ends it at once.
    pub timeout: Option<Duration>,
    /// How long after SIGTERM a command whose time is up is killed.
    pub grace: Duration,
    /// What becomes of processes that it leaves behind.
    pub leftovers: Leftovers,
    /// By which [`Client::signal_run`](crate::Client::signal_run) finds it, from whatever process; no other's.
    pub key: Option<u64>,
}

impl Command {
    /// A command with no arguments and no variables, in the root directory, without a timeout.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            arguments: vec![program.into()],
            environment: Vec::new(),
            directory: "/".into(),
            timeout: None,
            grace: Duration::from_secs(2),
            leftovers: Leftovers::default(),
            key: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }
}

/// What a command gets as its standard input, output and error.
#[derive(Clone, Copy, Debug)]
pub enum Stdio<'a> {
    /// These three descriptors, as they are. Directories are refused.
    Descriptors([BorrowedFd<'a>; 3]),
    /// A terminal of its own, opened inside.
    Terminal(TerminalSize),
}

/// A command that was started. Dropping it before it ended kills it and everything it started.
#[derive(Debug)]
pub struct Run {
    socket: OwnedFd,
    reader: Mutex<Reader>,
    writer: Mutex<()>,
    pid: i32,
    terminal: Option<OwnedFd>,
    creator: u32,
    init: Arc<OwnedFd>,
    patience: Duration,
    /// When init is known to be crippled if it has not told the end.
    overdue: Option<Instant>,
}

#[derive(Debug, Default)]
struct Reader {
    inbox: Inbox,
    exit: Option<Exit>,
}

/// What happens to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was stopped from its terminal, by this signal.
    Stopped(i32),
    /// It ended.
    Exited(Exit),
}

impl Run {
    pub(crate) fn start(
        socket: OwnedFd,
        init: Arc<OwnedFd>,
        command: &Command,
        stdio: Stdio<'_>,
        patience: Duration,
    ) -> Result<Self> {
        let (descriptors, terminal) = match stdio {
            Stdio::Descriptors(descriptors) => (descriptors.to_vec(), None),
            Stdio::Terminal(size) => (Vec::new(), Some(size)),
        };
        let spawn = Spawn {
            arguments: command.arguments.clone(),
            environment: command.environment.clone(),
            directory: command.directory.clone(),
            terminal,
            timeout: command.timeout,
            grace: command.grace,
            leftovers: command.leftovers,
            key: command.key,
        };
        let action = "start a command";
        let failed = |error| Error::wire(action, error, patience);
        let deadline = Some(Instant::now() + patience);
        let request = Request::Spawn(Box::new(spawn));
        wire::send(socket.as_fd(), &request, &descriptors, deadline).map_err(failed)?;
        let mut reader = Reader::default();
        let (pid, descriptors) = match wire::receive(socket.as_fd(), &mut reader.inbox, deadline) {
            Ok((Reply::Started { pid }, descriptors)) => (pid, descriptors),
            // It killed its leader before that could tell that it runs.
            Ok((Reply::Exited(exit), _)) => {
                reader.exit = Some(exit);
                (0, Vec::new())
            }
            Ok((Reply::Failed(failure), _)) => return Err(Error::Spawn(FailureSource(failure))),
            Ok(_) => return Err(Error::Malformed),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self {
            socket,
            reader: Mutex::new(reader),
            writer: Mutex::new(()),
            pid,
            terminal: descriptors.into_iter().next(),
            creator: std::process::id(),
            init,
            patience,
            overdue: command.timeout.and_then(|timeout| {
                let latest = timeout.checked_add(command.grace)?.checked_add(patience)?;
                Instant::now().checked_add(latest)
            }),
        })
    }

    /// The command's process id, as the sandbox sees it; 0 if it was over before that was known.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The controlling side of the command's terminal, if it has one.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().map(AsFd::as_fd)
    }

    /// Waits until the command has ended, for ever if it has no timeout and need be.
    ///
    /// An init that lets a command run on when its time has long been up is killed: [`Error::Deadline`].
    pub fn wait(&self) -> Result<Exit> {
        loop {
            if let Some(Event::Exited(exit)) = self.event(None)? {
                return Ok(exit);
            }
        }
    }

    /// Waits until the command has ended or the time has passed; then it is `None`.
    pub fn wait_for(&self, limit: Duration) -> Result<Option<Exit>> {
        let deadline = Instant::now().checked_add(limit);
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            match self.event(left)? {
                Some(Event::Exited(exit)) => return Ok(Some(exit)),
                Some(Event::Stopped(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// Waits for what happens next, for ever without a limit; `None` if nothing did. The end of a
    /// command that has ended happens again and again.
    pub fn event(&self, limit: Option<Duration>) -> Result<Option<Event>> {
        ensure_not_forked(self.creator)?;
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let Reader { inbox, exit } = &mut *reader;
        if let Some(exit) = exit {
            return Ok(Some(Event::Exited(exit.clone())));
        }
        let asked = limit.and_then(|limit| Instant::now().checked_add(limit));
        let deadline = asked.into_iter().chain(self.overdue).min();
        match wire::receive(self.socket.as_fd(), inbox, deadline) {
            Ok((Reply::Exited(ended), _)) => {
                *exit = Some(ended.clone());
                Ok(Some(Event::Exited(ended)))
            }
            Ok((Reply::Stopped { signal }, _)) => Ok(Some(Event::Stopped(signal))),
            Ok((Reply::Failed(failure), _)) => Err(Error::Spawn(FailureSource(failure))),
            Err(WireError::Deadline) if asked.is_some() && deadline == asked => Ok(None),
            other => {
                let error = other.map_or_else(
                    |error| Error::wire("wait for a command", error, self.patience),
                    |_| Error::Malformed,
                );
                if matches!(error, Error::Deadline { .. } | Error::Malformed) {
                    end(&self.init);
                }
                Err(error)
            }
        }
    }

    /// For how long init may still be silent before it counts as crippled.
    pub(crate) fn left(&self) -> Option<Duration> {
        let overdue = self.overdue?;
        Some(overdue.saturating_duration_since(Instant::now()))
    }

    /// Sends a signal to the command. One that has ended does not mind.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.send(signal, false)
    }

    /// Sends a signal to the command's process group.
    pub fn signal_group(&self, signal: i32) -> Result<()> {
        self.send(signal, true)
    }

    fn send(&self, signal: i32, group: bool) -> Result<()> {
        ensure_not_forked(self.creator)?;
        let _whole_frames = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Some(Instant::now() + self.patience);
        let request = Request::Signal { signal, group };
        match wire::send(self.socket.as_fd(), &request, &[], deadline) {
            Ok(()) | Err(WireError::Closed) => Ok(()),
            Err(error) => Err(Error::wire("signal a command", error, self.patience)),
        }
    }
}

/// Readable when [`Run::event`] has something to tell.
impl AsFd for Run {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
