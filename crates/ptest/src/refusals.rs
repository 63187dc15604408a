//! What an environment was refused beyond the hosts that it is allowed.
//!
//! Its proxy writes and this reads, at any time and in any process. Each refusal has a number, so that who has seen some
//! can take only the later ones. Each becomes an event once: whoever looks records those that are new, at the latest who
//! ends what runs there. Not for what decides about a refusal: that is the sandbox's.

use std::fs;
use std::io;
use std::path::Path;

pub use ptest_sandbox::proxy::{Reason as RefusalReason, Refusal};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::environment::{EnvironmentId, Record};
use crate::error::{Error, Result};
use crate::events::{self, About, Event};
use crate::ptest::Ptest;

/// How many refusals of an environment are events already.
pub(crate) const SCHEMA: &str =
    "ALTER TABLE environments ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0";

/// What was refused so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// How many times, since the environment was made.
    pub total: u64,
    /// The latest ones, oldest first. Older ones are forgotten when there are many.
    pub latest: Vec<Refusal>,
}

impl Refusals {
    /// Reads what a proxy has recorded. Without a record nothing was refused.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|source| Error::io(format!("read {}", path.display()), source))?,
        };
        // A line that a proxy was killed over is none.
        let latest: Vec<Refusal> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        Ok(Self {
            total: latest.last().map_or(0, |last| last.number),
            latest,
        })
    }

    /// Those after the first `seen` ones.
    #[must_use]
    pub fn after(mut self, seen: u64) -> Self {
        self.latest.retain(|refusal| refusal.number > seen);
        self.total = self.total.saturating_sub(seen);
        self
    }
}

impl Ptest {
    /// What an environment was refused so far; what is new of it is recorded as events.
    pub(crate) fn refusals_of(&self, record: &Record) -> Result<Refusals> {
        let engine = self.engine(&record.engine)?;
        let refusals = self.block_on(engine.refusals(&record.id))?;
        self.tell_refusals(record, &refusals)?;
        Ok(refusals)
    }

    /// The same before they are out of sight. That they cannot be told is no reason not to go on.
    pub(crate) fn note_refusals(&self, record: &Record) {
        if !record.settings.allow.is_empty() {
            let _ = self.refusals_of(record);
        }
    }

    fn tell_refusals(&self, record: &Record, refusals: &Refusals) -> Result<()> {
        let database = self.store().database();
        let are_told = |told: Option<u64>| told.is_none_or(|told| told >= refusals.total);
        if refusals.total == 0 || are_told(database.read(|it| told(it, &record.id))?) {
            return Ok(());
        }
        database.write(|transaction| {
            // Another process may have been faster.
            let Some(told) = told(transaction, &record.id)? else {
                return Ok(());
            };
            for refusal in refusals.latest.iter().filter(|it| it.number > told) {
                events::append(transaction, Some(About::from(record)), &refusal.into())?;
            }
            transaction
                .prepare_cached(
                    "UPDATE environments SET refusals = max(refusals, ?2) WHERE id = ?1",
                )?
                .execute(params![record.id.as_str(), refusals.total as i64])?;
            Ok(())
        })
    }
}

/// How many were recorded; `None` when the environment is gone.
fn told(connection: &Connection, id: &EnvironmentId) -> Result<Option<u64>> {
    Ok(connection
        .prepare_cached("SELECT refusals FROM environments WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get::<_, i64>(0))
        .optional()?
        .map(|number| number as u64))
}

impl From<&Refusal> for Event {
    fn from(refusal: &Refusal) -> Self {
        Self::HostRefused {
            host: refusal.host.clone(),
            port: refusal.port,
            reason: refusal.reason.as_str().to_owned(),
            address: refusal.address.map(|address| address.to_string()),
            at: refusal.time.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_cut_off_is_read_as_far_as_it_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("refusals");
        let line = |number| {
            format!(
                r#"{{"number":{number},"time":"2026-01-01T00:00:00.000Z","host":"a.example","port":443,"reason":"not_allowed","address":null}}"#
            )
        };
        fs::write(&path, format!("{}\n{}\n{{\"numb", line(7), line(8))).unwrap();
        let refusals = Refusals::read(&path).unwrap();
        assert_eq!((refusals.total, refusals.latest.len()), (8, 2));
        let later = refusals.after(7);
        assert_eq!((later.total, later.latest.len()), (1, 1));
        assert_eq!(later.latest[0].reason, RefusalReason::NotAllowed);
        let none = Refusals::read(&directory.path().join("none")).unwrap();
        assert_eq!(none, Refusals::default());
    }
}
