//! The rows of snapshots. A row keeps its stack from being collected.

use ptest_store::{Database, StackId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Origin, Snapshot};
use crate::environment::Name;
use crate::environment::table::{from_json, parsed};
use crate::error::Result;
use crate::events::{self, Event};
use crate::json;
use crate::names;
use crate::recipe;
use crate::timestamp::Timestamp;

/// The schema of this table. A number is never used twice, so that a name that ptest made of one
/// never means something else later.
pub(crate) const SCHEMA: &str = "
CREATE TABLE snapshots (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    environment TEXT NOT NULL,
    label TEXT NOT NULL,
    engine TEXT NOT NULL,
    stack TEXT NOT NULL,
    recipe TEXT NOT NULL,
    python TEXT NOT NULL,
    requirements TEXT NOT NULL,
    settings TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
";

const COLUMNS: &str = "name, environment, label, engine, stack, recipe, python, requirements, settings, author, \
                       created_at";

/// The longest part of an environment's label that a name is made of: a number and a dash follow.
const LABEL_MAX: usize = 42;

/// The number and the name of the next snapshot: the name asked for, or one that is made of the
/// environment's label and the number.
pub(crate) fn next(
    transaction: &Connection,
    name: Option<Name>,
    label: &str,
) -> Result<(i64, Name)> {
    let last: Option<i64> = transaction
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'snapshots'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let mut number = last.unwrap_or_default() + 1;
    if let Some(name) = name {
        names::refuse_taken(transaction, name.as_str())?;
        return Ok((number, name));
    }
    let label: String = label.chars().take(LABEL_MAX).collect();
    loop {
        let made = format!("{label}-{number}");
        if names::holder(transaction, &made)?.is_none() {
            return Ok((number, made.parse()?));
        }
        number += 1;
    }
}

/// Adds a row under what [`next`] gave in the same transaction.
pub(crate) fn insert(transaction: &Connection, number: i64, snapshot: &Snapshot) -> Result<()> {
    let sql = format!(
        "INSERT INTO snapshots (number, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    );
    transaction.prepare_cached(&sql)?.execute(params![
        number,
        snapshot.name.as_str(),
        snapshot.of.environment.as_str(),
        snapshot.of.label,
        snapshot.engine,
        snapshot.stack.to_string(),
        snapshot.recipe,
        json::text(&snapshot.python)?,
        json::text(&snapshot.requirements)?,
        json::text(&snapshot.settings)?,
        snapshot.author,
        snapshot.created_at.as_millisecond(),
    ])?;
    Ok(())
}

/// Every snapshot, oldest first.
pub(crate) fn all(database: &Database) -> Result<Vec<Snapshot>> {
    database.read(|connection| {
        let sql = format!("SELECT {COLUMNS} FROM snapshots ORDER BY number");
        let mut select = connection.prepare_cached(&sql)?;
        let rows = select.query_map([], snapshot)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

/// The snapshot of a name.
pub(crate) fn by_name(database: &Database, name: &str) -> Result<Option<Snapshot>> {
    database.read(|connection| {
        let sql = format!("SELECT {COLUMNS} FROM snapshots WHERE name = ?1");
        let mut select = connection.prepare_cached(&sql)?;
        Ok(select.query_row([name], snapshot).optional()?)
    })
}

/// Deletes a row, whose recipe was in use until now; says whether there was one.
pub(super) fn delete(database: &Database, name: &str) -> Result<bool> {
    database.write(|transaction| {
        let recipe: Option<String> = transaction
            .prepare_cached("DELETE FROM snapshots WHERE name = ?1 RETURNING recipe")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        if let Some(recipe) = &recipe {
            recipe::touch(transaction, recipe)?;
            let event = Event::SnapshotRemoved {
                snapshot: name.to_owned(),
            };
            events::append(transaction, None, &event)?;
        }
        Ok(recipe.is_some())
    })
}

fn snapshot(row: &Row<'_>) -> rusqlite::Result<Snapshot> {
    Ok(Snapshot {
        name: parsed(row, 0)?,
        of: Origin {
            environment: parsed(row, 1)?,
            label: row.get(2)?,
        },
        engine: row.get(3)?,
        stack: parsed::<StackId>(row, 4)?,
        recipe: row.get(5)?,
        python: from_json(row, 6)?,
        requirements: from_json(row, 7)?,
        settings: from_json(row, 8)?,
        author: row.get(9)?,
        created_at: Timestamp::from_millisecond(row.get(10)?),
    })
}
