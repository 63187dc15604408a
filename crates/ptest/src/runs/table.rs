//! The rows of runs, in the store's database. A row outlives its environment's.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use ptest_store::Database;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use super::{Conditions, Outcome, RunChoice, RunId, RunRecord, Streams, arguments, told};
use crate::environment::table::{from_json, parsed};
use crate::environment::{EnvironmentId, ProcessIdentity};
use crate::error::Result;
use crate::events::{self, About, Event};
use crate::json;
use crate::mortal;
use crate::secrets::Secrets;
use crate::timestamp::Timestamp;

/// The schema of this table. `AUTOINCREMENT` keeps ids from being used twice.
pub(crate) const SCHEMA: &str = "
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    number INTEGER NOT NULL,
    label TEXT NOT NULL,
    client TEXT NOT NULL,
    arguments BLOB NOT NULL,
    directory BLOB NOT NULL,
    conditions TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome TEXT,
    streams TEXT NOT NULL,
    stdout_head BLOB,
    stdout_tail BLOB,
    stderr_head BLOB,
    stderr_tail BLOB,
    UNIQUE (environment, number)
) STRICT;
CREATE INDEX runs_by_end ON runs (ended_at);
";

const COLUMNS: &str = "id, environment, number, label, client, arguments, directory, conditions, started_at, ended_at, \
                       outcome, streams, stdout_head, stdout_tail, stderr_head, stderr_tail";

/// A run that is about to begin.
pub(super) struct New<'a> {
    pub(super) about: About<'a>,
    pub(super) client: &'a ProcessIdentity,
    pub(super) arguments: &'a [OsString],
    pub(super) secrets: &'a Secrets,
    pub(super) directory: &'a Path,
    pub(super) conditions: &'a Conditions,
    pub(super) streams: &'a Streams,
}

/// Adds the row of a run, and tells of it. Gives its id and its number in its environment.
pub(super) fn begin(database: &Database, new: &New<'_>) -> Result<(RunId, u32)> {
    let client = json::text(new.client)?;
    let conditions = json::text(new.conditions)?;
    let streams = json::text(new.streams)?;
    let told = arguments::decode(&arguments::encode(
        new.arguments,
        new.secrets,
        arguments::TOLD,
    ));
    database.write(|transaction| {
        let (id, number) = transaction
            .prepare_cached(
                "INSERT INTO runs (environment, number, label, client, arguments, directory, conditions, streams, \
                 started_at) VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM runs WHERE environment = ?1), \
                 ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING id, number",
            )?
            .query_row(
                params![
                    new.about.id.as_str(),
                    new.about.label,
                    client,
                    arguments::encode(new.arguments, new.secrets, arguments::RECORDED),
                    new.directory.as_os_str().as_bytes(),
                    conditions,
                    streams,
                    Timestamp::now().as_millisecond(),
                ],
                |row| Ok((RunId(row.get(0)?), row.get(1)?)),
            )?;
        let event = Event::RunStarted {
            run: id.to_string(),
            number,
            command: told
                .iter()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
        };
        events::append(transaction, Some(new.about), &event)?;
        mortal::touch(transaction, new.about.id)?;
        Ok((id, number))
    })
}

/// Records what came of a run, and what was taken of its streams. The first to say how it ended is right.
pub(super) fn end(
    database: &Database,
    id: RunId,
    outcome: &Outcome,
    streams: Option<&Streams>,
) -> Result<()> {
    let taken = streams
        .map(|streams| json::text(streams).map(|text| (text, streams)))
        .transpose()?;
    database.write(|transaction| {
        close(transaction, id, outcome)?;
        if let Some((text, Streams { stdout, stderr, .. })) = &taken {
            transaction
                .prepare_cached(
                    "UPDATE runs SET streams = ?2, stdout_head = ?3, stdout_tail = ?4, stderr_head = ?5, \
                     stderr_tail = ?6 WHERE id = ?1",
                )?
                .execute(params![
                    id.0, text, stdout.head, stdout.tail, stderr.head, stderr.tail
                ])?;
        }
        Ok(())
    })
}

/// Records that nobody will say how these runs ended. Gives those for which nobody had.
pub(super) fn lose(database: &Database, ids: &[RunId], why: &str) -> Result<Vec<RunId>> {
    let outcome = Outcome::Lost {
        why: why.to_owned(),
    };
    database.write(|transaction| {
        let mut lost = Vec::new();
        for id in ids {
            if close(transaction, *id, &outcome)? {
                lost.push(*id);
            }
        }
        Ok(lost)
    })
}

/// Makes a row say what came of the run, and tells of it; `false` when it has ended already.
fn close(transaction: &Connection, id: RunId, outcome: &Outcome) -> Result<bool> {
    let ended = transaction
        .prepare_cached(
            "UPDATE runs SET ended_at = ?2, outcome = ?3 WHERE id = ?1 AND ended_at IS NULL \
             RETURNING environment, label, number",
        )?
        .query_row(
            params![
                id.0,
                Timestamp::now().as_millisecond(),
                json::text(outcome)?
            ],
            |row| {
                let environment: EnvironmentId = parsed(row, 0)?;
                Ok((environment, row.get::<_, String>(1)?, row.get(2)?))
            },
        )
        .optional()?;
    let Some((environment, label, number)) = ended else {
        return Ok(false);
    };
    let about = About {
        id: &environment,
        label: &label,
    };
    for event in told::ended(id, number, outcome) {
        events::append(transaction, Some(about), &event)?;
    }
    mortal::touch(transaction, &environment)?;
    Ok(true)
}

/// Whether a run has ended, as far as is recorded. One that is not remembered any more has.
pub(super) fn has_ended(database: &Database, id: RunId) -> Result<bool> {
    database.read(|connection| {
        let is_open = connection
            .prepare_cached("SELECT 1 FROM runs WHERE id = ?1 AND ended_at IS NULL")?
            .exists([id.0])?;
        Ok(!is_open)
    })
}

/// The runs that have not ended as far as is recorded, each with whoever waits for it.
pub(super) fn open(database: &Database) -> Result<Vec<(RunId, ProcessIdentity)>> {
    database.read(|connection| {
        Ok(connection
            .prepare_cached("SELECT id, client FROM runs WHERE ended_at IS NULL")?
            .query_map([], |row| Ok((RunId(row.get(0)?), from_json(row, 1)?)))?
            .collect::<rusqlite::Result<_>>()?)
    })
}

/// The latest runs, oldest first: of one environment or of all, those that have not ended or all.
pub(crate) fn latest(
    database: &Database,
    environment: Option<&EnvironmentId>,
    active: bool,
    most: u32,
) -> Result<Vec<RunRecord>> {
    let ended = if active { " AND ended_at IS NULL" } else { "" };
    let mut records = match environment {
        Some(id) => many(
            database,
            &format!("WHERE environment = ?1{ended} ORDER BY number DESC LIMIT ?2"),
            params![id.as_str(), most],
        ),
        None => many(
            database,
            &format!("WHERE true{ended} ORDER BY id DESC LIMIT ?1"),
            params![most],
        ),
    }?;
    records.reverse();
    Ok(records)
}

/// One run of an environment.
pub(crate) fn find(
    database: &Database,
    environment: &EnvironmentId,
    choice: RunChoice,
) -> Result<Option<RunRecord>> {
    let environment = environment.as_str();
    let found = match choice {
        RunChoice::Last => many(
            database,
            "WHERE environment = ?1 ORDER BY number DESC LIMIT 1",
            params![environment],
        ),
        RunChoice::Number(number) => many(
            database,
            "WHERE environment = ?1 AND number = ?2",
            params![environment, number],
        ),
        RunChoice::Id(id) => many(
            database,
            "WHERE id = ?2 AND environment = ?1",
            params![environment, id.0],
        ),
    };
    Ok(found?.pop())
}

/// The run of an id.
pub(super) fn by_id(database: &Database, id: RunId) -> Result<Option<RunRecord>> {
    Ok(many(database, "WHERE id = ?1", params![id.0])?.pop())
}

/// The environment that a label last meant in a run, for one that is gone.
pub(crate) fn environment_called(
    database: &Database,
    label: &str,
) -> Result<Option<EnvironmentId>> {
    database.read(|connection| {
        Ok(connection
            .prepare_cached("SELECT environment FROM runs WHERE environment = ?1 OR label = ?1 ORDER BY id DESC LIMIT 1")?
            .query_row([label], |row| parsed(row, 0))
            .optional()?)
    })
}

/// The runs that are neither among the latest `keep` nor have ended after `since`. The last of an environment that is there
/// stays: the next one's number follows it.
pub(super) fn expired(connection: &Connection, keep: u32, since: Timestamp) -> Result<Vec<RunId>> {
    // Ids have no gaps but where something was forgotten.
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(id) FROM runs")?
        .query_row([], |row| row.get(0))?;
    let oldest = last.unwrap_or_default() - i64::from(keep);
    Ok(connection
        .prepare_cached(
            "SELECT id FROM runs AS run WHERE ended_at IS NOT NULL AND (id <= ?1 OR ended_at < ?2) \
             AND NOT (EXISTS (SELECT 1 FROM environments WHERE id = run.environment) \
             AND number = (SELECT max(number) FROM runs WHERE environment = run.environment))",
        )?
        .query_map(params![oldest, since.as_millisecond()], |row| {
            Ok(RunId(row.get(0)?))
        })?
        .collect::<rusqlite::Result<_>>()?)
}

/// Deletes rows.
pub(super) fn delete(database: &Database, ids: &[RunId]) -> Result<()> {
    database.write(|transaction| {
        let mut statement = transaction.prepare_cached("DELETE FROM runs WHERE id = ?1")?;
        for id in ids {
            statement.execute([id.0])?;
        }
        Ok(())
    })
}

fn many(database: &Database, tail: &str, values: impl Params) -> Result<Vec<RunRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM runs {tail}");
    database.read(|connection| {
        Ok(connection
            .prepare_cached(&sql)?
            .query_map(values, record)?
            .collect::<rusqlite::Result<_>>()?)
    })
}

fn record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    let bytes = |index| -> rusqlite::Result<Vec<u8>> {
        Ok(row.get::<_, Option<Vec<u8>>>(index)?.unwrap_or_default())
    };
    let mut streams: Streams = from_json(row, 11)?;
    streams.stdout.head = bytes(12)?;
    streams.stdout.tail = bytes(13)?;
    streams.stderr.head = bytes(14)?;
    streams.stderr.tail = bytes(15)?;
    let outcome: Option<String> = row.get(10)?;
    Ok(RunRecord {
        id: RunId(row.get(0)?),
        environment: parsed(row, 1)?,
        number: row.get(2)?,
        label: row.get(3)?,
        client: from_json(row, 4)?,
        arguments: arguments::decode(&row.get::<_, Vec<u8>>(5)?),
        directory: PathBuf::from(OsString::from_vec(row.get(6)?)),
        conditions: from_json(row, 7)?,
        started_at: Timestamp::from_millisecond(row.get(8)?),
        ended_at: row
            .get::<_, Option<i64>>(9)?
            .map(Timestamp::from_millisecond),
        outcome: outcome.map(|_| from_json(row, 10)).transpose()?,
        streams,
    })
}
