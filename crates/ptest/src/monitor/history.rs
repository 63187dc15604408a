//! The rows of history: for each environment what the seconds of an hour, the minutes of a day and the hours of a month had.

use std::time::Duration;

use ptest_store::Database;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::fold::{Folded, Folding, Share, Used};
use crate::engine::{Sample, Traffic};
use crate::environment::{EnvironmentId, Record};
use crate::error::Result;
use crate::events::{self, About};
use crate::json;
use crate::timestamp::Timestamp;

/// The schema of these tables. Sizes are bytes, `cpu` is microseconds, `covered` milliseconds; `memory` and `processes` are
/// sums over those, so that parts can be added.
pub(crate) const SCHEMA: &str = "
CREATE TABLE usage_history (
    environment TEXT NOT NULL,
    resolution INTEGER NOT NULL,
    start INTEGER NOT NULL,
    covered INTEGER NOT NULL,
    cpu INTEGER NOT NULL,
    memory REAL NOT NULL,
    memory_most INTEGER NOT NULL,
    processes REAL NOT NULL,
    processes_most INTEGER NOT NULL,
    read INTEGER NOT NULL,
    written INTEGER NOT NULL,
    received INTEGER,
    sent INTEGER,
    disk INTEGER,
    PRIMARY KEY (environment, resolution, start)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage_folded (
    environment TEXT PRIMARY KEY,
    folded TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// How fine history is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resolution {
    Second,
    Minute,
    Hour,
}

pub(super) const RESOLUTIONS: [Resolution; 3] =
    [Resolution::Second, Resolution::Minute, Resolution::Hour];

impl Resolution {
    pub(super) fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    pub(super) fn milliseconds(self) -> i64 {
        self.seconds() * 1_000
    }

    /// For how long it is kept, in milliseconds.
    pub(super) fn kept(self) -> i64 {
        const HOUR: i64 = 3_600_000;
        match self {
            Self::Second => HOUR,
            Self::Minute => 24 * HOUR,
            Self::Hour => 30 * 24 * HOUR,
        }
    }
}

/// One second, minute or hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(super) resolution: Resolution,
    /// How many of them after 1970.
    pub(super) start: i64,
}

/// What was used in a place, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Part {
    /// For how many milliseconds what was in use is known.
    pub(super) covered: i64,
    pub(super) cpu: Duration,
    /// Bytes times milliseconds.
    pub(super) memory: f64,
    pub(super) memory_most: u64,
    /// Processes times milliseconds.
    pub(super) processes: f64,
    pub(super) processes_most: u32,
    pub(super) read: u64,
    pub(super) written: u64,
    pub(super) traffic: Option<Traffic>,
    pub(super) disk: Option<u64>,
}

impl Part {
    /// What a share of the time had that a sample tells of.
    pub(super) fn of(sample: &Sample, used: &Used, share: Share) -> Self {
        let micros = u64::try_from(used.cpu.as_micros()).unwrap_or(u64::MAX);
        Self {
            cpu: Duration::from_micros(share.amount(micros)),
            read: share.amount(used.read),
            written: share.amount(used.written),
            traffic: used.traffic.map(|traffic| Traffic {
                received: share.amount(traffic.received),
                sent: share.amount(traffic.sent),
            }),
            ..Self::held(sample, share)
        }
    }

    /// What a share of the time had in which all stayed as a sample says.
    pub(super) fn held(sample: &Sample, share: Share) -> Self {
        let milliseconds = share.milliseconds();
        Self {
            covered: milliseconds,
            memory: sample.memory as f64 * milliseconds as f64,
            memory_most: sample.memory,
            processes: f64::from(sample.processes) * milliseconds as f64,
            processes_most: sample.processes,
            ..Self::default()
        }
    }

    /// Adds what was used in another part of the same place, later than this.
    pub(super) fn add(&mut self, other: &Self) {
        self.covered += other.covered;
        self.cpu += other.cpu;
        self.memory += other.memory;
        self.memory_most = self.memory_most.max(other.memory_most);
        self.processes += other.processes;
        self.processes_most = self.processes_most.max(other.processes_most);
        self.read += other.read;
        self.written += other.written;
        self.traffic = sum(self.traffic, other.traffic);
        self.disk = other.disk.or(self.disk);
    }

    pub(super) fn mean_memory(&self) -> f64 {
        self.memory / self.covered.max(1) as f64
    }

    pub(super) fn mean_processes(&self) -> f64 {
        self.processes / self.covered.max(1) as f64
    }
}

/// What an environment has used since it was made, as far as it was folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// CPU time.
    pub cpu: Duration,
    /// The most memory that it held, in bytes.
    pub memory_peak: u64,
    /// Bytes read from disks.
    pub read: u64,
    /// Bytes written to disks.
    pub written: u64,
    /// What went through the network, where it was its own.
    pub traffic: Option<Traffic>,
}

impl Totals {
    pub(super) fn add(&mut self, used: &Used, sample: &Sample) {
        self.cpu += used.cpu;
        self.memory_peak = self.memory_peak.max(sample.memory_peak).max(sample.memory);
        self.read += used.read;
        self.written += used.written;
        self.traffic = sum(self.traffic, used.traffic);
    }
}

fn sum(one: Option<Traffic>, other: Option<Traffic>) -> Option<Traffic> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Traffic {
            received: one.received + other.received,
            sent: one.sent + other.sent,
        }),
        (one, other) => one.or(other),
    }
}

/// Up to where an environment's samples are folded, with the text that [`store`] compares.
pub(super) fn folded(database: &Database, id: &EnvironmentId) -> Result<Option<(String, Folded)>> {
    let text: Option<String> = database.read::<_, crate::error::Error>(|connection| {
        Ok(connection
            .prepare_cached("SELECT folded FROM usage_folded WHERE environment = ?1")?
            .query_row([id.as_str()], |row| row.get(0))
            .optional()?)
    })?;
    // What an older form was is begun anew.
    Ok(text.and_then(|text| {
        let folded = serde_json::from_str(&text).ok()?;
        Some((text, folded))
    }))
}

/// Adds what was folded to an environment's history, and tells what is to be told; `false` when somebody else has folded meanwhile, or the environment is gone.
pub(super) fn store(
    database: &Database,
    record: &Record,
    before: Option<&str>,
    folding: &Folding,
) -> Result<bool> {
    let id = &record.id;
    let after = json::text(&folding.folded)?;
    let now = Timestamp::now().as_millisecond();
    database.write(|transaction| {
        let is_ours: bool = transaction
            .prepare_cached(
                "INSERT INTO usage_folded (environment, folded) SELECT ?1, ?3 \
                 WHERE EXISTS (SELECT 1 FROM environments WHERE id = ?1) \
                 ON CONFLICT (environment) DO UPDATE SET folded = excluded.folded WHERE folded IS ?2",
            )?
            .execute(params![id.as_str(), before, after])?
            == 1;
        if !is_ours {
            return Ok(false);
        }
        for (place, part) in &folding.parts {
            // The end of what would be dropped at once.
            if (place.start + 1) * place.resolution.milliseconds() > now - place.resolution.kept() {
                insert(transaction, id, *place, part)?;
            }
        }
        if !folding.parts.is_empty() {
            prune(transaction, id, now)?;
        }
        for event in &folding.told {
            events::append(transaction, Some(About::from(record)), event)?;
        }
        Ok(true)
    })
}

fn insert(connection: &Connection, id: &EnvironmentId, place: Place, part: &Part) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO usage_history (environment, resolution, start, covered, cpu, memory, memory_most, \
             processes, processes_most, read, written, received, sent, disk) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
             ON CONFLICT (environment, resolution, start) DO UPDATE SET covered = covered + excluded.covered, \
             cpu = cpu + excluded.cpu, memory = memory + excluded.memory, \
             memory_most = max(memory_most, excluded.memory_most), processes = processes + excluded.processes, \
             processes_most = max(processes_most, excluded.processes_most), read = read + excluded.read, \
             written = written + excluded.written, \
             received = coalesce(received + excluded.received, excluded.received, received), \
             sent = coalesce(sent + excluded.sent, excluded.sent, sent), disk = coalesce(excluded.disk, disk)",
        )?
        .execute(params![
            id.as_str(),
            place.resolution.seconds(),
            place.start,
            part.covered,
            i64::try_from(part.cpu.as_micros()).unwrap_or(i64::MAX),
            part.memory,
            signed(part.memory_most),
            part.processes,
            part.processes_most,
            signed(part.read),
            signed(part.written),
            part.traffic.map(|traffic| signed(traffic.received)),
            part.traffic.map(|traffic| signed(traffic.sent)),
            part.disk.map(signed),
        ])?;
    Ok(())
}

/// Drops what is older than it is kept, and what a clock that went wrong has put as far into the future.
fn prune(connection: &Connection, id: &EnvironmentId, now: i64) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM usage_history WHERE environment = ?1 AND resolution = ?2 AND (start < ?3 OR start > ?4)",
    )?;
    for resolution in RESOLUTIONS {
        let (width, kept) = (resolution.milliseconds(), resolution.kept());
        let oldest = (now - kept).div_euclid(width);
        let newest = (now + kept).div_euclid(width);
        statement.execute(params![id.as_str(), resolution.seconds(), oldest, newest])?;
    }
    Ok(())
}

/// The history of an environment from one place to another, both included, oldest first.
pub(super) fn parts(
    database: &Database,
    id: &EnvironmentId,
    resolution: Resolution,
    from: i64,
    to: i64,
) -> Result<Vec<(i64, Part)>> {
    database.read(|connection| {
        Ok(connection
            .prepare_cached(
                "SELECT start, covered, cpu, memory, memory_most, processes, processes_most, read, written, \
                 received, sent, disk FROM usage_history \
                 WHERE environment = ?1 AND resolution = ?2 AND start BETWEEN ?3 AND ?4 ORDER BY start",
            )?
            .query_map(params![id.as_str(), resolution.seconds(), from, to], |row| {
                let size = |index| {
                    let size: Option<i64> = row.get(index)?;
                    Ok::<_, rusqlite::Error>(size.map(i64::cast_unsigned))
                };
                let part = Part {
                    covered: row.get(1)?,
                    cpu: Duration::from_micros(size(2)?.unwrap_or_default()),
                    memory: row.get(3)?,
                    memory_most: size(4)?.unwrap_or_default(),
                    processes: row.get(5)?,
                    processes_most: row.get(6)?,
                    read: size(7)?.unwrap_or_default(),
                    written: size(8)?.unwrap_or_default(),
                    traffic: size(9)?.zip(size(10)?).map(|(received, sent)| Traffic { received, sent }),
                    disk: size(11)?,
                };
                Ok((row.get(0)?, part))
            })?
            .collect::<rusqlite::Result<_>>()?)
    })
}

/// Forgets an environment, in a transaction of the caller's.
pub(crate) fn forget(transaction: &Connection, id: &EnvironmentId) -> Result<()> {
    for sql in [
        "DELETE FROM usage_history WHERE environment = ?1",
        "DELETE FROM usage_folded WHERE environment = ?1",
    ] {
        transaction.prepare_cached(sql)?.execute([id.as_str()])?;
    }
    Ok(())
}

/// A size as SQLite has it: no disk holds more.
fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
