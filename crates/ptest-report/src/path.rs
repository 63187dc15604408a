//! The report of `ptest path`.

use ptest::HostView;
use serde::Serialize;

use crate::Report;

/// What `path` writes.
#[derive(Debug, Serialize)]
pub struct PathReport {
    /// The directory that looks like a virtual environment.
    path: String,
    /// Where its packages are.
    site_packages: String,
    /// Where the programs are that run in the environment.
    shims: String,
}

impl From<HostView> for PathReport {
    fn from(view: HostView) -> Self {
        Self {
            path: view.path.display().to_string(),
            site_packages: view.site_packages.display().to_string(),
            shims: view.shims.display().to_string(),
        }
    }
}

impl Report for PathReport {
    const NAME: &'static str = "ptest.path";

    fn samples() -> Vec<Self> {
        let path = "/var/lib/ptest/views/web";
        vec![Self {
            path: path.to_owned(),
            site_packages: format!("{path}/lib/python3.12/site-packages"),
            shims: format!("{path}/bin"),
        }]
    }
}
