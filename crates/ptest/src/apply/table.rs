//! Which environments a file made: nothing else is ever changed or taken away for it.
//!
//! A mark is written with the environment's row and goes with it. It is no label: a fork is not the
//! file's.

use std::collections::BTreeMap;

use ptest_store::Database;
use rusqlite::{Connection, params};

use crate::environment::EnvironmentId;
use crate::environment::table::parsed;
use crate::error::Result;

/// The schema of the marks.
pub(crate) const SCHEMA: &str = "
CREATE TABLE managed (
    environment TEXT PRIMARY KEY REFERENCES environments (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    asked TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What made an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The file's path, or the name that it gives itself.
    pub(crate) source: String,
    /// A hash of what was asked to be installed, with what the files named in it held.
    pub(crate) asked: String,
}

/// Marks an environment, in the transaction that makes or changes it.
pub(crate) fn set(transaction: &Connection, id: &EnvironmentId, mark: &Mark) -> Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO managed (environment, source, asked) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![id.as_str(), mark.source, mark.asked])?;
    Ok(())
}

/// Every mark.
pub(crate) fn all(database: &Database) -> Result<BTreeMap<EnvironmentId, Mark>> {
    database.read(|connection| {
        let mut select =
            connection.prepare_cached("SELECT environment, source, asked FROM managed")?;
        let rows = select.query_map([], |row| {
            let mark = Mark {
                source: row.get(1)?,
                asked: row.get(2)?,
            };
            Ok((parsed(row, 0)?, mark))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}
