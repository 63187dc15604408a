//! Reports of what is installed.

use ptest::{Package, PackageChange, Problem, Verification};
use serde::Serialize;

use crate::Report;

/// What `packages` writes.
#[derive(Debug, Serialize)]
pub struct PackagesReport {
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
    /// What is installed in an environment.
    pub fn new(environment: &str, packages: Vec<Package>) -> Self {
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
pub struct ChangesReport {
    environment: String,
    changes: Vec<ChangeDto>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ChangeDto {
    /// Normalised.
    name: String,
    /// Null if it was not there.
    before: Option<String>,
    /// Null if it is not there any more.
    after: Option<String>,
}

impl From<PackageChange> for ChangeDto {
    fn from(change: PackageChange) -> Self {
        let PackageChange {
            name,
            before,
            after,
        } = change;
        Self {
            name,
            before,
            after,
        }
    }
}

impl ChangesReport {
    /// What an operation changed in an environment.
    pub fn new(environment: &str, changes: Vec<PackageChange>) -> Self {
        Self {
            environment: environment.to_owned(),
            changes: changes.into_iter().map(Into::into).collect(),
        }
    }
}

impl Report for ChangesReport {
    const NAME: &'static str = "ptest.changes";

    fn samples() -> Vec<Self> {
        vec![Self::new("web", change_samples())]
    }
}

/// Changes that together show every field both filled and empty.
pub(crate) fn change_samples() -> Vec<PackageChange> {
    let change = |before: Option<&str>, after: Option<&str>| PackageChange {
        name: "requests".to_owned(),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
    };
    vec![change(Some("1"), None), change(None, Some("2"))]
}

/// What `verify` writes.
#[derive(Debug, Serialize)]
pub struct VerificationReport {
    environment: String,
    /// Whether there is no problem.
    whole: bool,
    packages: usize,
    files: usize,
    problems: Vec<ProblemDto>,
}

#[derive(Debug, Serialize)]
struct ProblemDto {
    /// The package that it belongs to.
    package: Option<String>,
    /// Relative to the environment.
    path: Option<String>,
    detail: String,
}

impl VerificationReport {
    /// What a check of an environment found.
    pub fn new(environment: &str, verification: Verification) -> Self {
        let Verification {
            packages,
            files,
            problems,
        } = verification;
        Self {
            environment: environment.to_owned(),
            whole: problems.is_empty(),
            packages,
            files,
            problems: problems
                .into_iter()
                .map(
                    |Problem {
                         package,
                         path,
                         detail,
                     }| ProblemDto {
                        package,
                        path: path.map(|path| path.display().to_string()),
                        detail,
                    },
                )
                .collect(),
        }
    }
}

impl Report for VerificationReport {
    const NAME: &'static str = "ptest.verification";

    fn samples() -> Vec<Self> {
        let bare = Problem {
            package: None,
            path: None,
            detail: "the interpreter is gone".to_owned(),
        };
        let full = Problem {
            package: Some("requests".to_owned()),
            path: Some("lib/python3.12/site-packages/requests/api.py".into()),
            ..bare.clone()
        };
        vec![Self::new(
            "web",
            Verification {
                packages: 1,
                files: 2,
                problems: vec![bare, full],
            },
        )]
    }
}
