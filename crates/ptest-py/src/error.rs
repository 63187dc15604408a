//! Errors of the library as exceptions of the package.

use ptest::config::ConfigError;
use ptest::{Error, ErrorKind, causes};
use pyo3::prelude::*;

use crate::ending::Below;

/// Why a call failed: an error of the library, or an exception.
#[derive(Debug)]
pub(crate) enum Failed {
    Ptest(Error),
    Python(PyErr),
}

/// What calls of this module return.
pub(crate) type Result<T, E = Failed> = std::result::Result<T, E>;

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Ptest(error)
    }
}

impl From<ConfigError> for Failed {
    fn from(error: ConfigError) -> Self {
        let mut told = Error::new(ErrorKind::InvalidInput, error.to_string());
        if let Some(hint) = error.hint() {
            told = told.with_hint(hint);
        }
        Self::Ptest(told)
    }
}

impl From<PyErr> for Failed {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<pythonize::PythonizeError> for Failed {
    fn from(error: pythonize::PythonizeError) -> Self {
        Self::Python(error.into())
    }
}

impl From<Failed> for PyErr {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Python(error) => error,
            Failed::Ptest(error) => {
                Python::attach(|py| exception(py, &error).unwrap_or_else(|it| it))
            }
        }
    }
}

/// The exception for an error, of the class that the package has for its kind.
fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let _below = Below::begin();
    let made = py.import("ptest._errors")?.getattr("of_core")?.call1((
        error.kind().as_str(),
        error.to_string(),
        causes(error),
        error.hint(),
        error.output(),
    ))?;
    Ok(PyErr::from_value(made))
}
