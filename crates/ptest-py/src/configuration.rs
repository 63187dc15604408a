//! The configuration by itself, without a store.

use std::ffi::OsString;

use ptest::config::{self, Config};
use ptest_report::{ConfigPathsReport, ConfigReport};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::document::{TextPath, dictionary, options};
use crate::error::Result;
use crate::host::Host;

/// Every setting with its value and where that comes from, these ones in the place of what the configuration says, and what
/// of that was left out.
#[pyfunction]
pub(crate) fn configuration<'py>(
    py: Python<'py>,
    given: &Bound<'_, PyDict>,
    project: Option<TextPath>,
) -> Result<(Bound<'py, PyAny>, Vec<String>)> {
    let host = Host::now()?;
    let (mut config, warnings) = Config::load(&host.at(project.as_deref()).sources(None))?;
    config.take_options(&options(given)?, &host.sources(None))?;
    Ok((report(py, &config)?, warnings))
}

/// The files that are read, strongest last.
#[pyfunction]
pub(crate) fn configuration_files(
    py: Python<'_>,
    project: Option<TextPath>,
) -> Result<Bound<'_, PyAny>> {
    let files = Host::now()?.at(project.as_deref()).sources(None).files()?;
    dictionary(py, &ConfigPathsReport::from(files))
}

/// Sets a value in the user's file; gives that.
#[pyfunction]
pub(crate) fn set_configuration(key: &str, value: OsString) -> Result<OsString> {
    let file = config::set(&Host::now()?.sources(None), key, &value)?;
    Ok(file.into_os_string())
}

/// Every setting with its value and where that comes from.
pub(crate) fn report<'py>(py: Python<'py>, config: &Config) -> Result<Bound<'py, PyAny>> {
    let settings = config.rows().into_iter().map(Into::into).collect();
    dictionary(py, &ConfigReport { settings })
}
