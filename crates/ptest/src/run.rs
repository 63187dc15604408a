//! Running one command in an environment to its end, with its output taken.
//!
//! Above engines: they give a command descriptors and know nothing of what is kept. Whoever wants the streams while they
//! come, or a terminal, uses [`Environment::spawn`].

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ptest_sandbox::{Captured, Collector, Keep};

use crate::engine::{Command, Exit, Process, Stdio};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::runs::{ActiveRun, Destination, RunId, Stream, Streams, Taking};
use crate::variables::Variables;

/// How long a command has between SIGTERM and SIGKILL unless said otherwise.
const GRACE: Duration = Duration::from_secs(10);
/// A command to run to its end.
#[derive(Debug)]
pub struct Run {
    /// The program and its arguments; the program is looked for on the `PATH` inside.
    pub arguments: Vec<OsString>,
    /// Where it starts; the project root when there is none.
    pub working_directory: Option<PathBuf>,
    /// The caller's variables, of which only the harmless pass.
    pub caller: Variables,
    /// Variables set for this command, over those of the environment.
    pub variables: Variables,
    /// What it reads.
    pub input: Input,
    /// What becomes of what it writes.
    pub stdout: Output,
    /// What becomes of its errors.
    pub stderr: Output,
    /// Ended after this time, when there is one; at once when it is zero.
    pub timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL when it is ended.
    pub grace: Duration,
}

impl Run {
    /// A command that reads nothing, whose output is kept as [`Keep::default`] says, without a time limit.
    pub fn new(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            working_directory: None,
            caller: Variables::new(),
            variables: Variables::new(),
            input: Input::default(),
            stdout: Output::default(),
            stderr: Output::default(),
            timeout: None,
            grace: GRACE,
        }
    }
}

/// What a command reads.
#[derive(Debug, Default)]
pub enum Input {
    /// Nothing.
    #[default]
    Null,
    /// These bytes, by a pipe. What it does not read is no error.
    Bytes(Vec<u8>),
    /// What comes from this descriptor.
    Descriptor(OwnedFd),
}

/// What becomes of a stream that a command writes.
#[derive(Debug)]
pub enum Output {
    /// Nothing.
    Null,
    /// It goes to this descriptor, as it is.
    Descriptor(OwnedFd),
    /// It is taken by a pipe, all of it, and kept in part.
    Keep(Keep),
    /// Of standard error: wherever standard output goes, in the order in which it is written.
    Joined,
}

impl Default for Output {
    fn default() -> Self {
        Self::Keep(Keep::default())
    }
}

/// What came of a command.
#[derive(Debug)]
pub struct CompletedRun {
    /// What the run is called in the record.
    pub id: RunId,
    /// How it ended. An error when that cannot be known, because the environment ended under it; what it had written is
    /// there nevertheless.
    pub ended: Result<Exit>,
    /// What was taken of its standard output.
    pub stdout: Captured,
    /// What was taken of its standard error.
    pub stderr: Captured,
}

/// A command that was started, whose streams [`Running::finish`] takes. Dropping it ends the command.
pub struct Running<'a> {
    environment: &'a Environment,
    run: Arc<ActiveRun>,
    streams: Streams,
    collector: Collector,
}

impl Environment {
    /// Runs a command to its end; an environment at rest is activated first.
    ///
    /// Both streams are taken all the time, in order, and kept within bounds. When the command has ended this returns, also
    /// when a process that it left behind has a stream still open: [`Captured::held_open`] says so, and all that was
    /// written before the end is there. A command whose time was up has all that it had written.
    ///
    /// # Errors
    ///
    /// When the command could not be started, and when its streams could not be taken: then it is ended.
    pub fn run(&self, run: Run) -> Result<CompletedRun> {
        self.start(run)?.finish()
    }

    /// Starts a command whose end is waited for later, so that others can signal it meanwhile.
    ///
    /// Nothing is taken before [`Running::finish`]: what writes more than a pipe holds waits for that.
    pub fn start(&self, run: Run) -> Result<Running<'_>> {
        let failed = |source| Error::io("make the streams of a command", source);
        let to_stdout = destination(&run.stdout);
        let (stdout, kept_output) = writing_side(run.stdout).map_err(failed)?;
        let stderr = match run.stderr {
            Output::Joined => Output::Descriptor(stdout.try_clone().map_err(failed)?),
            other => other,
        };
        let streams = Streams {
            log: false,
            stdout: Stream::to(to_stdout),
            stderr: Stream::to(destination(&stderr)),
        };
        let (stderr, kept_error) = writing_side(stderr).map_err(failed)?;
        let mut collector = Collector::new([kept_output, kept_error]).map_err(failed)?;
        let stdin = match run.input {
            Input::Null => null(),
            Input::Bytes(bytes) => collector.feed(bytes),
            Input::Descriptor(descriptor) => Ok(descriptor),
        };
        let command = Command {
            arguments: run.arguments,
            working_directory: run.working_directory,
            caller: run.caller,
            variables: run.variables,
            stdio: Stdio::Descriptors {
                stdin: stdin.map_err(failed)?,
                stdout,
                stderr,
            },
            timeout: run.timeout,
            grace: run.grace,
        };
        let run = self.spawn_with(command, streams.clone(), None)?;
        Ok(Running {
            environment: self,
            run: Arc::new(run),
            streams,
            collector,
        })
    }
}

impl Running<'_> {
    /// What the run is called in the record.
    pub fn id(&self) -> RunId {
        self.run.id()
    }

    /// The command, to signal it from elsewhere while it is waited for.
    pub fn process(&self) -> Arc<dyn Process> {
        Arc::clone(&self.run) as Arc<dyn Process>
    }

    /// Waits for the end, taking what the command writes.
    pub fn finish(self) -> Result<CompletedRun> {
        let Self {
            environment,
            run,
            mut streams,
            collector,
        } = self;
        let wait = || environment.ptest.block_on(run.wait_unrecorded());
        if collector.is_idle() {
            let ended = wait();
            run.record(&ended, None);
            return Ok(CompletedRun {
                id: run.id(),
                ended,
                stdout: Captured::default(),
                stderr: Captured::default(),
            });
        }
        let taking = Taking::begin(collector)?;
        let ended = wait();
        let taken = taking.end(&ended);
        if let Ok([stdout, stderr]) = &taken {
            streams.stdout.took(stdout);
            streams.stderr.took(stderr);
        }
        run.record(&ended, taken.is_ok().then_some(&streams));
        let [stdout, stderr] = taken?;
        Ok(CompletedRun {
            id: run.id(),
            ended,
            stdout,
            stderr,
        })
    }
}

fn destination(output: &Output) -> Destination {
    match output {
        Output::Null | Output::Joined => Destination::Null,
        Output::Descriptor(descriptor) => Destination::of(descriptor),
        Output::Keep(keep) => Destination::taken(keep.spill.as_ref().map(|spill| &spill.file)),
    }
}

fn writing_side(output: Output) -> io::Result<(OwnedFd, Option<(OwnedFd, Keep)>)> {
    match output {
        Output::Null | Output::Joined => Ok((null()?, None)),
        Output::Descriptor(descriptor) => Ok((descriptor, None)),
        Output::Keep(keep) => {
            let (reader, writer) = io::pipe()?;
            Ok((writer.into(), Some((reader.into(), keep))))
        }
    }
}

fn null() -> io::Result<OwnedFd> {
    let opened = File::options().read(true).write(true).open("/dev/null");
    opened.map(OwnedFd::from)
}
