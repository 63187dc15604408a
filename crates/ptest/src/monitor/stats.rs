//! History as those want it who look at it: points of time, and totals.

use std::time::Duration;

use super::fold::{self, Folded};
use super::history::{self, Part, Resolution, Totals};
use crate::engine::{Samples, Traffic};
use crate::environment::table::Record;
use crate::environment::{Environment, State};
use crate::error::Result;
use crate::ptest::Ptest;
use crate::timestamp::Timestamp;

/// How often folding begins again when others fold the same environment.
const TRIES: usize = 8;

/// What an environment has used over a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// When the time begins.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
    /// How long each point is.
    pub resolution: Duration,
    /// Those of which something is known, oldest first. Where nothing ran there is none.
    pub points: Vec<Point>,
    /// What was used since the environment was made.
    pub totals: Totals,
}

/// What was used in a second, a minute or an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it begins.
    pub time: Timestamp,
    /// How many processors were busy, on average.
    pub cpus: f64,
    /// Memory in use, on average, in bytes.
    pub memory: u64,
    /// The most that was seen.
    pub memory_most: u64,
    /// Processes, on average.
    pub processes: f64,
    /// The most that were seen.
    pub processes_most: u32,
    /// Bytes read from disks.
    pub read: u64,
    /// Bytes written to disks.
    pub written: u64,
    /// What went through the network, where it is the environment's own.
    pub traffic: Option<Traffic>,
    /// What commands wrote took on disk at the end, where it was counted.
    pub disk: Option<u64>,
}

impl Environment {
    /// What it has used lately: by seconds for up to an hour, by minutes for up to a day, else by hours for up to a month.
    pub fn stats(&self, since: Duration) -> Result<Stats> {
        let record = self.record()?;
        let folded = self.ptest.fold(&record)?;
        let now = Timestamp::now();
        let since = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let resolution = [Resolution::Second, Resolution::Minute]
            .into_iter()
            .find(|resolution| since <= resolution.kept())
            .unwrap_or(Resolution::Hour);
        let width = resolution.milliseconds();
        let from = now
            .as_millisecond()
            .saturating_sub(since.min(resolution.kept()));
        let (first, end) = (
            from.div_euclid(width),
            now.as_millisecond().div_euclid(width),
        );
        let database = self.ptest.store().database();
        let mut parts = history::parts(database, self.id(), resolution, first, end)?;
        if resolution == Resolution::Second {
            let goes_on = record.state == State::Active;
            parts = filled(parts, goes_on.then_some(end));
        }
        let point = |(start, part): (i64, Part)| {
            let time = Timestamp::from_millisecond(start * width);
            // The last is not over.
            let elapsed = (now.as_millisecond() - start * width).clamp(1_000, width);
            point(time, elapsed, &part)
        };
        Ok(Stats {
            from: Timestamp::from_millisecond(first * width),
            to: now,
            resolution: Duration::from_millis(width.unsigned_abs()),
            points: parts.into_iter().map(point).collect(),
            totals: self.ptest.totals(&record, folded.as_ref())?,
        })
    }

    /// What it has used since it was made.
    pub fn totals(&self) -> Result<Totals> {
        let record = self.record()?;
        let folded = self.ptest.fold(&record)?;
        self.ptest.totals(&record, folded.as_ref())
    }
}

impl Ptest {
    /// Takes what is new of an environment's samples into its history. Any number of processes may do so at once.
    pub(crate) fn fold(&self, record: &Record) -> Result<Option<Folded>> {
        self.fold_with(record, |_| None)
    }

    /// The same of one that is at rest: what still ran when its init was killed has ended.
    pub(crate) fn fold_to_the_end(&self, record: &Record) -> Result<()> {
        self.fold(record)?;
        self.fold_with(record, fold::end).map(drop)
    }

    /// What was folded, and what an active environment has used since its last sample.
    fn totals(&self, record: &Record, folded: Option<&Folded>) -> Result<Totals> {
        let mut totals = folded.map_or_else(Totals::default, |folded| folded.totals);
        if record.state == State::Active {
            let engine = self.engine(&record.engine)?;
            let usage = self.block_on(engine.usage(&record.id))?;
            // A sample of another activation says nothing of this one.
            let last = folded
                .map(|folded| folded.last)
                .filter(|last| record.activated_at.is_some_and(|begin| last.time >= begin));
            fold::add_usage(&mut totals, last.as_ref(), &usage);
        }
        Ok(totals)
    }

    fn fold_with(
        &self,
        record: &Record,
        more: impl Fn(&Folded) -> Option<Samples>,
    ) -> Result<Option<Folded>> {
        let database = self.store().database();
        let engine = self.engine(&record.engine)?;
        let mut before = history::folded(database, &record.id)?;
        let alerts = &record.settings.alerts;
        for _ in 0..TRIES {
            let folded = before.as_ref().map(|(_, folded)| folded);
            let samples = match folded.and_then(&more) {
                Some(more) => more,
                None => self.block_on(engine.samples(&record.id, folded.map(Folded::seen)))?,
            };
            let waited = || fold::wait(folded?, alerts, Timestamp::now());
            let Some(folding) = fold::fold(folded, &samples, alerts).or_else(waited) else {
                break;
            };
            let text = before.as_ref().map(|(text, _)| text.as_str());
            if history::store(database, record, text, &folding)? {
                return Ok(Some(folding.folded));
            }
            before = history::folded(database, &record.id)?;
        }
        Ok(before.map(|(_, folded)| folded))
    }
}

fn point(time: Timestamp, elapsed: i64, part: &Part) -> Point {
    Point {
        time,
        cpus: part.cpu.as_secs_f64() * 1_000.0 / elapsed as f64,
        memory: part.mean_memory() as u64,
        memory_most: part.memory_most,
        processes: part.mean_processes(),
        processes_most: part.processes_most,
        read: part.read,
        written: part.written,
        traffic: part.traffic,
        disk: part.disk,
    }
}

/// The same with the seconds in which something ran and did nothing: what was in use stayed so.
fn filled(parts: Vec<(i64, Part)>, until: Option<i64>) -> Vec<(i64, Part)> {
    let mut all: Vec<(i64, Part)> = Vec::new();
    let end = until.map(|until| (until + 1, Part::default()));
    let is_end = end.is_some();
    for next in parts.into_iter().chain(end) {
        if let Some((start, last)) = all.last().copied() {
            let held = Part {
                cpu: Duration::ZERO,
                read: 0,
                written: 0,
                traffic: last.traffic.map(|_| Traffic::default()),
                memory_most: last.mean_memory() as u64,
                processes_most: last.mean_processes().round() as u32,
                ..last
            };
            let is_busy = last.mean_processes() >= 0.5;
            let gap = (start + 1..next.0).filter(|_| is_busy);
            all.extend(gap.map(|start| (start, held)));
        }
        all.push(next);
    }
    if is_end {
        all.pop();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(memory: u64, processes: u32) -> Part {
        Part {
            covered: 1_000,
            memory: memory as f64 * 1_000.0,
            memory_most: memory * 2,
            processes: f64::from(processes) * 1_000.0,
            read: 7,
            ..Part::default()
        }
    }

    #[test]
    fn seconds_without_a_record_are_as_the_one_before_while_something_runs() {
        let parts = vec![(10, part(100, 1)), (13, part(200, 0)), (20, part(300, 2))];
        let found = filled(parts, Some(22));
        let starts: Vec<i64> = found.iter().map(|(start, _)| *start).collect();
        assert_eq!(starts, [10, 11, 12, 13, 20, 21, 22]);
        assert_eq!((found[1].1.memory_most, found[1].1.read), (100, 0));
        assert_eq!(found[6].1.memory_most, 300);
        let found = filled(vec![(20, part(300, 2))], None);
        assert_eq!(found.len(), 1);
    }
}
