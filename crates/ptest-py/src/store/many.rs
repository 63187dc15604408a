//! Many environments at once: one that fails does not keep the others.

use ptest::environment::{Owner, Record, Status};
use ptest::labels::Selector;
use ptest::{ErrorKind, Ptest};
use ptest_report::{BulkReport, EnvironmentsReport, RemovedReport};
use pyo3::prelude::*;

use super::{SILENT, Store};
use crate::document::{Seconds, dictionary};
use crate::error::Result;
use crate::wait::interruptible;

#[pymethods]
impl Store {
    /// The environments that meet a selector, oldest first.
    fn environments<'py>(&self, py: Python<'py>, selector: &str) -> Result<Bound<'py, PyAny>> {
        let selector = parsed(selector)?;
        let statuses = py.detach(|| self.ptest.statuses(&selector))?;
        dictionary(py, &EnvironmentsReport::new(statuses))
    }

    /// Takes environments of these ids away, several at a time; those that are gone already are no failure.
    fn remove_all<'py>(&self, py: Python<'py>, ids: Vec<String>) -> Result<Bound<'py, PyAny>> {
        let report = py.detach(|| -> ptest::Result<_> {
            let mut records = self.ptest.records()?;
            records.retain(|record| ids.iter().any(|id| record.id.as_str() == id));
            let (removed, failed) = each(&self.ptest, &records, |environment| {
                match environment.remove() {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                    removed => removed,
                }
            });
            Ok(report_removed(removed, &failed))
        })?;
        dictionary(py, &report)
    }

    /// Takes the environments of these names or ids away, several at a time; one that is not there is a failure too.
    fn remove<'py>(&self, py: Python<'py>, labels: Vec<String>) -> Result<Bound<'py, PyAny>> {
        let ptest = self.ptest.clone();
        let work = move || -> ptest::Result<_> {
            let (mut records, mut failed) = (Vec::new(), Vec::new());
            for label in labels {
                match ptest.find(&label).and_then(|it| it.record()) {
                    Ok(record) => records.push(record),
                    Err(error) => failed.push((label, error)),
                }
            }
            let (removed, more) = each(&ptest, &records, ptest::Environment::remove);
            failed.extend(more);
            Ok(report_removed(removed, &failed))
        };
        let report = interruptible(py, |_| (), work)??;
        dictionary(py, &report)
    }

    /// Takes those away that meet a selector and do not live for a process that runs.
    fn remove_selected<'py>(&self, py: Python<'py>, selector: &str) -> Result<Bound<'py, PyAny>> {
        let selector = parsed(selector)?;
        let ptest = self.ptest.clone();
        let work = move || -> ptest::Result<_> {
            let records = detached(&ptest, &selector)?;
            let (removed, failed) = each(&ptest, &records, ptest::Environment::remove);
            Ok(report_removed(removed, &failed))
        };
        let report = interruptible(py, |_| (), work)??;
        dictionary(py, &report)
    }

    /// Lets commands in them begin at once.
    fn activate<'py>(&self, py: Python<'py>, selector: &str) -> Result<Bound<'py, PyAny>> {
        self.selected(py, selector, |environment| {
            environment.activate()?;
            environment.status()
        })
    }

    /// Ends all that runs in them.
    fn deactivate<'py>(
        &self,
        py: Python<'py>,
        selector: &str,
        grace: Option<Seconds>,
    ) -> Result<Bound<'py, PyAny>> {
        let grace = grace.map_or(*self.config.grace, |grace| grace.0);
        self.selected(py, selector, move |environment| {
            environment.deactivate(grace)?;
            environment.status()
        })
    }
}

impl Store {
    fn selected<'py>(
        &self,
        py: Python<'py>,
        selector: &str,
        work: impl Fn(ptest::Environment) -> ptest::Result<Status> + Send + Sync + 'static,
    ) -> Result<Bound<'py, PyAny>> {
        let selector = parsed(selector)?;
        let ptest = self.ptest.clone();
        let work = move || -> ptest::Result<_> {
            let (done, failed) = each(&ptest, &detached(&ptest, &selector)?, work);
            let statuses = done.into_iter().map(|(_, status)| status);
            Ok(BulkReport::new(statuses, &failed))
        };
        let report = interruptible(py, |_| (), work)??;
        dictionary(py, &report)
    }
}

/// What came of each by its label, and those that it failed with.
type Outcomes<T> = (Vec<(String, T)>, Vec<(String, ptest::Error)>);

fn each<T: Send>(
    ptest: &Ptest,
    records: &[Record],
    work: impl Fn(ptest::Environment) -> ptest::Result<T> + Sync,
) -> Outcomes<T> {
    let labels = records.iter().map(|record| record.label().to_owned());
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (label, outcome) in labels.zip(ptest.each(records, SILENT, work)) {
        match outcome {
            Ok(value) => done.push((label, value)),
            Err(error) => failed.push((label, error)),
        }
    }
    (done, failed)
}

fn report_removed(removed: Vec<(String, ())>, failed: &[(String, ptest::Error)]) -> RemovedReport {
    let removed = removed.into_iter().map(|(label, ())| label);
    RemovedReport::new(removed.collect(), failed)
}

/// Those that meet a selector and do not live for a process that runs: what these have is theirs.
fn detached(ptest: &Ptest, selector: &Selector) -> ptest::Result<Vec<Record>> {
    let mut records = ptest.select(selector)?;
    records.retain(|record| matches!(record.owner, Owner::Detached));
    Ok(records)
}

fn parsed(selector: &str) -> ptest::Result<Selector> {
    match selector {
        "" => Ok(Selector::default()),
        text => text.parse(),
    }
}
