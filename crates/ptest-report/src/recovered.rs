//! What `recover` writes.

use ptest::ThrownAway;
use ptest::environment::EnvironmentId;
use ptest::runs::RunId;
use serde::Serialize;

use crate::Report;
use crate::error::ErrorDto;

/// What was put right.
#[derive(Debug, Serialize)]
pub struct RecoveredReport {
    /// The ids of environments that were taken away.
    removed: Vec<String>,
    /// The ids of those that were brought to rest.
    settled: Vec<String>,
    /// Ports whose owner had died.
    released_ports: Vec<u16>,
    /// The ids of runs whose end nobody knows.
    lost_runs: Vec<String>,
    failed: Vec<FailedDto>,
    /// Trees that were thrown away and are not deleted yet.
    thrown_away: usize,
    thrown_away_bytes: u64,
}

#[derive(Debug, Serialize)]
struct FailedDto {
    environment: String,
    error: ErrorDto,
}

impl RecoveredReport {
    /// What opening put right, and what waits to be deleted.
    pub fn new<E>(
        removed: &[EnvironmentId],
        settled: &[EnvironmentId],
        released_ports: Vec<u16>,
        lost: &[RunId],
        failed: &[(EnvironmentId, E)],
        thrown_away: ThrownAway,
    ) -> Self
    where
        for<'a> ErrorDto: From<&'a E>,
    {
        let ids = |ids: &[EnvironmentId]| ids.iter().map(ToString::to_string).collect();
        let failed = failed.iter().map(|(id, error)| FailedDto {
            environment: id.to_string(),
            error: error.into(),
        });
        Self {
            removed: ids(removed),
            settled: ids(settled),
            released_ports,
            lost_runs: lost.iter().map(ToString::to_string).collect(),
            failed: failed.collect(),
            thrown_away: thrown_away.entries,
            thrown_away_bytes: thrown_away.bytes,
        }
    }
}

impl Report for RecoveredReport {
    const NAME: &'static str = "ptest.recovered";

    fn samples() -> Vec<Self> {
        let failed = ErrorDto::samples().into_iter().map(|error| FailedDto {
            environment: "e2".to_owned(),
            error,
        });
        vec![Self {
            removed: vec!["e0".to_owned()],
            settled: vec!["e1".to_owned()],
            released_ports: vec![20_000],
            lost_runs: vec!["r17".to_owned()],
            failed: failed.collect(),
            thrown_away: 1,
            thrown_away_bytes: 4096,
        }]
    }
}
