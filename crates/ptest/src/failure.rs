//! What went wrong last: an operation that failed leaves what it was to change as it was, and its error is kept.
//!
//! Not for environments that cannot be put right: they are in the state `failed`.

use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use crate::environment::table::from_json;
use crate::environment::{Environment, EnvironmentId, table};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{self, About, Event};
use crate::json;
use crate::operation;
use crate::ptest::Ptest;
use crate::timestamp::Timestamp;

/// The last failure of each environment.
pub(crate) const SCHEMA: &str = "ALTER TABLE environments ADD COLUMN failure TEXT;";

/// An operation that failed and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its verb, such as `install`.
    pub operation: String,
    /// Its id, which the log has with each line of it.
    pub id: String,
    /// When it failed.
    pub time: Timestamp,
    /// What went wrong, with every cause.
    pub message: String,
}

impl Environment {
    /// The operation on it that failed last, if one did.
    pub fn failure(&self) -> Result<Option<Failure>> {
        let database = self.ptest.store().database();
        database.read(|connection| {
            let sql = "SELECT failure FROM environments WHERE id = ?1 AND failure IS NOT NULL";
            Ok(connection
                .prepare_cached(sql)?
                .query_row([self.id().as_str()], |row| from_json(row, 0))
                .optional()?)
        })
    }

    /// Does `body` as one operation on this environment, and keeps why it failed.
    pub(crate) fn operation<T>(
        &self,
        kind: &'static str,
        body: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.ptest
            .noted(kind, self.id().as_str(), Some(self.id()), body)
    }
}

impl Ptest {
    /// Does `body` as one operation that makes something; `label` is what that, or what it is made of, is called.
    pub(crate) fn operation<T>(
        &self,
        kind: &'static str,
        label: &str,
        body: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.noted(kind, label, None, body)
    }

    fn noted<T>(
        &self,
        kind: &'static str,
        label: &str,
        environment: Option<&EnvironmentId>,
        body: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let is_part = operation::current().is_some();
        operation::run(kind, label, || {
            let result = body();
            match &result {
                // What it is a part of fails too, unless it can do without; and nothing was tried where another operation is at it.
                Err(error) if !is_part && error.kind() != ErrorKind::Busy => {
                    // Why it failed is what the caller must know.
                    let _ = self.keep_failure(kind, environment, error);
                }
                _ => {}
            }
            result
        })
    }

    fn keep_failure(
        &self,
        kind: &'static str,
        environment: Option<&EnvironmentId>,
        error: &Error,
    ) -> Result<()> {
        let failure = Failure {
            operation: kind.to_owned(),
            id: operation::current().map_or_else(String::new, |id| id.to_string()),
            time: Timestamp::now(),
            message: operation::with_causes(error),
        };
        let event = Event::OperationFailed {
            operation: failure.operation.clone(),
            message: failure.message.clone(),
        };
        let database = self.store().database();
        // It may have been removed meanwhile: then there is nothing to keep it with.
        let record = match environment {
            Some(id) => table::by_id(database, id)?,
            None => None,
        };
        database.write(|transaction| {
            if let Some(record) = &record {
                transaction
                    .prepare_cached("UPDATE environments SET failure = ?2 WHERE id = ?1")?
                    .execute(params![record.id.as_str(), json::text(&failure)?])?;
            }
            events::append(transaction, record.as_ref().map(About::from), &event).map(drop)
        })
    }
}
