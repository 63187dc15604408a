//! The rows of hooks: one for each, with the last event that it needs not be called for any more.

use ptest_store::Database;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Hook;
use crate::environment::table::from_json;
use crate::error::Result;
use crate::events;
use crate::json;

/// The schema of this table. `source` is the file that declares the hook; of one that a configuration names it is empty.
pub(crate) const SCHEMA: &str = "
CREATE TABLE hooks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    hook TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    UNIQUE (source, hook)
) STRICT;
";

/// Of configurations.
const NO_SOURCE: &str = "";

/// A hook that is known.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Its number in this store, never used twice.
    pub(crate) number: i64,
    /// The file that declares it.
    pub(crate) source: Option<String>,
    /// What it is.
    pub(crate) hook: Hook,
    /// The last event that is dealt with.
    pub(crate) sequence: i64,
}

/// Every hook.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Known>> {
    let mut select = connection
        .prepare_cached("SELECT number, source, hook, sequence FROM hooks ORDER BY number")?;
    let rows = select.query_map([], |row| {
        let source: String = row.get(1)?;
        Ok(Known {
            number: row.get(0)?,
            source: (source != NO_SOURCE).then_some(source),
            hook: from_json(row, 2)?,
            sequence: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The hooks that are in force with a configuration that names these: those, and what files declare. One that was not known
/// is called for what happens from now on.
pub(super) fn in_force(database: &Database, hooks: &[Hook]) -> Result<Vec<Known>> {
    let find = |connection: &Connection| {
        let mut known = all(connection)?;
        known.retain(|known| known.source.is_some() || hooks.contains(&known.hook));
        Ok::<_, crate::Error>(known)
    };
    let known = database.read(find)?;
    let is_known = |hook: &Hook| {
        let mut of_configurations = known.iter().filter(|known| known.source.is_none());
        of_configurations.any(|known| known.hook == *hook)
    };
    if hooks.iter().all(is_known) {
        return Ok(known);
    }
    database.write(|transaction| {
        for hook in hooks {
            insert(transaction, NO_SOURCE, hook)?;
        }
        find(transaction)
    })
}

/// Makes these the hooks that a file declares, and no others.
pub(crate) fn declare(transaction: &Connection, source: &str, hooks: &[Hook]) -> Result<()> {
    for hook in hooks {
        insert(transaction, source, hook)?;
    }
    for known in all(transaction)? {
        if known.source.as_deref() == Some(source) && !hooks.contains(&known.hook) {
            transaction
                .prepare_cached("DELETE FROM hooks WHERE number = ?1")?
                .execute([known.number])?;
        }
    }
    Ok(())
}

fn insert(transaction: &Connection, source: &str, hook: &Hook) -> Result<()> {
    transaction
        .prepare_cached("INSERT OR IGNORE INTO hooks (source, hook, sequence) VALUES (?1, ?2, ?3)")?
        .execute(params![
            source,
            json::text(hook)?,
            events::table::last(transaction)?
        ])?;
    Ok(())
}

/// The last event that a hook has dealt with; `None` of one that is not known any more.
pub(super) fn sequence(connection: &Connection, number: i64) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached("SELECT sequence FROM hooks WHERE number = ?1")?
        .query_row([number], |row| row.get(0))
        .optional()?)
}

/// Notes that a hook is done with all events up to this one, if that is not noted already. Says whether the hook is still
/// known.
pub(super) fn set_sequence(transaction: &Connection, number: i64, sequence: i64) -> Result<bool> {
    let changed = transaction
        .prepare_cached("UPDATE hooks SET sequence = max(sequence, ?2) WHERE number = ?1")?
        .execute([number, sequence])?;
    Ok(changed > 0)
}

/// Forgets hooks that no configuration has named for so long that events which they were not called for are deleted.
pub(crate) fn forget_unused(transaction: &Connection) -> Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM hooks WHERE source = ?1 \
             AND sequence < (SELECT min(sequence) FROM events) - 1",
        )?
        .execute([NO_SOURCE])?;
    Ok(())
}
