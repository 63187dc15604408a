//! Environments that live for a time, or for as long as they are used.
//!
//! While one is active its init ends it by its own clock; the row says when the rest of it goes, at the next opening of the
//! store or with `ptest recover`. By the clock of the machine: one that is put back lets it live longer, never shorter
//! than it was told.

use rusqlite::{Connection, params};

use crate::environment::table::{self, Record};
use crate::environment::{EnvironmentId, State};
use crate::error::Result;
use crate::events::Cause;
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

/// Says in a transaction that an environment is used, if that makes a difference.
pub(crate) fn touch(transaction: &Connection, id: &EnvironmentId) -> Result<()> {
    transaction
        .prepare_cached("UPDATE environments SET used_at = ?2 WHERE id = ?1 AND idle IS NOT NULL")?
        .execute(params![id.as_str(), Timestamp::now().as_millisecond()])?;
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
        let database = self.store().database();
        database.write(|transaction| touch(transaction, &record.id))
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
        let Some(lock) = self.locks().try_acquire(id.as_str())? else {
            return Ok(false);
        };
        let database = self.store().database();
        let now = Timestamp::now();
        if !database.read(|connection| is_over(connection, id, now))? {
            return Ok(false);
        }
        let Some(record) = table::by_id(database, id)? else {
            return Ok(false);
        };
        let is_at_its_end = record.ends_at().is_some_and(|end| end <= now);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::run::Run;
    use crate::test_support::{open, spec};

    #[test]
    fn an_environment_is_used_until_its_command_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let ptest = open(&directory.path().join("store"));
        let mut spec = spec(directory.path());
        spec.settings.idle = Some(Duration::from_hours(1));
        let environment = ptest.create(&spec, &crate::progress::Silent).unwrap();
        let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let done = environment.run(Run::new(["sh", "-c", script])).unwrap();
        done.ended.unwrap();
        let used: i64 = ptest
            .store()
            .database()
            .read::<_, crate::Error>(|connection| {
                let sql = "SELECT used_at FROM environments";
                Ok(connection.query_row(sql, [], |row| row.get(0))?)
            })
            .unwrap();
        let run = environment.runs(1).unwrap().remove(0);
        let ended = run.ended_at.unwrap();
        assert!(run.started_at < ended);
        assert!(used >= ended.as_millisecond());
        environment.remove().unwrap();
    }
}
