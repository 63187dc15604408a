//! What the database knows of how stacks are used, and of the bytecode of layers.

use ptest_store::{Database, LayerId, Stack, StackId};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::environment::Python;
use crate::environment::table::{from_json, parsed};
use crate::error::{Error, Result};
use crate::json;
use crate::timestamp::Timestamp;

/// Only what is mounted counts as used, and only as far as it makes a difference; a layer without a companion has no Python files.
pub(crate) const SCHEMA: &str = "
CREATE TABLE uses (
    stack TEXT PRIMARY KEY,
    python TEXT NOT NULL,
    layers INTEGER NOT NULL,
    uses INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    level INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE companions (
    layer TEXT NOT NULL,
    magic TEXT NOT NULL,
    companion TEXT,
    PRIMARY KEY (layer, magic)
) STRICT, WITHOUT ROWID;
";

/// How far a stack is improved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// It is served by its own layers.
    Plain,
    /// With the bytecode of each.
    Compiled,
    /// All of it in one layer.
    Flat,
}

/// Stacks of more layers than this are made one layer after their first use: docs/benchmarks.md
/// shows what layers cost.
pub(crate) const DEEP: usize = 32;

/// A stack that is used this often is made one layer, however few it has.
const HOT: u32 = 3;

impl Level {
    /// What is only copied is read once, in however many layers it is.
    fn wanted(mounted: u32, layers: usize) -> Self {
        if (mounted > 0 && layers > DEEP) || mounted >= HOT {
            Self::Flat
        } else {
            Self::Compiled
        }
    }

    fn of(number: i64) -> Self {
        match number {
            0 => Self::Plain,
            1 => Self::Compiled,
            _ => Self::Flat,
        }
    }
}

/// A stack that could start faster.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) stack: StackId,
    pub(crate) python: Python,
    pub(crate) wanted: Level,
}

/// How a stack is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is mounted.
    Mounted,
    /// It is copied: the next copy is to have its bytecode.
    Copied,
}

/// Takes note of a use of a stack.
pub(crate) fn used(database: &Database, stack: &StackId, python: &Python, how: Use) -> Result<()> {
    let (id, stack) = (stack, stack.to_string());
    let counted: Option<u32> = database.read(|connection| {
        let mut select = connection.prepare_cached("SELECT uses FROM uses WHERE stack = ?1")?;
        let uses = select.query_row([&stack], |row| row.get(0));
        uses.optional().map_err(Error::from)
    })?;
    // More makes no difference.
    let (enough, mounted) = match how {
        Use::Mounted => (HOT, 1),
        Use::Copied => (0, 0),
    };
    if counted >= Some(enough) {
        return Ok(());
    }
    let python = json::text(python)?;
    database.write(|transaction| {
        let layers = Stack::find(transaction, id)?.unwrap_or_default();
        transaction
            .prepare_cached(
                "INSERT INTO uses (stack, python, layers, used_at, uses) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (stack) DO UPDATE SET uses = uses + ?5, used_at = ?4",
            )?
            .execute(params![
                stack,
                python,
                layers.layers().len() as i64,
                Timestamp::now().as_millisecond(),
                mounted,
            ])?;
        Ok(())
    })
}

/// The stacks that could start faster, the last used first.
pub(crate) fn candidates(database: &Database) -> Result<Vec<Candidate>> {
    database.read(|connection| {
        let mut select = connection.prepare_cached(
            "SELECT stack, python, layers, uses, level FROM uses WHERE level < 2 \
             ORDER BY used_at DESC",
        )?;
        let rows = select.query_map([], |row| {
            let layers: i64 = row.get(2)?;
            let candidate = Candidate {
                stack: parsed(row, 0)?,
                python: from_json(row, 1)?,
                wanted: Level::wanted(row.get(3)?, layers as usize),
            };
            Ok((candidate, Level::of(row.get(4)?)))
        })?;
        let mut candidates = Vec::new();
        for row in rows {
            let (candidate, level) = row?;
            if level < candidate.wanted {
                candidates.push(candidate);
            }
        }
        Ok(candidates)
    })
}

/// Records how far a stack is improved, and what it is served by.
pub(crate) fn improved(
    transaction: &Connection,
    stack: &StackId,
    level: Level,
    serving: &Stack,
) -> Result<()> {
    serving.serve(transaction, stack)?;
    transaction
        .prepare_cached("UPDATE uses SET level = ?2 WHERE stack = ?1")?
        .execute(params![stack.to_string(), level as i64])?;
    Ok(())
}

/// Says that nothing more is to be done for a stack.
pub(crate) fn give_up(database: &Database, stack: &StackId) -> Result<()> {
    database.write(|transaction| {
        transaction
            .prepare_cached("UPDATE uses SET level = 2 WHERE stack = ?1")?
            .execute([stack.to_string()])?;
        Ok(())
    })
}

/// Says that what was done for stacks may be gone: it is looked at again.
pub(crate) fn begin_again(database: &Database) -> Result<()> {
    database.write(|transaction| {
        transaction.execute("UPDATE uses SET level = 0", [])?;
        Ok(())
    })
}

/// What is known of the bytecode of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Companion {
    /// It was not compiled yet.
    Unknown,
    /// There is nothing to compile.
    Needless,
    /// This layer has it.
    Layer(LayerId),
}

impl Companion {
    /// The layer, if there is one.
    pub(crate) fn layer(self) -> Option<LayerId> {
        match self {
            Self::Layer(layer) => Some(layer),
            Self::Unknown | Self::Needless => None,
        }
    }
}

/// What is known of the bytecode of a layer for interpreters of this magic number.
pub(crate) fn companion(
    connection: &Connection,
    layer: &LayerId,
    magic: &str,
) -> Result<Companion> {
    let mut select = connection
        .prepare_cached("SELECT companion FROM companions WHERE layer = ?1 AND magic = ?2")?;
    let mut rows = select.query((layer.to_string(), magic))?;
    let Some(row) = rows.next()? else {
        return Ok(Companion::Unknown);
    };
    Ok(match row.get_ref(0)? {
        ValueRef::Null => Companion::Needless,
        _ => Companion::Layer(parsed(row, 0)?),
    })
}

/// Records the companion of a layer.
pub(crate) fn set_companion(
    database: &Database,
    layer: &LayerId,
    magic: &str,
    companion: Option<&LayerId>,
) -> Result<()> {
    database.write(|transaction| {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO companions (layer, magic, companion) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![
                layer.to_string(),
                magic,
                companion.map(LayerId::to_string)
            ])?;
        Ok(())
    })
}

/// Every layer that has a companion, with it.
pub(crate) fn companions(connection: &Connection) -> Result<Vec<(LayerId, LayerId)>> {
    let mut select = connection
        .prepare_cached("SELECT layer, companion FROM companions WHERE companion IS NOT NULL")?;
    let rows = select.query_map([], |row| Ok((parsed(row, 0)?, parsed(row, 1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Forgets what is known of layers and stacks that are gone.
pub(crate) fn forget(
    transaction: &Connection,
    layers: &[LayerId],
    stacks: &[StackId],
) -> Result<()> {
    let mut delete =
        transaction.prepare_cached("DELETE FROM companions WHERE layer = ?1 OR companion = ?1")?;
    for layer in layers {
        delete.execute([layer.to_string()])?;
    }
    let mut delete = transaction.prepare_cached("DELETE FROM uses WHERE stack = ?1")?;
    for stack in stacks {
        delete.execute([stack.to_string()])?;
    }
    Ok(())
}
