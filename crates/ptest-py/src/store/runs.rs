//! Which commands were run, and what they wrote.

use ptest::runs::{Lines, OutputFilter, RunChoice};
use ptest::{Error, ErrorKind, StreamKind};
use ptest_report::{LogReport, RunsReport};
use pyo3::prelude::*;

use super::Store;
use crate::document::dictionary;
use crate::error::Result;
use crate::log::LogFollower;
use crate::wait::interruptible;

#[pymethods]
impl Store {
    /// The latest runs, of an environment or of all, oldest first.
    fn runs<'py>(
        &self,
        py: Python<'py>,
        environment: Option<&str>,
        active: bool,
        last: u32,
    ) -> Result<Bound<'py, PyAny>> {
        let runs = py.detach(|| match environment {
            Some(label) => {
                let environment = self.ptest.environment_of_runs(label)?;
                self.ptest.runs_of(&environment, active, last)
            }
            None => self.ptest.runs(active, last),
        })?;
        dictionary(py, &RunsReport::new(runs))
    }

    /// What a run wrote, as far as it is kept: the last one, if none is said.
    fn log<'py>(
        &self,
        py: Python<'py>,
        environment: String,
        run: Option<&str>,
        filter: Filter,
    ) -> Result<Bound<'py, PyAny>> {
        let (choice, filter) = (choice(run)?, filter.read(false)?);
        let ptest = self.ptest.clone();
        let work = move || -> ptest::Result<_> {
            let record = ptest.run_of(&ptest.environment_of_runs(&environment)?, choice)?;
            let mut output = ptest.output(&record, filter)?;
            let mut pieces = Vec::new();
            while let Some(piece) = output.piece()? {
                pieces.push(piece);
            }
            Ok((record, pieces))
        };
        let (record, pieces) = interruptible(py, |_| (), work)??;
        dictionary(py, &LogReport::new(record, pieces))
    }

    /// The same with what comes, until the run has ended.
    fn follow_log(
        &self,
        py: Python<'_>,
        environment: &str,
        run: Option<&str>,
        filter: Filter,
    ) -> Result<LogFollower> {
        let (choice, filter) = (choice(run)?, filter.read(true)?);
        let output = py.detach(|| -> ptest::Result<_> {
            let environment = self.ptest.environment_of_runs(environment)?;
            let record = self.ptest.run_of(&environment, choice)?;
            self.ptest.output(&record, filter)
        })?;
        LogFollower::new(output)
    }

    /// Sends a signal to the command of a run, whichever process waits for it.
    fn signal_run(
        &self,
        py: Python<'_>,
        environment: &str,
        run: Option<&str>,
        signal: i32,
    ) -> Result<()> {
        let choice = choice(run)?;
        let signalled = py.detach(|| -> ptest::Result<()> {
            let environment = self.ptest.environment_of_runs(environment)?;
            let run = self.ptest.run_of(&environment, choice)?;
            if self.ptest.signal_run(&run, signal)? {
                return Ok(());
            }
            let message = format!("run {} has ended", run.id);
            Err(Error::new(ErrorKind::IllegalState, message))
        });
        Ok(signalled?)
    }
}

/// Which of the output is asked for.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Filter {
    stream: Option<String>,
    head: Option<u64>,
    tail: Option<u64>,
}

impl Filter {
    fn read(&self, follow: bool) -> Result<OutputFilter> {
        let invalid = |message: String| Error::new(ErrorKind::InvalidInput, message);
        let stream = match self.stream.as_deref() {
            None => None,
            Some("stdout") => Some(StreamKind::Stdout),
            Some("stderr") => Some(StreamKind::Stderr),
            Some(other) => {
                let error = invalid(format!("there is no stream `{}`", other.escape_debug()));
                return Err(error.with_hint("there is `stdout` and `stderr`").into());
            }
        };
        let lines = match (self.head, self.tail) {
            (None, None) => Lines::All,
            (Some(count), None) => Lines::First(count),
            (None, Some(count)) => Lines::Last(count),
            (Some(_), Some(_)) => {
                return Err(invalid("either the first lines or the last".to_owned()).into());
            }
        };
        Ok(OutputFilter {
            stream,
            lines,
            follow,
        })
    }
}

fn choice(run: Option<&str>) -> ptest::Result<RunChoice> {
    Ok(run.map(str::parse).transpose()?.unwrap_or_default())
}
