//! `ptest._core`: what the Python package is built on.
//!
//! Below the package's typed classes: calls of the library that hold no lock of the interpreter, with options as
//! dictionaries, and answers as the documents that `--format json` writes. Not for users: names here may change.
//!
//! No function here runs Python's code, not even a constructor's, while it holds the lock. When the interpreter ends, before
//! Python 3.14, it ends each other thread that wants the lock by unwinding its stack. Where a function of this module wants
//! it back, `PyO3` has the thread sleep instead until the process is gone. Where Python's code wants it that such a function
//! called, the destructors of that function run without the lock, and the process crashes. So exceptions are filled in by
//! hand, and paths come (`TextPath`) and go as strings: what makes a `pathlib.Path`, or a string of one, is Python's code.

mod configuration;
mod document;
mod enclosure;
mod environment;
mod error;
mod follower;
mod host;
mod interrupt;
mod kernels;
mod log;
mod matrix;
mod process;
mod run;
mod store;
mod stream;
mod terminal;
mod wait;

use std::sync::OnceLock;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

/// Sees to it that no connection to a database and no lock crosses a fork.
fn register_at_fork(py: Python<'_>) -> PyResult<()> {
    let before = PyCFunction::new_closure(py, None, None, |arguments, _| {
        host::before_fork(arguments.py());
        ptest::before_fork();
    })?;
    let after = PyCFunction::new_closure(py, None, None, |_, _| {
        ptest::after_fork();
        host::after_fork();
    })?;
    let hooks = PyDict::new(py);
    hooks.set_item("before", before)?;
    hooks.set_item("after_in_parent", &after)?;
    hooks.set_item("after_in_child", &after)?;
    py.import("os")?
        .call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}

/// Lets only one interpreter of the process have the module, in the words of Python, which refuses by itself from 3.12 on.
///
/// What is here belongs to the process: its signals, its forks, its connections.
fn refuse_other_interpreters(py: Python<'_>) -> PyResult<()> {
    static SYS: OnceLock<usize> = OnceLock::new();
    // Each interpreter has its own, for as long as it lives.
    let sys = py.import("sys")?.as_ptr().addr();
    if *SYS.get_or_init(|| sys) == sys {
        return Ok(());
    }
    let message = "module ptest._core does not support loading in subinterpreters";
    Err(PyImportError::new_err(message))
}

/// What `import ptest._core` gives.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::configuration::{configuration, configuration_files, set_configuration};
    #[pymodule_export]
    use crate::enclosure::{Enclosure, Enclosures};
    #[pymodule_export]
    use crate::environment::Environment;
    #[pymodule_export]
    use crate::follower::Follower;
    #[pymodule_export]
    use crate::interrupt::Interrupt;
    #[pymodule_export]
    use crate::kernels::{kernels, remove_kernel};
    #[pymodule_export]
    use crate::log::LogFollower;
    #[pymodule_export]
    use crate::matrix::Matrix;
    #[pymodule_export]
    use crate::process::Process;
    #[pymodule_export]
    use crate::store::{Store, doctor, rebuild};

    use super::{Bound, PyModule, PyModuleMethods as _, PyResult};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::refuse_other_interpreters(module.py())?;
        super::register_at_fork(module.py())?;
        super::host::encoded(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
