//! Reports of what became of many environments.

use serde::Serialize;

use crate::environment::EnvironmentDto;
use crate::{ErrorDto, Report};

/// What `remove` writes.
#[derive(Debug, Serialize)]
pub struct RemovedReport {
    removed: Vec<String>,
    failed: Vec<FailedDto>,
}

#[derive(Debug, Serialize)]
struct FailedDto {
    environment: String,
    error: ErrorDto,
}

impl FailedDto {
    fn all<E>(failed: &[(String, E)]) -> Vec<Self>
    where
        for<'a> ErrorDto: From<&'a E>,
    {
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
    /// What was removed, and what could not be.
    pub fn new<E>(removed: Vec<String>, failed: &[(String, E)]) -> Self
    where
        for<'a> ErrorDto: From<&'a E>,
    {
        Self {
            removed,
            failed: FailedDto::all(failed),
        }
    }
}

/// What commands write that work on many environments at once: `create --count`, and `status`, `activate` and
/// `deactivate` of those that a selector names.
#[derive(Debug, Serialize)]
pub struct BulkReport {
    /// Those that it was done with.
    environments: Vec<EnvironmentDto>,
    /// Those that it failed with, and why.
    failed: Vec<FailedDto>,
}

impl BulkReport {
    /// Those that it was done with, and those that it failed with.
    pub fn new<E>(
        environments: impl IntoIterator<Item: Into<EnvironmentDto>>,
        failed: &[(String, E)],
    ) -> Self
    where
        for<'a> ErrorDto: From<&'a E>,
    {
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
