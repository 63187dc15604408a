//! The report of `ptest stats`.

use ptest::monitor::{Point, Stats};
use serde::Serialize;

use crate::Report;
use crate::environment::TotalsDto;

/// What `stats` writes.
#[derive(Debug, Serialize)]
pub struct StatsReport {
    /// The environment's name, or its id.
    environment: String,
    from: String,
    to: String,
    /// How long each point is.
    resolution_seconds: f64,
    /// Oldest first. Where nothing ran there is none.
    points: Vec<PointDto>,
    totals: TotalsDto,
}

/// What was used in one second, minute or hour.
#[derive(Debug, Serialize)]
struct PointDto {
    /// When it begins.
    time: String,
    /// How many processors were busy, on average.
    cpus: f64,
    /// On average.
    memory_bytes: u64,
    memory_most_bytes: u64,
    /// On average.
    processes: f64,
    processes_most: u32,
    /// Read from disks.
    read_bytes: u64,
    /// Written to disks.
    written_bytes: u64,
    /// What arrived through the network, where that is the environment's own.
    network_received_bytes: Option<u64>,
    /// What was sent through it.
    network_sent_bytes: Option<u64>,
    /// What was written in the environment took at the end, where that is limited.
    disk_bytes: Option<u64>,
}

impl StatsReport {
    /// What an environment used.
    pub fn new(environment: &str, stats: &Stats) -> Self {
        Self {
            environment: environment.to_owned(),
            from: stats.from.to_string(),
            to: stats.to.to_string(),
            resolution_seconds: stats.resolution.as_secs_f64(),
            points: stats.points.iter().map(Into::into).collect(),
            totals: stats.totals.into(),
        }
    }

    /// The points as comma-separated values, with a header: what is not known is empty.
    pub fn csv(&self) -> String {
        let mut text = "time,cpus,memory_bytes,memory_most_bytes,processes,processes_most,read_bytes,written_bytes,\
                        network_received_bytes,network_sent_bytes,disk_bytes\n"
            .to_owned();
        for point in &self.points {
            let known =
                |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
            let fields = [
                point.time.clone(),
                point.cpus.to_string(),
                point.memory_bytes.to_string(),
                point.memory_most_bytes.to_string(),
                point.processes.to_string(),
                point.processes_most.to_string(),
                point.read_bytes.to_string(),
                point.written_bytes.to_string(),
                known(point.network_received_bytes),
                known(point.network_sent_bytes),
                known(point.disk_bytes),
            ];
            text += &fields.join(",");
            text.push('\n');
        }
        text
    }
}

impl From<&Point> for PointDto {
    fn from(point: &Point) -> Self {
        Self {
            time: point.time.to_string(),
            cpus: rounded(point.cpus),
            memory_bytes: point.memory,
            memory_most_bytes: point.memory_most,
            processes: rounded(point.processes),
            processes_most: point.processes_most,
            read_bytes: point.read,
            written_bytes: point.written,
            network_received_bytes: point.traffic.map(|traffic| traffic.received),
            network_sent_bytes: point.traffic.map(|traffic| traffic.sent),
            disk_bytes: point.disk,
        }
    }
}

/// To four places: what is measured is no more exact.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

impl Report for StatsReport {
    const NAME: &'static str = "ptest.stats";

    fn samples() -> Vec<Self> {
        let bare = || PointDto {
            time: "2026-01-01T00:00:00.000Z".to_owned(),
            cpus: 0.5,
            memory_bytes: 1,
            memory_most_bytes: 1,
            processes: 0.5,
            processes_most: 1,
            read_bytes: 1,
            written_bytes: 1,
            network_received_bytes: None,
            network_sent_bytes: None,
            disk_bytes: None,
        };
        let full = || PointDto {
            network_received_bytes: Some(1),
            network_sent_bytes: Some(1),
            disk_bytes: Some(1),
            ..bare()
        };
        let of = |totals| Self {
            environment: "web".to_owned(),
            from: "2026-01-01T00:00:00.000Z".to_owned(),
            to: "2026-01-01T00:10:00.000Z".to_owned(),
            resolution_seconds: 1.5,
            points: vec![bare(), full()],
            totals,
        };
        TotalsDto::samples().into_iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_known_are_empty_fields() {
        let text = StatsReport::samples()[0].csv();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], "2026-01-01T00:00:00.000Z,0.5,1,1,0.5,1,1,1,,,");
        assert_eq!(lines[2], "2026-01-01T00:00:00.000Z,0.5,1,1,0.5,1,1,1,1,1,1");
        assert_eq!(lines[0].split(',').count(), 11);
    }
}
