//! Environments that live for a time, or for as long as they are used.
//!
//! While one is active its init ends it by its own clock; the row says when the rest of it goes, at the next opening of the
//! store or with `ptest recover`. By the clock of the machine: one that is put back lets it live longer, never shorter
//! than it was told.

use std::time::Duration;

use rusqlite::{Connection, params};

use crate::environment::table::{self, Record};
use crate::environment::{EnvironmentId, State};
use crate::error::Result;
use crate::events::Cause;
use crate::lock::FileLock;
use crate::ptest::Ptest;
use crate::settings::Settings;
use crate::timestamp::Timestamp;

/// When an environment ends, and since when how long without use is too long, in milliseconds.
pub(crate) const SCHEMA: &str = "
ALTER TABLE environments ADD COLUMN ends_at INTEGER;
ALTER TABLE environments ADD COLUMN idle INTEGER;
ALTER TABLE environments ADD COLUMN used_at INTEGER;
CREATE INDEX environments_mortal ON environments (id)
    WHERE ends_at IS NOT NULL OR idle IS NOT NULL;
";

const IS_OVER: &str =
    "(ends_at IS NOT NULL OR idle IS NOT NULL) AND (ends_at <= ?1 OR used_at + idle <= ?1)";

/// How much longer an environment may be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remaining {
    /// Whether it is used or not, if it has an end.
    pub(crate) alive: Option<Duration>,
    /// If it is not used, if that is an end.
    pub(crate) idle: Option<Duration>,
}

/// Says in the transaction that makes a row how long its environment lives.
pub(crate) fn set(
    transaction: &Connection,
    id: &EnvironmentId,
    settings: &Settings,
    from: Timestamp,
) -> Result<()> {
    if settings.ttl.is_none() && settings.idle.is_none() {
        return Ok(());
    }
    change(transaction, id, settings, from, from)
}

/// Says in the transaction that changes its settings how long an environment lives, which is there
/// since `from` and was used at `used`.
pub(crate) fn change(
    transaction: &Connection,
    id: &EnvironmentId,
    settings: &Settings,
    from: Timestamp,
    used: Timestamp,
) -> Result<()> {
    let idle = settings
        .idle
        .map(|idle| i64::try_from(idle.as_millis()).unwrap_or(i64::MAX / 2));
    transaction
        .prepare_cached(
            "UPDATE environments SET ends_at = ?2, idle = ?3, used_at = ?4 WHERE id = ?1",
        )?
        .execute(params![
            id.as_str(),
            settings.ttl.map(|ttl| from.after(ttl).as_millisecond()),
            idle,
            used.as_millisecond(),
        ])?;
    Ok(())
}

/// Whether the time of an environment is over.
fn is_over(connection: &Connection, id: &EnvironmentId, now: Timestamp) -> Result<bool> {
    let sql = format!("SELECT 1 FROM environments WHERE {IS_OVER} AND id = ?2");
    let mut select = connection.prepare_cached(&sql)?;
    Ok(select.exists(params![now.as_millisecond(), id.as_str()])?)
}

impl Ptest {
    /// Says that an environment is used, if that makes a difference.
    pub(crate) fn touch(&self, record: &Record) -> Result<()> {
        if record.settings.idle.is_none() {
            return Ok(());
        }
        self.store().database().write(|transaction| {
            transaction
                .prepare_cached("UPDATE environments SET used_at = ?2 WHERE id = ?1")?
                .execute(params![
                    record.id.as_str(),
                    Timestamp::now().as_millisecond()
                ])?;
            Ok(())
        })
    }

    /// How much longer an environment may be there.
    pub(crate) fn remaining(&self, id: &EnvironmentId) -> Result<Remaining> {
        let now = Timestamp::now();
        let left = |end: Option<i64>| end.map(|end| now.until(Timestamp::from_millisecond(end)));
        self.store().database().read(|connection| {
            let sql = "SELECT ends_at, used_at + idle FROM environments WHERE id = ?1";
            let mut select = connection.prepare_cached(sql)?;
            let remaining = select.query_row([id.as_str()], |row| {
                Ok(Remaining {
                    alive: left(row.get(0)?),
                    idle: left(row.get(1)?),
                })
            });
            Ok(remaining?)
        })
    }

    /// The environments whose time is over.
    pub(crate) fn expired(&self) -> Result<Vec<EnvironmentId>> {
        self.store().database().read(|connection| {
            let sql = format!("SELECT id FROM environments WHERE {IS_OVER}");
            let mut select = connection.prepare_cached(&sql)?;
            let ids = select.query_map([Timestamp::now().as_millisecond()], |row| {
                table::parsed(row, 0)
            })?;
            Ok(ids.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Takes an environment away whose time is over; says whether it did. One that something still runs in is used.
    pub(crate) fn expire(&self, id: &EnvironmentId) -> Result<bool> {
        // Whoever holds the lock uses it.
        let Some(lock) = FileLock::try_acquire(&self.lock_path(id))? else {
            return Ok(false);
        };
        let database = self.store().database();
        let now = Timestamp::now();
        if !database.read(|connection| is_over(connection, id, now))? {
            return Ok(false);
        }
        let Some(record) = table::by_id(database, id)? else {
            lock.discard()?;
            return Ok(false);
        };
        let remaining = self.remaining(id)?;
        let is_at_its_end = remaining.alive.is_some_and(|left| left.is_zero());
        if !is_at_its_end && record.state == State::Active {
            let engine = self.engine(&record.engine)?;
            if self.block_on(engine.usage(id))?.processes > 0 {
                self.touch(&record)?;
                return Ok(false);
            }
        }
        self.take_away(&record, Cause::Expired, lock)?;
        Ok(true)
    }
}
