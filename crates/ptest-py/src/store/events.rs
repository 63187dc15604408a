//! What happened, and what is called when something does.

use ptest::events::EventFilter;
use ptest::timestamp::Timestamp;
use ptest_report::{EventsReport, HooksReport};
use pyo3::prelude::*;
use serde_json::Value;

use super::Store;
use crate::document::{Seconds, dictionary, json};
use crate::error::Result;
use crate::follower::Follower;

#[pymethods]
impl Store {
    /// The latest events that are asked for, oldest first.
    #[pyo3(signature = (environments, kinds, since, after, last))]
    fn events<'py>(
        &self,
        py: Python<'py>,
        environments: Vec<String>,
        kinds: Vec<String>,
        since: Option<Seconds>,
        after: Option<i64>,
        last: usize,
    ) -> Result<Bound<'py, PyAny>> {
        let filter = EventFilter {
            environments,
            kinds,
            since: since.map(|age| Timestamp::now().before(age.0)),
            after,
        };
        let events = py.detach(|| self.ptest.events(&filter, last))?;
        dictionary(py, &EventsReport { events })
    }

    /// Follows the events that come after this call, or after that number.
    fn follow(
        &self,
        py: Python<'_>,
        environments: Vec<String>,
        kinds: Vec<String>,
        after: Option<i64>,
    ) -> Result<Follower> {
        let filter = EventFilter {
            environments,
            kinds,
            since: None,
            after,
        };
        Ok(Follower::new(py.detach(|| self.ptest.follow(filter))?))
    }

    /// Records an event of the user's own; gives its number.
    fn emit(
        &self,
        py: Python<'_>,
        environment: Option<&str>,
        name: &str,
        data: &Bound<'_, PyAny>,
    ) -> Result<i64> {
        let data: Value = json(data)?;
        Ok(py.detach(|| self.ptest.emit(environment, name, data))?)
    }

    /// What is called when something happens.
    fn hooks<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let hooks = py.detach(|| self.ptest.hooks(&self.config.hooks))?;
        dictionary(py, &HooksReport::from(hooks))
    }
}
