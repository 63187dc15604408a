//! The calling process: the only place that reads its variables and its directory.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use ptest::config::Sources;
use ptest::python::HostEnv;
use ptest::settings::Profile;
use pyo3::prelude::*;
use pyo3::sync::{PyOnceLock, RwLockExt as _};
use pyo3::types::{PyBytes, PyDict};

/// Held by whoever reads variables, and alone by who forks.
static READING: RwLock<()> = RwLock::new(());

thread_local! {
    /// That the calling thread is forking.
    static FORKING: RefCell<Option<RwLockWriteGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// What the process is now.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) environment: HostEnv,
    working_directory: Option<PathBuf>,
}

impl Host {
    /// As Python sees it.
    pub(crate) fn now() -> PyResult<Self> {
        let working_directory = std::env::current_dir().ok();
        let cwd = working_directory.clone().unwrap_or_else(|| "/".into());
        Ok(Self {
            environment: HostEnv::new(Python::attach(variables)?, cwd),
            working_directory,
        })
    }

    /// The same at another place, if one is said.
    pub(crate) fn at(&self, place: Option<&Path>) -> Self {
        let Some(place) = place else {
            return self.clone();
        };
        let cwd = self.environment.cwd.join(place);
        Self {
            working_directory: Some(cwd.clone()),
            environment: HostEnv {
                cwd,
                ..self.environment.clone()
            },
        }
    }

    /// Where the configuration comes from.
    pub(crate) fn sources(&self, profile: Option<Profile>) -> Sources {
        Sources {
            profile,
            variables: self.environment.env.clone(),
            working_directory: self.working_directory.clone(),
            user: rustix::process::geteuid().as_raw(),
            system_file: PathBuf::from("/etc/ptest/config.toml"),
        }
    }
}

/// Variables of `os.environ`.
///
/// Those of the C library must not be read while another thread sets one, and nothing but Python's lock keeps threads from
/// that: the free-threaded build has none. A dictionary is copied as a whole.
fn variables(py: Python<'_>) -> PyResult<Vec<(OsString, OsString)>> {
    let encoded = encoded(py)?.bind(py);
    let copy = {
        let _reading = READING
            .read_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner);
        encoded.copy()?
    };
    let text = |bytes: Bound<'_, PyAny>| -> PyResult<OsString> {
        let bytes = bytes.cast::<PyBytes>()?.as_bytes();
        Ok(OsStr::from_bytes(bytes).to_owned())
    };
    copy.into_iter()
        .map(|(name, value)| Ok((text(name)?, text(value)?)))
        .collect()
}

/// The dictionary that `os.environ` and `os.environb` are views of. First asked for when the module is imported: finding it is
/// Python's code.
pub(crate) fn encoded(py: Python<'_>) -> PyResult<&'static Py<PyDict>> {
    static ENCODED: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    ENCODED.get_or_try_init(py, || {
        let data = py.import("os")?.getattr("environb")?.getattr("_data")?;
        Ok(data.cast_into::<PyDict>()?.unbind())
    })
}

/// To be called by who is about to fork, and [`after_fork`] by the same thread then, in both processes: waits until nobody
/// copies the dictionary, which is locked meanwhile in the free-threaded build, and in the child would stay so.
pub(crate) fn before_fork(py: Python<'_>) {
    let guard = READING.write_py_attached(py);
    FORKING.set(Some(guard.unwrap_or_else(PoisonError::into_inner)));
}

/// Lets variables be read again.
pub(crate) fn after_fork() {
    FORKING.take();
}
