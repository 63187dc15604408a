//! The rows of environments: one for each, in the store's database.
//!
//! Not for deciding anything: a change of state is decided by
//! [`State::next`] and only recorded here.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use ptest_store::{Database, LayerId, Stack, StackId};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{EnvironmentId, Name, Owner, State};
use crate::engine::Achieved;
use crate::error::Result;
use crate::events::{self, About, Event};
use crate::json;
use crate::labels::{self, Selector};
use crate::mortal;
use crate::names;
use crate::ports;
use crate::recipe;
use crate::room::Room;
use crate::settings::Settings;
use crate::spec::Requirements;
use crate::timestamp::Timestamp;

/// The schema of this table.
pub(crate) const SCHEMA: &str = "
CREATE TABLE environments (
    id TEXT PRIMARY KEY,
    name TEXT UNIQUE,
    engine TEXT NOT NULL,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    process_owned INTEGER NOT NULL,
    stack TEXT NOT NULL,
    recipe TEXT NOT NULL,
    python TEXT NOT NULL,
    requirements TEXT NOT NULL,
    settings TEXT NOT NULL,
    achieved TEXT,
    error TEXT,
    created_at INTEGER NOT NULL,
    activated_at INTEGER,
    deactivated_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX environments_unsettled ON environments (id)
    WHERE process_owned = 1 OR state NOT IN ('created', 'inactive', 'failed');
";

/// Which generation of what was written is an environment's, and the environments for which another
/// one may be there.
pub(crate) const GENERATIONS: &str = "
ALTER TABLE environments ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
CREATE TABLE swaps (
    environment TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
";

/// Of a swap in which what was written in the environment becomes a layer: which, where it is until
/// then, and of which generation it is.
pub(crate) const HANDED_OVER: &str = "
ALTER TABLE swaps ADD COLUMN layer TEXT;
ALTER TABLE swaps ADD COLUMN tree TEXT;
ALTER TABLE swaps ADD COLUMN generation INTEGER;
";

const COLUMNS: &str = "id, name, engine, state, owner, stack, recipe, python, requirements, settings, \
                       achieved, error, created_at, activated_at, deactivated_at, generation";

/// The interpreter that an environment is built on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Python {
    /// `cpython`, `pypy`, …
    pub implementation: String,
    /// Its full version.
    pub version: String,
    /// The real base executable on the host.
    pub executable: PathBuf,
    /// The host directories that it needs.
    pub roots: Vec<PathBuf>,
}

/// All that is known of an environment at rest.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its identity.
    pub id: EnvironmentId,
    /// Its name, if it has one.
    pub name: Option<Name>,
    /// The engine it runs on.
    pub engine: String,
    /// Where it is in its life, as last recorded.
    pub state: State,
    /// Who it lives for.
    pub owner: Owner,
    /// Its stack.
    pub stack: StackId,
    /// Which of the written parts that its engine may have is its own.
    pub generation: u32,
    /// The key of the recipe that led to the stack.
    pub recipe: String,
    /// Its interpreter.
    pub python: Arc<Python>,
    /// What was asked to be installed.
    pub requirements: Arc<Requirements>,
    /// What it is to be like.
    pub settings: Arc<Settings>,
    /// What became of the settings at the last activation.
    pub achieved: Option<Arc<Achieved>>,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last activated.
    pub activated_at: Option<Timestamp>,
    /// When it was last deactivated.
    pub deactivated_at: Option<Timestamp>,
}

impl Record {
    /// When its time is over, if that is limited.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.settings.ttl.map(|ttl| self.created_at.after(ttl))
    }

    /// The name, or the id of one without a name.
    pub fn label(&self) -> &str {
        self.name
            .as_ref()
            .map_or_else(|| self.id.as_str(), Name::as_str)
    }
}

/// Adds a row, records the event, and says that its recipe was used; `false` when its stack was collected meanwhile.
/// A name that an environment or a snapshot has is `AlreadyExists`.
///
/// From now on no collection takes the stack: a row and the collection are one after the other. What `also` writes is there
/// with the row, or neither is.
pub(crate) fn insert(
    database: &Database,
    record: &Record,
    event: &Event,
    also: impl FnOnce(&Connection) -> Result<()>,
) -> Result<bool> {
    let owner = json::text(&record.owner)?;
    let python = json::text(&*record.python)?;
    let requirements = json::text(&*record.requirements)?;
    let settings = json::text(&*record.settings)?;
    database.write(|transaction| {
        if !Stack::is_recorded(transaction, &record.stack)? {
            return Ok(false);
        }
        if let Some(name) = &record.name {
            names::refuse_taken(transaction, name.as_str())?;
        }
        recipe::touch(transaction, &record.recipe)?;
        transaction
            .prepare_cached(
                "INSERT INTO environments (id, name, engine, state, owner, process_owned, stack, recipe, python, \
                 requirements, settings, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                record.id.as_str(),
                record.name.as_ref().map(Name::as_str),
                record.engine,
                record.state.as_str(),
                owner,
                matches!(record.owner, Owner::Process(_)),
                record.stack.to_string(),
                record.recipe,
                python,
                requirements,
                settings,
                record.created_at.as_millisecond(),
            ])?;
        if !record.settings.labels.is_empty() {
            labels::index(transaction, &record.id, &record.settings.labels)?;
        }
        mortal::set(transaction, &record.id, &record.settings, record.created_at)?;
        events::append(transaction, Some(record.into()), event)?;
        also(transaction)?;
        Ok(true)
    })
}

/// The row of an id.
pub(crate) fn by_id(database: &Database, id: &EnvironmentId) -> Result<Option<Record>> {
    one(database, "id", id.as_str())
}

/// The row of a name, or else of an id.
pub(crate) fn by_label(database: &Database, label: &str) -> Result<Option<Record>> {
    match one(database, "name", label)? {
        Some(record) => Ok(Some(record)),
        None => one(database, "id", label),
    }
}

/// Every row, oldest first.
pub(crate) fn all(database: &Database) -> Result<Vec<Record>> {
    selected(database, &Selector::default())
}

/// The rows whose labels meet a selector, oldest first.
pub(crate) fn selected(database: &Database, selector: &Selector) -> Result<Vec<Record>> {
    let (condition, values) = selector.sql();
    let mut records = many(database, &condition, &values)?;
    // Not by SQLite, whose sorter writes whole rows to a file.
    records.sort_by_cached_key(|record| (record.created_at, record.id.clone()));
    Ok(records)
}

/// The rows that recovery must look at: those whose owner or operation may be dead.
pub(crate) fn unsettled(database: &Database) -> Result<Vec<Record>> {
    many(
        database,
        "process_owned = 1 OR state NOT IN ('created', 'inactive', 'failed')",
        &[],
    )
}

/// What changes in a row when an operation goes on.
#[derive(Debug, Default)]
pub(crate) struct Change<'a> {
    /// The new state.
    pub(crate) state: Option<State>,
    /// What activation achieved.
    pub(crate) achieved: Option<&'a Achieved>,
    /// Why it failed.
    pub(crate) error: Option<&'a str>,
    /// When it was activated.
    pub(crate) activated_at: Option<Timestamp>,
    /// When it was deactivated.
    pub(crate) deactivated_at: Option<Timestamp>,
}

/// Changes the row of a record, which is in the record's state, and records what happened; `false` when it is not in that
/// state, or is gone.
pub(crate) fn change(
    database: &Database,
    record: &Record,
    change: &Change<'_>,
    event: &Event,
    room: &Room,
) -> Result<bool> {
    let achieved = change.achieved.map(json::text).transpose()?;
    database.write(|transaction| {
        if change.state == Some(State::Activating) {
            room.check_memory(transaction, record)?;
        }
        let changed = transaction
            .prepare_cached(
                "UPDATE environments SET state = coalesce(?3, state), achieved = coalesce(?4, achieved), \
                 error = coalesce(?5, error), activated_at = coalesce(?6, activated_at), \
                 deactivated_at = coalesce(?7, deactivated_at) WHERE id = ?1 AND state = ?2",
            )?
            .execute(params![
                record.id.as_str(),
                record.state.as_str(),
                change.state.map(State::as_str),
                achieved,
                change.error,
                change.activated_at.map(Timestamp::as_millisecond),
                change.deactivated_at.map(Timestamp::as_millisecond),
            ])?;
        if changed == 1 {
            events::append(transaction, Some(record.into()), event)?;
        }
        Ok(changed == 1)
    })
}

/// Whether there is a row of an id, in a transaction of the caller's.
pub(crate) fn is_there(connection: &Connection, id: &EnvironmentId) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM environments WHERE id = ?1")?
        .exists([id.as_str()])?)
}

/// Which environments there are.
pub(crate) fn ids(database: &Database) -> Result<BTreeSet<EnvironmentId>> {
    database.read(|connection| {
        Ok(connection
            .prepare_cached("SELECT id FROM environments")?
            .query_map([], |row| parsed(row, 0))?
            .collect::<rusqlite::Result<_>>()?)
    })
}

/// What an environment is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made<'a> {
    pub(crate) stack: &'a StackId,
    pub(crate) generation: u32,
    pub(crate) recipe: &'a str,
    pub(crate) python: &'a Python,
    pub(crate) requirements: &'a Requirements,
}

/// Says that generations of an environment are made or dropped, from now until [`end_swap`].
pub(crate) fn begin_swap(database: &Database, id: &EnvironmentId) -> Result<()> {
    database.write(|transaction| {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO swaps (environment) VALUES (?1)")?
            .execute([id.as_str()])?;
        Ok(())
    })
}

/// What was written in an environment, on its way to become a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnTheWay {
    pub(crate) layer: LayerId,
    /// Where it is until then, below the store's home.
    pub(crate) tree: String,
    /// The generation that it is of.
    pub(crate) generation: u32,
}

/// Says that what was written in an environment becomes a layer, in a swap that has begun.
pub(crate) fn set_on_the_way(
    database: &Database,
    id: &EnvironmentId,
    on_the_way: &OnTheWay,
) -> Result<()> {
    database.write(|transaction| {
        transaction
            .prepare_cached(
                "UPDATE swaps SET layer = ?2, tree = ?3, generation = ?4 WHERE environment = ?1",
            )?
            .execute(params![
                id.as_str(),
                on_the_way.layer.to_string(),
                on_the_way.tree,
                on_the_way.generation
            ])?;
        Ok(())
    })
}

/// What of an environment is on its way to become a layer, or was.
pub(crate) fn on_the_way(database: &Database, id: &EnvironmentId) -> Result<Option<OnTheWay>> {
    database.read(|connection| {
        Ok(connection
            .prepare_cached(
                "SELECT layer, tree, generation FROM swaps \
                 WHERE environment = ?1 AND layer IS NOT NULL",
            )?
            .query_row([id.as_str()], |row| {
                Ok(OnTheWay {
                    layer: parsed(row, 0)?,
                    tree: row.get(1)?,
                    generation: row.get(2)?,
                })
            })
            .optional()?)
    })
}

/// The layers that may be all there is of what was written in an environment, in a transaction of
/// the caller's.
pub(crate) fn layers_on_the_way(connection: &Connection) -> Result<Vec<LayerId>> {
    Ok(connection
        .prepare_cached("SELECT layer FROM swaps WHERE layer IS NOT NULL")?
        .query_map([], |row| parsed(row, 0))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Makes a row say that the environment stands on another stack, in a transaction of the caller's.
pub(crate) fn set_stack(
    transaction: &Connection,
    id: &EnvironmentId,
    stack: &StackId,
    generation: u32,
) -> Result<()> {
    transaction
        .prepare_cached("UPDATE environments SET stack = ?2, generation = ?3 WHERE id = ?1")?
        .execute(params![id.as_str(), stack.to_string(), generation])?;
    Ok(())
}

/// Makes the row of a record say what the environment is made of now, of a stack that a lease has kept
/// from being collected, and records what that came of.
pub(crate) fn set_made(
    database: &Database,
    record: &Record,
    made: Made<'_>,
    event: &Event,
) -> Result<()> {
    let python = json::text(made.python)?;
    let requirements = json::text(made.requirements)?;
    database.write(|transaction| {
        if !Stack::is_recorded(transaction, made.stack)? {
            return Err(ptest_store::Error::StackMissing { id: *made.stack }.into());
        }
        transaction
            .prepare_cached(
                "UPDATE environments SET stack = ?2, generation = ?3, recipe = ?4, python = ?5, \
                 requirements = ?6 WHERE id = ?1",
            )?
            .execute(params![
                record.id.as_str(),
                made.stack.to_string(),
                made.generation,
                made.recipe,
                python,
                requirements
            ])?;
        events::append(transaction, Some(record.into()), event)?;
        Ok(())
    })
}

/// Makes a row say what the environment is to be like.
pub(crate) fn set_settings(
    database: &Database,
    record: &Record,
    settings: &Settings,
    event: &Event,
) -> Result<()> {
    let text = json::text(settings)?;
    database.write(|transaction| {
        transaction
            .prepare_cached("UPDATE environments SET settings = ?2 WHERE id = ?1")?
            .execute(params![record.id.as_str(), text])?;
        labels::index(transaction, &record.id, &settings.labels)?;
        let lifetime = |settings: &Settings| (settings.ttl, settings.idle);
        if lifetime(settings) != lifetime(&record.settings) {
            let now = Timestamp::now();
            mortal::change(transaction, &record.id, settings, record.created_at, now)?;
        }
        events::append(transaction, Some(record.into()), event)?;
        Ok(())
    })
}

/// Says that no generation of an environment is there but its own.
pub(crate) fn end_swap(database: &Database, id: &EnvironmentId) -> Result<()> {
    database.write(|transaction| {
        transaction
            .prepare_cached("DELETE FROM swaps WHERE environment = ?1")?
            .execute([id.as_str()])?;
        Ok(())
    })
}

/// The environments of which more than one generation may be there.
pub(crate) fn swapping(database: &Database) -> Result<Vec<EnvironmentId>> {
    database.read(|connection| {
        Ok(connection
            .prepare_cached("SELECT environment FROM swaps")?
            .query_map([], |row| parsed(row, 0))?
            .collect::<rusqlite::Result<_>>()?)
    })
}

/// Deletes the row of a record, and with it the leases of its ports; its recipe was in use until now.
pub(crate) fn delete(database: &Database, record: &Record) -> Result<()> {
    let id = &record.id;
    database.write(|transaction| {
        let recipe: Option<String> = transaction
            .prepare_cached("SELECT recipe FROM environments WHERE id = ?1")?
            .query_row([id.as_str()], |row| row.get(0))
            .optional()?;
        if let Some(recipe) = recipe {
            recipe::touch(transaction, &recipe)?;
        }
        for sql in [
            "DELETE FROM environments WHERE id = ?1",
            "DELETE FROM swaps WHERE environment = ?1",
        ] {
            transaction.prepare_cached(sql)?.execute([id.as_str()])?;
        }
        ports::table::release_of(transaction, id)?;
        events::append(transaction, Some(About::from(record)), &Event::Removed {})?;
        Ok(())
    })
}

fn one(database: &Database, column: &str, value: &str) -> Result<Option<Record>> {
    let sql = format!("SELECT {COLUMNS} FROM environments WHERE {column} = ?1");
    database.read(|connection| {
        Ok(connection
            .prepare_cached(&sql)?
            .query_row([value], |row| record(row, &mut Read::default()))
            .optional()?)
    })
}

fn many(database: &Database, condition: &str, values: &[&str]) -> Result<Vec<Record>> {
    let sql = format!("SELECT {COLUMNS} FROM environments WHERE {condition}");
    let mut read = Read::default();
    database.read(|connection| {
        Ok(connection
            .prepare_cached(&sql)?
            .query_map(params_from_iter(values), |row| record(row, &mut read))?
            .collect::<rusqlite::Result<_>>()?)
    })
}

/// What was read of rows before: many environments are alike, and each text is parsed once.
#[derive(Default)]
struct Read {
    pythons: Texts<Python>,
    requirements: Texts<Requirements>,
    settings: Texts<Settings>,
    achieved: Texts<Achieved>,
}

type Texts<T> = HashMap<String, Arc<T>>;

fn shared<T: DeserializeOwned>(
    texts: &mut Texts<T>,
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<Arc<T>> {
    let text = row.get_ref(index)?.as_str()?;
    if let Some(known) = texts.get(text) {
        return Ok(Arc::clone(known));
    }
    let value = Arc::new(from_json(row, index)?);
    texts.insert(text.to_owned(), Arc::clone(&value));
    Ok(value)
}

fn record(row: &Row<'_>, read: &mut Read) -> rusqlite::Result<Record> {
    Ok(Record {
        id: parsed(row, 0)?,
        name: row
            .get::<_, Option<String>>(1)?
            .map(|text| text.parse().map_err(|error| broken(1, error)))
            .transpose()?,
        engine: row.get(2)?,
        state: parsed(row, 3)?,
        owner: from_json(row, 4)?,
        stack: parsed(row, 5)?,
        recipe: row.get(6)?,
        python: shared(&mut read.pythons, row, 7)?,
        requirements: shared(&mut read.requirements, row, 8)?,
        settings: shared(&mut read.settings, row, 9)?,
        achieved: match row.get_ref(10)? {
            ValueRef::Null => None,
            _ => Some(shared(&mut read.achieved, row, 10)?),
        },
        error: row.get(11)?,
        created_at: Timestamp::from_millisecond(row.get(12)?),
        activated_at: row
            .get::<_, Option<i64>>(13)?
            .map(Timestamp::from_millisecond),
        deactivated_at: row
            .get::<_, Option<i64>>(14)?
            .map(Timestamp::from_millisecond),
        generation: row.get(15)?,
    })
}

pub(crate) fn parsed<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get_ref(index)?
        .as_str()?
        .parse()
        .map_err(|error| broken(index, error))
}

pub(crate) fn from_json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(index)?.as_str()?).map_err(|error| broken(index, error))
}

pub(crate) fn broken(
    index: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}
