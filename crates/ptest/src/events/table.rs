//! The rows of events: one for each, never changed, deleted only when there are too many or they are too old.

use ptest_store::Database;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Event, EventFilter, Recorded, Retention};
use crate::environment::EnvironmentId;
use crate::environment::table::{Record, from_json, parsed};
use crate::error::Result;
use crate::json;
use crate::operation;
use crate::timestamp::Timestamp;

/// The schema of this table. `AUTOINCREMENT`, so that the number of a deleted event never comes again.
pub(crate) const SCHEMA: &str = "
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    environment TEXT,
    label TEXT,
    operation TEXT,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
";

/// The event whose hook something was done by.
pub(crate) const CAUSES: &str = "ALTER TABLE events ADD COLUMN caused_by INTEGER;";

const COLUMNS: &str = "sequence, time, environment, label, operation, caused_by, body";
/// How many rows are deleted at once: others want to write too.
const BATCH: u32 = 5_000;

/// The environment that an event is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) id: &'a EnvironmentId,
    pub(crate) label: &'a str,
}

impl<'a> From<&'a Record> for About<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            id: &record.id,
            label: record.label(),
        }
    }
}

/// Records an event in the transaction of what happened; returns its number.
pub(crate) fn append(
    transaction: &Connection,
    about: Option<About<'_>>,
    event: &Event,
) -> Result<i64> {
    append_caused(transaction, about, event, operation::cause())
}

/// Records an event that another one caused, if one did.
pub(crate) fn append_caused(
    transaction: &Connection,
    about: Option<About<'_>>,
    event: &Event,
    caused_by: Option<i64>,
) -> Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO events (time, environment, label, operation, caused_by, kind, body) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            Timestamp::now().as_millisecond(),
            about.map(|about| about.id.as_str()),
            about.map(|about| about.label),
            operation::current().map(|id| id.to_string()),
            caused_by,
            event.word(),
            json::text(event)?,
        ])?;
    Ok(transaction.last_insert_rowid())
}

/// The number of the last event, 0 before the first.
pub(crate) fn last(connection: &Connection) -> Result<i64> {
    let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))?)
}

/// The latest events that are asked for, oldest first.
pub(super) fn latest(
    connection: &Connection,
    filter: &EventFilter,
    most: usize,
) -> Result<Vec<Recorded>> {
    let mut found = select(connection, filter, "DESC", most)?;
    found.reverse();
    Ok(found)
}

/// The earliest events that are asked for.
pub(crate) fn earliest(
    connection: &Connection,
    filter: &EventFilter,
    most: usize,
) -> Result<Vec<Recorded>> {
    select(connection, filter, "ASC", most)
}

fn select(
    connection: &Connection,
    filter: &EventFilter,
    order: &str,
    most: usize,
) -> Result<Vec<Recorded>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE sequence > ?1 \
         AND (?2 IS NULL OR label IN (SELECT value FROM json_each(?2)) \
              OR environment IN (SELECT value FROM json_each(?2))) \
         AND (?3 IS NULL OR time >= ?3) \
         AND (?4 IS NULL OR kind IN (SELECT value FROM json_each(?4)) \
              OR json_extract(body, '$.event') IN (SELECT value FROM json_each(?4))) \
         ORDER BY sequence {order} LIMIT ?5"
    );
    let list = |texts: &[String]| match texts {
        [] => Ok(None),
        texts => json::text(&texts).map(Some),
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        params![
            filter.after.unwrap_or_default(),
            list(&filter.environments)?,
            filter.since.map(Timestamp::as_millisecond),
            list(&filter.kinds)?,
            i64::try_from(most).unwrap_or(i64::MAX),
        ],
        recorded,
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Deletes what is not to be kept.
pub(super) fn prune(database: &Database, retention: Retention) -> Result<usize> {
    let oldest = Timestamp::now().before(retention.age).as_millisecond();
    let is_old = |sequence: i64, time: i64, last: i64| {
        sequence <= last - i64::from(retention.count) || time < oldest
    };
    // Mostly there is nothing to do, and the first row says so.
    let first = database.read(|connection| {
        let last = last(connection)?;
        let sql = "SELECT sequence, time FROM events ORDER BY sequence LIMIT 1";
        let first = connection
            .prepare_cached(sql)?
            .query_row([], |row| Ok(is_old(row.get(0)?, row.get(1)?, last)))
            .optional()?;
        Ok::<_, crate::Error>(first)
    })?;
    if first != Some(true) {
        return Ok(0);
    }
    let mut deleted = 0;
    loop {
        let batch = database.write(|transaction| {
            let least = last(transaction)? - i64::from(retention.count);
            // The oldest first and without a gap: what is kept is what came last.
            Ok::<_, crate::Error>(
                transaction
                    .prepare_cached(
                        "DELETE FROM events WHERE sequence IN \
                         (SELECT sequence FROM events ORDER BY sequence LIMIT ?1) \
                         AND (sequence <= ?2 OR time < ?3)",
                    )?
                    .execute(params![BATCH, least, oldest])?,
            )
        })?;
        deleted += batch;
        if batch < BATCH as usize {
            return Ok(deleted);
        }
    }
}

fn recorded(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    Ok(Recorded {
        sequence: row.get(0)?,
        time: Timestamp::from_millisecond(row.get(1)?),
        environment: match row.get_ref(2)? {
            rusqlite::types::ValueRef::Null => None,
            _ => Some(parsed(row, 2)?),
        },
        label: row.get(3)?,
        operation: row.get(4)?,
        caused_by: row.get(5)?,
        event: from_json(row, 6)?,
    })
}
