//! Reports of what is installed.

use ptest::{Package, PackageChange};
use serde::Serialize;

use super::Report;

/// What `packages` writes.
#[derive(Debug, Serialize)]
pub(crate) struct PackagesReport {
    environment: String,
    packages: Vec<PackageDto>,
}

#[derive(Debug, Serialize)]
struct PackageDto {
    /// Normalised.
    name: String,
    version: String,
    /// Asked for itself, not only needed by another.
    requested: bool,
    /// The project that it is an editable install of.
    editable: Option<String>,
    /// Installed by a command inside, not by ptest.
    foreign: bool,
}

impl PackagesReport {
    pub(crate) fn new(environment: &str, packages: Vec<Package>) -> Self {
        let packages = packages
            .into_iter()
            .map(
                |Package {
                     name,
                     version,
                     requested,
                     editable,
                     foreign,
                 }| PackageDto {
                    name,
                    version,
                    requested,
                    editable,
                    foreign,
                },
            )
            .collect();
        Self {
            environment: environment.to_owned(),
            packages,
        }
    }
}

impl Report for PackagesReport {
    const NAME: &'static str = "ptest.packages";

    fn samples() -> Vec<Self> {
        let package = |editable| Package {
            name: "requests".to_owned(),
            version: "2.28.1".to_owned(),
            requested: true,
            editable,
            foreign: false,
        };
        vec![Self::new(
            "web",
            vec![package(None), package(Some("/project".to_owned()))],
        )]
    }
}

/// What `install`, `uninstall` and `upgrade` write.
#[derive(Debug, Serialize)]
pub(crate) struct ChangesReport {
    environment: String,
    changes: Vec<ChangeDto>,
}

#[derive(Debug, Serialize)]
struct ChangeDto {
    /// Normalised.
    name: String,
    /// Null if it was not there.
    before: Option<String>,
    /// Null if it is not there any more.
    after: Option<String>,
}

impl ChangesReport {
    pub(crate) fn new(environment: &str, changes: Vec<PackageChange>) -> Self {
        let changes = changes
            .into_iter()
            .map(
                |PackageChange {
                     name,
                     before,
                     after,
                 }| ChangeDto {
                    name,
                    before,
                    after,
                },
            )
            .collect();
        Self {
            environment: environment.to_owned(),
            changes,
        }
    }
}

impl Report for ChangesReport {
    const NAME: &'static str = "ptest.changes";

    fn samples() -> Vec<Self> {
        let change = |before: Option<&str>, after: Option<&str>| PackageChange {
            name: "requests".to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        vec![Self::new(
            "web",
            vec![change(Some("1"), None), change(None, Some("2"))],
        )]
    }
}
