//! A command in an environment: what is asked for and what came of it.

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::settings::Struck;
use crate::variables::Variables;

/// A command to run.
#[derive(Debug)]
pub struct Command {
    /// The program and its arguments; the program is looked for on the `PATH` inside.
    pub arguments: Vec<OsString>,
    /// Where it starts; the project root when there is none.
    pub working_directory: Option<PathBuf>,
    /// The caller's variables, of which only the harmless pass.
    pub caller: Variables,
    /// Variables set for this command, over those of the environment.
    pub variables: Variables,
    /// Where its streams lead.
    pub stdio: Stdio,
    /// Ended after this time, when there is one.
    pub timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL when it is ended.
    pub grace: Duration,
}

/// Where a command's streams lead.
#[derive(Debug)]
pub enum Stdio {
    /// To these descriptors, as they are.
    Descriptors {
        /// Descriptor 0.
        stdin: OwnedFd,
        /// Descriptor 1.
        stdout: OwnedFd,
        /// Descriptor 2.
        stderr: OwnedFd,
    },
    /// To a terminal opened inside, which [`Process::relay`] connects.
    Terminal(TerminalSize),
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It returned this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl ExitStatus {
    /// The code that a shell would give: 128+N for signal N.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether the time limit ended it.
    pub timed_out: bool,
    /// The limit that struck while it ran, if one did.
    pub struck: Option<Struck>,
    /// How many processes it left behind, which live on.
    pub leaked: u32,
    /// What it used.
    pub usage: RunUsage,
}

/// What a command used, with what it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunUsage {
    /// How long it ran.
    pub elapsed: Duration,
    /// Processor time of its own code.
    pub user: Duration,
    /// Processor time of the kernel's for it.
    pub system: Duration,
    /// The most memory that one of its processes held, in bytes.
    pub memory_peak: u64,
    /// Bytes read from disks.
    pub read: u64,
    /// Bytes written to disks.
    pub written: u64,
}

/// A running command. Dropping it ends the command.
#[async_trait]
pub trait Process: Send + Sync {
    /// Sends a signal to the command and the process group it leads.
    ///
    /// *Behaviour*
    /// - A command that does not handle the signal ends by it.
    /// - Signalling a command that has ended changes nothing.
    async fn signal(&self, signal: i32) -> Result<()>;

    /// Waits until the command has ended.
    ///
    /// *Behaviour*
    /// - The status is the command's own, code or signal.
    /// - A time limit ends the command even if it ignores SIGTERM, and is reported.
    /// - It also returns when the instance is deactivated.
    async fn wait(&self) -> Result<Exit>;

    /// Connects the caller's terminal with the one inside until the command ends.
    ///
    /// Only for a command spawned with [`Stdio::Terminal`].
    async fn relay(&self, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<Exit>;
}
