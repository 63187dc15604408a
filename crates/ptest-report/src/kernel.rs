//! The reports of `ptest kernel`.

use ptest::kernel::Kernel;
use serde::Serialize;

use crate::Report;

/// What `kernel install` and `kernel remove` write.
#[derive(Debug, Serialize)]
pub struct KernelReport {
    /// The kernel that it was done with.
    kernel: KernelDto,
}

/// What `kernel list` writes.
#[derive(Debug, Serialize)]
pub struct KernelsReport {
    /// Those that ptest installed, by name.
    kernels: Vec<KernelDto>,
}

#[derive(Debug, Serialize)]
struct KernelDto {
    /// What Jupyter calls it.
    name: String,
    /// What Jupyter shows.
    display_name: String,
    /// The directory of its specification.
    path: String,
    /// The id of the environment that it runs in.
    environment: String,
    /// The store that the environment is in.
    store: String,
}

impl From<Kernel> for KernelDto {
    fn from(kernel: Kernel) -> Self {
        Self {
            name: kernel.name,
            display_name: kernel.display_name,
            path: kernel.path.display().to_string(),
            environment: kernel.environment,
            store: kernel.store.display().to_string(),
        }
    }
}

impl KernelDto {
    fn sample() -> Self {
        Self {
            name: "web".to_owned(),
            display_name: "web (ptest)".to_owned(),
            path: "/home/me/.local/share/jupyter/kernels/web".to_owned(),
            environment: "e00112233445566778899aabbccddeeff".to_owned(),
            store: "/home/me/.local/share/ptest".to_owned(),
        }
    }
}

impl From<Kernel> for KernelReport {
    fn from(kernel: Kernel) -> Self {
        Self {
            kernel: kernel.into(),
        }
    }
}

impl From<Vec<Kernel>> for KernelsReport {
    fn from(kernels: Vec<Kernel>) -> Self {
        Self {
            kernels: kernels.into_iter().map(KernelDto::from).collect(),
        }
    }
}

impl Report for KernelReport {
    const NAME: &'static str = "ptest.kernel";

    fn samples() -> Vec<Self> {
        vec![Self {
            kernel: KernelDto::sample(),
        }]
    }
}

impl Report for KernelsReport {
    const NAME: &'static str = "ptest.kernels";

    fn samples() -> Vec<Self> {
        vec![Self {
            kernels: vec![KernelDto::sample()],
        }]
    }
}
