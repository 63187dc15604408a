//! Reports of what became of many environments.

use serde::Serialize;

use super::environment::EnvironmentDto;
use super::{ErrorDto, Report};
use crate::error::CliError;

/// What `remove` writes.
#[derive(Debug, Serialize)]
pub(crate) struct RemovedReport {
    removed: Vec<String>,
    failed: Vec<FailedDto>,
}

#[derive(Debug, Serialize)]
struct FailedDto {
    environment: String,
    error: ErrorDto,
}

impl FailedDto {
    fn all(failed: &[(String, CliError)]) -> Vec<Self> {
        let failed = failed.iter().map(|(name, error)| Self {
            environment: name.clone(),
            error: error.into(),
        });
        failed.collect()
    }

    fn samples() -> Vec<Self> {
        let errors = ErrorDto::samples().into_iter();
        let failed = errors.map(|error| Self {
            environment: "db".to_owned(),
            error,
        });
        failed.collect()
    }
}

impl RemovedReport {
    pub(crate) fn new(removed: Vec<String>, failed: &[(String, CliError)]) -> Self {
        Self {
            removed,
            failed: FailedDto::all(failed),
        }
    }
}

/// What commands write that work on many environments at once: `create --count`, and `status`, `activate` and
/// `deactivate` of those that a selector names.
#[derive(Debug, Serialize)]
pub(crate) struct BulkReport {
    /// Those that it was done with.
    environments: Vec<EnvironmentDto>,
    /// Those that it failed with, and why.
    failed: Vec<FailedDto>,
}

impl BulkReport {
    pub(crate) fn new(
        environments: impl IntoIterator<Item: Into<EnvironmentDto>>,
        failed: &[(String, CliError)],
    ) -> Self {
        Self {
            environments: environments.into_iter().map(Into::into).collect(),
            failed: FailedDto::all(failed),
        }
    }
}

impl Report for BulkReport {
    const NAME: &'static str = "ptest.bulk";

    fn samples() -> Vec<Self> {
        vec![Self {
            environments: EnvironmentDto::samples(),
            failed: FailedDto::samples(),
        }]
    }
}

impl Report for RemovedReport {
    const NAME: &'static str = "ptest.removed";

    fn samples() -> Vec<Self> {
        vec![Self {
            removed: vec!["web".to_owned()],
            failed: FailedDto::samples(),
        }]
    }
}
