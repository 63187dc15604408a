//! Documents of the library as Python's dictionaries, and back.

use std::ffi::OsString;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ptest::config::Options;
use ptest::{Depth, Error, ErrorKind};
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

/// How closely layers are looked at, by the word of the command line.
pub(crate) fn depth(word: &str) -> Result<Depth> {
    match word {
        "full" => Ok(Depth::Full),
        "sampled" => Ok(Depth::Sampled),
        other => {
            let message = format!("layers are not looked at `{}`", other.escape_debug());
            let error = Error::new(ErrorKind::InvalidInput, message);
            Err(error.with_hint("there is `full` and `sampled`").into())
        }
    }
}

/// A path of a caller's, who gives it as a string: to ask any other object for its path is Python's code.
#[derive(Clone, Debug)]
pub(crate) struct TextPath(pub(crate) PathBuf);

impl FromPyObject<'_, '_> for TextPath {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        Ok(Self(given.extract::<OsString>()?.into()))
    }
}

impl Deref for TextPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
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
