//! What can go wrong, as a client sees it.
//!
//! Texts never repeat their source's text; hints for people are in [`Error::hint`].

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::limits::Limit;
use crate::protocol::{Failure, Stage};

/// The result of everything that a client does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a client's request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The init program could not be started.
    #[error("failed to start {}", program.display())]
    Start {
        /// The init program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The sandbox could not be made.
    #[error("{}", describe(.0))]
    Launch(#[source] FailureSource),
    /// A command could not be started.
    #[error("{}", describe(.0))]
    Spawn(#[source] FailureSource),
    /// A file operation failed.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Talking to init failed.
    #[error("failed to {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Init did not answer in time.
    #[error("failed to {action}: no answer within {limit:?}")]
    Deadline {
        /// What was waited for.
        action: &'static str,
        /// For how long.
        limit: Duration,
    },
    /// Init has ended, and with it every process of the sandbox.
    #[error("the sandbox has ended")]
    Ended,
    /// The directory is in use by another sandbox.
    #[error("{} is in use", path.display())]
    Locked {
        /// The locked directory.
        path: PathBuf,
    },
    /// A stack has more layers than the kernel can mount.
    #[error("a stack of {found} layers is more than the kernel's {limit}")]
    TooManyLayers {
        /// How many layers it has.
        found: usize,
        /// How many are possible.
        limit: usize,
    },
    /// A value cannot be used.
    #[error("{what} {value:?} is not valid")]
    Invalid {
        /// What the value is for.
        what: &'static str,
        /// The value.
        value: OsString,
    },
    /// Init is of another release.
    #[error("init speaks version {found} of the protocol, this program version {expected}")]
    Version {
        /// Our version.
        expected: u16,
        /// Its version.
        found: u16,
    },
    /// What came is not a message.
    #[error("malformed message from init")]
    Malformed,
    /// The socket belongs to somebody else.
    #[error("the sandbox belongs to user {found}, not to user {expected}")]
    NotOurs {
        /// Us.
        expected: u32,
        /// Its owner.
        found: u32,
    },
    /// The handle was made before this process was forked.
    #[error("the handle belongs to process {owner}, which this process was forked from")]
    Forked {
        /// The process that made the handle.
        owner: u32,
    },
    /// Hosts were allowed to a sandbox whose network is not its own.
    #[error("hosts can be allowed only to a sandbox with a private network")]
    NotPrivate,
    /// Writes in a directory cannot be discarded: the kernel shows it only together with what is mounted below it.
    #[error("writes in {} cannot be discarded: {} is mounted below it", place.display(), mount.display())]
    Covered {
        /// The directory.
        place: PathBuf,
        /// What is mounted below.
        mount: PathBuf,
    },
    /// A limit was asked that nothing can hold here.
    #[error("failed to limit {limit}")]
    Limit {
        /// What was to be limited.
        limit: Limit,
        /// Why it cannot be.
        source: io::Error,
    },
}

impl Error {
    /// The exit code by which shells tell why a command did not start: 127 not found, 126 found
    /// but not executable; `None` when the command was not what failed.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Spawn(FailureSource(failure)) => match failure.stage {
                Stage::Search => Some(127),
                Stage::Execute | Stage::Interpreter => Some(126),
                _ => None,
            },
            _ => None,
        }
    }

    /// What was being done to what, when init said why it failed.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Launch(FailureSource(failure)) | Self::Spawn(FailureSource(failure)) => {
                Some(failure)
            }
            _ => None,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        let errno = self.failure().map(|failure| (failure.stage, failure.errno));
        match (self, errno) {
            (_, Some((Stage::Namespaces | Stage::IdentityMap, _))) => Some(
                "this machine does not let this user create user namespaces: see `ptest doctor`",
            ),
            (Self::Spawn(_), Some((Stage::Fork, libc::EAGAIN))) => Some(
                "what earlier commands left running uses up the limit of processes: `ptest deactivate` ends it",
            ),
            (_, Some((Stage::Interpreter, _))) => {
                Some("the script's first line names a program that does not exist")
            }
            (_, Some((Stage::Directory, libc::ENOENT | libc::ENOTDIR))) => Some(
                "inside, directories such as /tmp are private: go where the project is, or name \
                 the directory with --read or --write when the environment is made",
            ),
            (Self::Launch(_), Some((Stage::Source, _))) => Some(
                "it was there when the sandbox was planned: try again; if it stays like this, see `ptest doctor`",
            ),
            (Self::Covered { .. }, _) => {
                Some("keep writes, or begin in a directory that has nothing mounted below it")
            }
            (Self::Limit { .. }, _) => Some(
                "a control group is needed that this user may change: with systemd, `systemd-run --user --scope \
                 -p Delegate=yes COMMAND` starts a command where it may",
            ),
            (Self::Version { .. }, _) => {
                Some("it was started by another release: deactivate and activate it")
            }
            _ => None,
        }
    }
}

/// A [`Failure`] as the source of an error: it displays why.
#[derive(Clone, Debug)]
pub struct FailureSource(pub Failure);

impl std::fmt::Display for FailureSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        io::Error::from_raw_os_error(self.0.errno).fmt(formatter)
    }
}

impl std::error::Error for FailureSource {}

fn describe(FailureSource(failure): &FailureSource) -> String {
    let action = match failure.stage {
        Stage::Request => "understand the request",
        Stage::Namespaces => "create namespaces",
        Stage::IdentityMap => "map users and groups into the sandbox",
        Stage::ControlGroup => "join the control group",
        Stage::Network => "switch on the network",
        Stage::Hostname => "set the host name",
        Stage::Source => "open",
        Stage::Mount => "mount",
        Stage::Overlay => "mount the stack at",
        Stage::Root => "change to the new root",
        Stage::Fork => "create a process",
        Stage::Descriptors => "use the given descriptors",
        Stage::Terminal => "open a terminal",
        Stage::Directory => "enter the working directory",
        Stage::Limits => "set limits",
        Stage::Privileges => "give up privileges",
        Stage::Search => "find the program",
        Stage::Execute => "execute",
        Stage::Interpreter => "execute the interpreter of",
    };
    if failure.subject.is_empty() {
        format!("failed to {action}")
    } else {
        format!("failed to {action} {}", failure.subject.display())
    }
}
