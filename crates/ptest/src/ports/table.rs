//! The rows of leased ports: one for each, in the store's database.
//!
//! Not for choosing a port: that is `acquire`'s. Everything here works in a transaction of the caller's.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use super::{PortLease, PortName, PortOwner, PortRange};
use crate::environment::table::{broken, from_json, parsed};
use crate::environment::{EnvironmentId, ProcessIdentity};
use crate::error::Result;
use crate::json;
use crate::timestamp::Timestamp;

/// The schema of these tables.
///
/// `next_is_free` marks the last port of each run of leased ones, so that the first free port from any on is one look-up away,
/// however many are leased; the triggers keep it true whoever deletes. `last_port` is after which the next search begins: a
/// port that was given back comes again when all others have had their turn.
pub(crate) const SCHEMA: &str = "
CREATE TABLE ports (
    port INTEGER PRIMARY KEY,
    protocol TEXT NOT NULL,
    address TEXT,
    name TEXT,
    environment TEXT,
    process TEXT,
    until INTEGER,
    acquired_at INTEGER NOT NULL,
    next_is_free INTEGER NOT NULL,
    CHECK ((environment IS NOT NULL) + (process IS NOT NULL) + (until IS NOT NULL) = 1)
) STRICT;
CREATE INDEX ports_ending_runs ON ports (port) WHERE next_is_free = 1;
CREATE UNIQUE INDEX ports_of_environments ON ports (environment, name) WHERE environment IS NOT NULL;
CREATE INDEX ports_of_processes ON ports (process) WHERE process IS NOT NULL;
CREATE INDEX ports_until ON ports (until) WHERE until IS NOT NULL;
CREATE TRIGGER ports_lengthen_run AFTER INSERT ON ports BEGIN
    UPDATE ports SET next_is_free = 0 WHERE port = NEW.port - 1;
END;
CREATE TRIGGER ports_shorten_run AFTER DELETE ON ports BEGIN
    UPDATE ports SET next_is_free = 1 WHERE port = OLD.port - 1;
END;
CREATE TABLE last_port (port INTEGER NOT NULL) STRICT;
INSERT INTO last_port (port) VALUES (0);
";

const COLUMNS: &str = "port, protocol, address, name, environment, process, until, acquired_at";

/// The first port of a range that is not leased.
pub(super) fn first_free(connection: &Connection, range: PortRange) -> Result<Option<u16>> {
    let port: u32 = connection
        .prepare_cached(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM ports WHERE port = ?1) \
             THEN (SELECT port + 1 FROM ports WHERE next_is_free = 1 AND port >= ?1 ORDER BY port LIMIT 1) \
             ELSE ?1 END",
        )?
        .query_row([range.first()], |row| row.get(0))?;
    let port = u16::try_from(port).ok();
    Ok(port.filter(|port| *port <= range.last()))
}

/// How many ports of a range are leased.
pub(super) fn count(connection: &Connection, range: PortRange) -> Result<u32> {
    Ok(connection
        .prepare_cached("SELECT count(*) FROM ports WHERE port BETWEEN ?1 AND ?2")?
        .query_row([range.first(), range.last()], |row| row.get(0))?)
}

/// Adds a row. A port that is leased already is an error of the database: it is looked for first.
pub(super) fn insert(transaction: &Connection, lease: &PortLease) -> Result<()> {
    let (mut environment, mut process, mut until) = (None, None, None);
    match &lease.owner {
        PortOwner::Environment(id) => environment = Some(id.as_str()),
        PortOwner::Process(identity) => process = Some(json::text(identity)?),
        PortOwner::Detached { until: end } => until = Some(end.as_millisecond()),
    }
    transaction
        .prepare_cached(
            "INSERT INTO ports (port, protocol, address, name, environment, process, until, acquired_at, next_is_free) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NOT EXISTS (SELECT 1 FROM ports WHERE port = ?1 + 1))",
        )?
        .execute(params![
            lease.port,
            lease.protocol.as_str(),
            lease.address.map(|address| address.to_string()),
            lease.name.as_ref().map(PortName::as_str),
            environment,
            process,
            until,
            lease.acquired_at.as_millisecond(),
        ])?;
    Ok(())
}

/// The port that was leased last.
pub(super) fn last(connection: &Connection) -> Result<u16> {
    Ok(connection
        .prepare_cached("SELECT port FROM last_port")?
        .query_row([], |row| row.get(0))?)
}

pub(super) fn set_last(transaction: &Connection, port: u16) -> Result<()> {
    transaction
        .prepare_cached("UPDATE last_port SET port = ?1")?
        .execute([port])?;
    Ok(())
}

/// Every lease, by port.
pub(super) fn all(connection: &Connection) -> Result<Vec<PortLease>> {
    many(connection, "ORDER BY port", [])
}

/// The leases of an environment, by port.
pub(crate) fn of_environment(
    connection: &Connection,
    id: &EnvironmentId,
) -> Result<Vec<PortLease>> {
    many(
        connection,
        "WHERE environment = ?1 ORDER BY port",
        [id.as_str()],
    )
}

/// The leases of every environment, by port.
pub(crate) fn of_environments(
    connection: &Connection,
) -> Result<BTreeMap<EnvironmentId, Vec<PortLease>>> {
    let mut all: BTreeMap<EnvironmentId, Vec<PortLease>> = BTreeMap::new();
    for lease in many(
        connection,
        "WHERE environment IS NOT NULL ORDER BY port",
        [],
    )? {
        if let PortOwner::Environment(id) = &lease.owner {
            all.entry(id.clone()).or_default().push(lease);
        }
    }
    Ok(all)
}

/// Whether an environment has a port of that name.
pub(super) fn is_named(
    connection: &Connection,
    id: &EnvironmentId,
    name: &PortName,
) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM ports WHERE environment = ?1 AND name = ?2")?
        .exists([id.as_str(), name.as_str()])?)
}

/// Ends one lease; gives what it was.
pub(super) fn release(transaction: &Connection, port: u16) -> Result<Option<PortLease>> {
    let released = delete(transaction, "port = ?1", [port])?;
    Ok(released.into_iter().next())
}

/// Ends the leases of an environment; gives what they were.
pub(super) fn release_of(transaction: &Connection, id: &EnvironmentId) -> Result<Vec<PortLease>> {
    delete(transaction, "environment = ?1", [id.as_str()])
}

/// Ends the leases whose time is over; gives what they were.
pub(super) fn release_expired(transaction: &Connection, now: Timestamp) -> Result<Vec<PortLease>> {
    delete(transaction, "until <= ?1", [now.as_millisecond()])
}

/// Ends the leases of a process; gives what they were.
pub(super) fn release_of_process(
    transaction: &Connection,
    process: &ProcessIdentity,
) -> Result<Vec<PortLease>> {
    delete(transaction, "process = ?1", [json::text(process)?])
}

/// Whether a lease's time is over.
pub(super) fn is_any_expired(connection: &Connection, now: Timestamp) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM ports WHERE until <= ?1")?
        .exists([now.as_millisecond()])?)
}

/// The processes that hold leases, each once: from one to the next by the index, however many ports each has.
pub(super) fn processes(connection: &Connection) -> Result<Vec<ProcessIdentity>> {
    let mut next =
        connection.prepare_cached("SELECT min(process) FROM ports WHERE process > ?1")?;
    let mut processes = Vec::new();
    let mut last = String::new();
    while let Some(process) = next.query_row([&last], |row| row.get::<_, Option<String>>(0))? {
        processes.push(serde_json::from_str(&process).map_err(|error| broken(0, error))?);
        last = process;
    }
    Ok(processes)
}

fn delete(
    transaction: &Connection,
    which: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<PortLease>> {
    let sql = format!("DELETE FROM ports WHERE {which} RETURNING {COLUMNS}");
    Ok(transaction
        .prepare_cached(&sql)?
        .query_map(parameters, lease)?
        .collect::<rusqlite::Result<_>>()?)
}

fn many(
    connection: &Connection,
    tail: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<PortLease>> {
    let sql = format!("SELECT {COLUMNS} FROM ports {tail}");
    Ok(connection
        .prepare_cached(&sql)?
        .query_map(parameters, lease)?
        .collect::<rusqlite::Result<_>>()?)
}

fn lease(row: &Row<'_>) -> rusqlite::Result<PortLease> {
    Ok(PortLease {
        port: row.get(0)?,
        protocol: parsed(row, 1)?,
        address: optional(row, 2)?,
        name: optional(row, 3)?,
        owner: match (row.get_ref(4)?, row.get_ref(6)?) {
            (ValueRef::Null, ValueRef::Null) => PortOwner::Process(from_json(row, 5)?),
            (ValueRef::Null, until) => PortOwner::Detached {
                until: Timestamp::from_millisecond(until.as_i64()?),
            },
            _ => PortOwner::Environment(parsed(row, 4)?),
        },
        acquired_at: Timestamp::from_millisecond(row.get(7)?),
    })
}

fn optional<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<T>>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match row.get_ref(index)? {
        ValueRef::Null => Ok(None),
        _ => parsed(row, index).map(Some),
    }
}
