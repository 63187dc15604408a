//! Documents of the library as Python's dictionaries, and back.

use std::time::Duration;

use ptest::config::Options;
use ptest::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pythonize::{depythonize, pythonize};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Failed, Result};

/// A report as a dictionary.
pub(crate) fn dictionary<'py>(
    py: Python<'py>,
    report: &impl Serialize,
) -> Result<Bound<'py, PyAny>> {
    Ok(pythonize(py, report)?)
}

/// Options by name.
pub(crate) fn options(given: &Bound<'_, PyDict>) -> Result<Options> {
    Ok(Options::new(depythonize(given)?))
}

/// Any value that JSON has.
pub(crate) fn json(given: &Bound<'_, PyAny>) -> Result<Value> {
    Ok(depythonize(given)?)
}

/// A time in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds(pub(crate) Duration);

impl<'py> FromPyObject<'_, 'py> for Seconds {
    type Error = Failed;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> Result<Self> {
        let seconds: f64 = given.extract()?;
        let time = Duration::try_from_secs_f64(seconds).map_err(|_| {
            let message = format!("{seconds} is not a time in seconds");
            Error::new(ErrorKind::InvalidInput, message)
        })?;
        Ok(Self(time))
    }
}
