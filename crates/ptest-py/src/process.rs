//! A command that was started, and is waited for by whoever likes.

use std::sync::Arc;
use std::time::Duration;

use ptest::engine::Exit;
use ptest::runs::ActiveRun;
use ptest::{Environment, Error, ErrorKind, Result};
use ptest_report::ExitDto;
use pyo3::prelude::*;

use crate::document::{Seconds, dictionary};
use crate::error;
use crate::wait::{Later, attentive};

/// A running command. It goes on when nobody holds this any more, and ends with its environment.
#[pyclass(frozen, module = "ptest._core")]
pub(crate) struct Process {
    environment: Arc<Environment>,
    run: Arc<ActiveRun>,
    ended: Later<Result<Exit>>,
}

impl Process {
    /// Begins to wait for it on a thread of its own, so that its end is recorded whenever it comes.
    pub(crate) fn new(environment: Arc<Environment>, run: ActiveRun) -> error::Result<Self> {
        let run = Arc::new(run);
        let waiting = (Arc::clone(&environment), Arc::clone(&run));
        let ended = Later::of("ptest-wait", move || waiting.0.wait(&*waiting.1))?;
        Ok(Self {
            environment,
            run,
            ended,
        })
    }

    fn exit_within(&self, time: Duration) -> Option<Result<Exit>> {
        let panicked = || Error::new(ErrorKind::Unexpected, "the thread that waited panicked");
        self.ended.look(time, |exit| match exit {
            Ok(Some(exit)) => exit.clone(),
            _ => Err(panicked()),
        })
    }
}

#[pymethods]
impl Process {
    /// What the run is called in the store.
    #[getter]
    fn run(&self) -> String {
        self.run.id().to_string()
    }

    /// How it ended; `None` while it runs, after so many seconds.
    fn wait<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<Seconds>,
    ) -> error::Result<Option<Bound<'py, PyAny>>> {
        let timeout = timeout.map(|timeout| timeout.0);
        match attentive(py, timeout, |time| self.exit_within(time))? {
            Some(exit) => Ok(Some(dictionary(py, &ExitDto::from(&exit?))?)),
            None => Ok(None),
        }
    }

    /// Sends a signal to the command and the process group that it leads.
    fn signal(&self, py: Python<'_>, signal: i32) -> error::Result<()> {
        Ok(py.detach(|| self.environment.signal_command(&*self.run, signal))?)
    }
}
