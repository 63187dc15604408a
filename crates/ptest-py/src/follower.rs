//! Events as they come.

use std::sync::{Mutex, PoisonError};

use ptest_report::EventsReport;
use pyo3::prelude::*;

use crate::document::{Seconds, dictionary};
use crate::error::Result;
use crate::wait::attentive;

/// Gives events in order, each at least once.
#[pyclass(frozen, module = "ptest._core")]
pub(crate) struct Follower {
    follower: Mutex<ptest::events::Follower>,
}

impl Follower {
    pub(crate) fn new(follower: ptest::events::Follower) -> Self {
        Self {
            follower: Mutex::new(follower),
        }
    }
}

#[pymethods]
impl Follower {
    /// The next events, or none after so many seconds.
    fn next<'py>(&self, py: Python<'py>, timeout: Option<Seconds>) -> Result<Bound<'py, PyAny>> {
        let found = attentive(py, timeout.map(|time| time.0), |time| {
            let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
            let events = follower.next(Some(time));
            (!matches!(&events, Ok(events) if events.is_empty())).then_some(events)
        })?;
        let events = found.transpose()?.unwrap_or_default();
        dictionary(py, &EventsReport { events })
    }
}
