//! The report of `ptest doctor`.

use ptest::doctor::{Finding, Health};
use serde::Serialize;

use super::Report;

/// What `doctor` writes.
#[derive(Debug, Serialize)]
pub(crate) struct DoctorReport {
    pub(crate) findings: Vec<FindingDto>,
}

#[derive(Debug, Serialize)]
pub(crate) struct FindingDto {
    name: &'static str,
    /// `ok`, `degraded` or `missing`.
    state: &'static str,
    detail: String,
    hint: Option<String>,
}

impl From<&Finding> for FindingDto {
    fn from(finding: &Finding) -> Self {
        Self {
            name: finding.name,
            state: finding.health.as_str(),
            detail: finding.detail.clone(),
            hint: finding.hint.clone(),
        }
    }
}

impl Report for DoctorReport {
    const NAME: &'static str = "ptest.doctor";

    fn samples() -> Vec<Self> {
        let finding = |health, hint: Option<&str>| Finding {
            name: "overlay",
            health,
            detail: "a stack was mounted".to_owned(),
            hint: hint.map(str::to_owned),
        };
        vec![Self {
            findings: vec![
                (&finding(Health::Ok, None)).into(),
                (&finding(Health::Missing, Some("what to do"))).into(),
            ],
        }]
    }
}
