//! Commands: what is asked for, and what came of one that ran to its end.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ptest::engine::{Process, Stdio};
use ptest::variables::Variables;
use ptest::{Captured, CompletedRun, Environment, Error, Input, Keep, Output, Run};
use ptest_report::ExitDto;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use rustix::process::Signal;

use crate::document::{Seconds, TextPath, dictionary};
use crate::error::{Failed, Result};
use crate::host::Host;
use crate::wait::{Attempt, interruptible};

/// A command, as the package asks for it. Descriptors stay the caller's.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Asked {
    pub(crate) arguments: Vec<OsString>,
    directory: Option<TextPath>,
    pub(crate) variables: Variables,
    pub(crate) timeout: Option<Seconds>,
    pub(crate) grace: Option<Seconds>,
    /// What it reads, by a pipe, whatever `stdin` is.
    input: Option<Vec<u8>>,
    stdin: Stream,
    pub(crate) stdout: Stream,
    pub(crate) stderr: Stream,
    /// How many bytes of the beginning of a stream are kept.
    pub(crate) head: usize,
    /// How many bytes of its end.
    pub(crate) tail: usize,
}

/// Where a stream leads, in the numbers of Python's `subprocess`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Kept,
    Joined,
    Null,
    Descriptor(i32),
}

impl<'py> FromPyObject<'_, 'py> for Stream {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(match given.extract()? {
            -1 => Self::Kept,
            -2 => Self::Joined,
            -3 => Self::Null,
            descriptor => Self::Descriptor(descriptor),
        })
    }
}

impl Asked {
    /// Where it starts.
    pub(crate) fn directory(&self, host: &Host) -> PathBuf {
        let cwd = &host.environment.cwd;
        match &self.directory {
            Some(directory) => cwd.join(&**directory),
            None => cwd.clone(),
        }
    }

    pub(crate) fn input(&mut self) -> Result<Input> {
        Ok(match (self.input.take(), self.stdin) {
            (Some(bytes), _) => Input::Bytes(bytes),
            (None, Stream::Descriptor(descriptor)) => Input::Descriptor(duplicate(descriptor)?),
            (None, _) => Input::Null,
        })
    }

    /// Streams that nobody takes.
    pub(crate) fn stdio(&self) -> Result<Stdio> {
        let stdout = self.stdout.descriptor()?;
        let stderr = match self.stderr {
            Stream::Joined => stdout.try_clone().map_err(failed)?,
            stream => stream.descriptor()?,
        };
        Ok(Stdio::Descriptors {
            stdin: self.stdin.descriptor()?,
            stdout,
            stderr,
        })
    }
}

impl Stream {
    pub(crate) fn output(self, head: usize, tail: usize) -> Result<Output> {
        Ok(match self {
            Self::Kept => Output::Keep(Keep {
                head,
                tail,
                spill: None,
            }),
            Self::Joined => Output::Joined,
            Self::Null => Output::Null,
            Self::Descriptor(descriptor) => Output::Descriptor(duplicate(descriptor)?),
        })
    }

    fn descriptor(self) -> Result<OwnedFd> {
        if let Self::Descriptor(descriptor) = self {
            return duplicate(descriptor);
        }
        let opened = File::options().read(true).write(true).open("/dev/null");
        Ok(opened.map_err(failed)?.into())
    }
}

/// Runs a command until it ends. When the call is interrupted the command gets SIGINT, and if that does not end it, SIGKILL.
pub(crate) fn to_the_end<'py>(
    py: Python<'py>,
    environment: &Arc<Environment>,
    run: Run,
) -> Result<Bound<'py, PyTuple>> {
    let started = Arc::new(Started::default());
    let shared = (Arc::clone(&started), Arc::clone(environment));
    let ended = interruptible(
        py,
        |attempt| started.stop(environment, attempt),
        move || -> ptest::Result<CompletedRun> {
            let (started, environment) = shared;
            let running = environment.start(run)?;
            started.is(&environment, running.process());
            running.finish()
        },
    )??;
    completed(py, ended)
}

/// A command that runs, once it does.
#[derive(Default)]
struct Started {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    process: Option<Arc<dyn Process>>,
    /// What was sent before there was anybody to send it to.
    signal: Option<Signal>,
}

impl Started {
    fn is(&self, environment: &Environment, process: Arc<dyn Process>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signal) = state.signal {
            send(environment, &*process, signal);
        }
        state.process = Some(process);
    }

    fn stop(&self, environment: &Environment, attempt: Attempt) {
        let signal = match attempt {
            Attempt::First => Signal::INT,
            Attempt::Last => Signal::KILL,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.process {
            Some(process) => send(environment, &**process, signal),
            None => state.signal = Some(signal),
        }
    }
}

/// A command that has ended meanwhile needs no signal; any other trouble shows when it is waited for.
fn send(environment: &Environment, process: &dyn Process, signal: Signal) {
    let _ = environment.signal_command(process, signal.as_raw());
}

fn completed(py: Python<'_>, run: CompletedRun) -> Result<Bound<'_, PyTuple>> {
    let CompletedRun {
        id,
        ended,
        stdout,
        stderr,
    } = run;
    let (exit, lost) = match ended {
        Ok(exit) => (Some(dictionary(py, &ExitDto::from(&exit))?), None),
        Err(error) => (None, Some(PyErr::from(Failed::from(error)).into_value(py))),
    };
    let whole = (
        id.to_string(),
        exit,
        lost,
        taken(py, &stdout)?,
        taken(py, &stderr)?,
    );
    Ok(whole.into_pyobject(py)?)
}

fn taken<'py>(py: Python<'py>, stream: &Captured) -> Result<Bound<'py, PyTuple>> {
    let parts = (
        PyBytes::new(py, &stream.head),
        PyBytes::new(py, &stream.tail),
        stream.total,
        stream.held_open,
    );
    Ok(parts.into_pyobject(py)?)
}

fn duplicate(descriptor: i32) -> Result<OwnedFd> {
    Ok(ptest::duplicate(descriptor).map_err(failed)?)
}

fn failed(source: io::Error) -> Error {
    Error::io("pass the streams of a command on", source)
}
