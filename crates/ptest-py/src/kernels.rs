//! Kernels of the user's Jupyter that run in environments.

use ptest::kernel::Kernels;
use ptest_report::{KernelReport, KernelsReport};
use pyo3::prelude::*;

use crate::document::dictionary;
use crate::environment::Environment;
use crate::error::Result;
use crate::host::Host;

/// The kernels that ptest installed.
#[pyfunction]
pub(crate) fn kernels(py: Python<'_>) -> Result<Bound<'_, PyAny>> {
    let host = Host::now()?.environment;
    let found = py.detach(|| Kernels::of_user(&host)?.list())?;
    dictionary(py, &KernelsReport::from(found))
}

/// Takes a kernel away; its environment stays.
#[pyfunction]
pub(crate) fn remove_kernel<'py>(py: Python<'py>, name: &str) -> Result<Bound<'py, PyAny>> {
    let host = Host::now()?.environment;
    let removed = py.detach(|| Kernels::of_user(&host)?.remove(name))?;
    dictionary(py, &KernelReport::from(removed))
}

#[pymethods]
impl Environment {
    /// Gives the user's Jupyter a kernel that runs in it.
    fn install_kernel<'py>(
        &self,
        py: Python<'py>,
        name: Option<&str>,
        display_name: Option<&str>,
    ) -> Result<Bound<'py, PyAny>> {
        let host = Host::now()?.environment;
        let installed = py.detach(|| {
            let kernels = Kernels::of_user(&host)?;
            self.handle().install_kernel(&kernels, name, display_name)
        })?;
        dictionary(py, &KernelReport::from(installed))
    }
}
