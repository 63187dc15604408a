//! Reads what can still be read of a damaged database.
//!
//! Not for how the new one takes its place: that is `rebuild`'s.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Transaction, params_from_iter};

use crate::db::Database;
use crate::error::{Error, Result};

/// What was read of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// The table's name.
    pub table: String,
    /// How many of its rows are in the new database.
    pub rows: u32,
    /// Whether that is every row that could be looked for.
    pub is_whole: bool,
}

impl Database {
    /// Copies what can be read of a damaged database, if there is one, into the tables that this one has, in one
    /// transaction. A row that is here stays as it is.
    pub(crate) fn salvage(&self, damaged: Option<&Path>) -> Result<Vec<Salvaged>> {
        let damaged = damaged
            .map_or_else(Connection::open_in_memory, open_damaged)
            .map_err(Error::database("open the damaged database"))?;
        self.write(|transaction| {
            tables(transaction)?
                .into_iter()
                .map(|table| salvage_table(transaction, &damaged, table))
                .collect()
        })
    }

    /// Whether every page and every index of the database is what it should be; if not, what is wrong first.
    ///
    /// Reads all of it.
    pub fn damage(&self) -> Result<Option<String>> {
        self.read(|connection| {
            let verdict: rusqlite::Result<String> =
                connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
            match verdict {
                Ok(verdict) if verdict == "ok" => Ok(None),
                Ok(verdict) => Ok(Some(verdict)),
                Err(source) => {
                    let error = Error::from(source);
                    match error.kind() {
                        crate::ErrorKind::Corrupt => Ok(Some(error.to_string())),
                        _ => Err(error),
                    }
                }
            }
        })
    }
}

/// Leaves it as it is: no log is moved into it.
fn open_damaged(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// The tables, those that others refer to first.
fn tables(connection: &Connection) -> Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
               AND name <> 'components' ORDER BY rowid";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    names.collect()
}

/// The columns by which a table is stored.
fn key(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT wr FROM pragma_table_list WHERE name = ?1";
    let is_by_key: bool = connection.query_row(sql, [table], |row| row.get(0))?;
    if !is_by_key {
        return Ok(vec!["rowid".to_owned()]);
    }
    let sql = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([table], |row| row.get(0))?;
    names.collect()
}

fn salvage_table(
    transaction: &Transaction<'_>,
    damaged: &Connection,
    table: String,
) -> Result<Salvaged> {
    let known = columns(transaction, &table)?;
    // A table that cannot even be asked for has none.
    let found = columns(damaged, &table).unwrap_or_default();
    let shared: Vec<&str> = known
        .iter()
        .filter(|name| found.contains(name))
        .map(String::as_str)
        .collect();
    if shared.is_empty() {
        return Ok(Salvaged {
            table,
            rows: 0,
            is_whole: false,
        });
    }
    let names = shared.join(", ");
    let places = vec!["?"; shared.len()].join(", ");
    let mut insert = transaction.prepare(&format!(
        "INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})"
    ))?;
    let key = key(transaction, &table)?;
    let mut is_whole = true;
    // From both ends: what is damaged in the middle then costs what is there alone.
    for direction in ["ASC", "DESC"] {
        let keys: Vec<_> = key
            .iter()
            .map(|name| format!("{name} {direction}"))
            .collect();
        let order = format!("SELECT {names} FROM {table} ORDER BY {}", keys.join(", "));
        let ended = copy_rows(damaged, &order, shared.len(), |row| {
            // One that refers to a row that was lost is lost with it.
            insert.execute(params_from_iter(row)).is_ok()
        });
        match ended {
            Ok(true) if is_whole => break,
            _ => is_whole = false,
        }
    }
    drop(insert);
    let rows: u32 = transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
        row.get(0)
    })?;
    Ok(Salvaged {
        table,
        rows,
        is_whole,
    })
}

/// Whether all rows were taken; the error says where reading ended.
fn copy_rows(
    damaged: &Connection,
    sql: &str,
    width: usize,
    mut take: impl FnMut(Vec<Value>) -> bool,
) -> rusqlite::Result<bool> {
    let mut statement = damaged.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut are_taken = true;
    while let Some(row) = rows.next()? {
        let values = (0..width)
            .map(|column| row.get(column))
            .collect::<rusqlite::Result<_>>();
        are_taken &= values.is_ok_and(&mut take);
    }
    Ok(are_taken)
}
