//! Errors of the library as exceptions of the package.

use ptest::config::ConfigError;
use ptest::{Error, ErrorKind, causes};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

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
///
/// It is what the class's constructor makes of the same, without the constructor, which is Python's code: see the crate.
fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    static KINDS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let kinds = KINDS.import(py, "ptest._errors", "_Kinds")?;
    let class = kinds.getattr("by_name")?.get_item(error.kind().as_str())?;
    let message = error.to_string();
    let made = class.call_method1("__new__", (&class, &message))?;
    made.setattr("args", (&message,))?;
    made.setattr("message", message)?;
    made.setattr("causes", PyTuple::new(py, causes(error))?)?;
    made.setattr("hint", error.hint())?;
    made.setattr("output", error.output())?;
    // Shown below the traceback, from Python 3.11 on.
    if let Some(add_note) = made.getattr_opt("add_note")? {
        if let Some(output) = error.output().filter(|output| !output.is_empty()) {
            add_note.call1((output.trim_end(),))?;
        }
        if let Some(hint) = error.hint() {
            add_note.call1((format!("hint: {hint}"),))?;
        }
    }
    Ok(PyErr::from_value(made))
}
