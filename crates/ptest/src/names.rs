//! The names that people give: one name means one thing, an environment or a snapshot.

use ptest_store::Database;
use rusqlite::Connection;

use crate::environment::{Name, Record, table};
use crate::error::{Error, ErrorKind, Result};
use crate::ptest::Ptest;
use crate::snapshot;

/// What a name can belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Environment,
    Snapshot,
}

impl Thing {
    fn table(self) -> &'static str {
        match self {
            Self::Environment => "environments",
            Self::Snapshot => "snapshots",
        }
    }

    /// With its article, and the command that shows all.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Environment => ("an environment", "ptest list", "ptest remove"),
            Self::Snapshot => ("a snapshot", "ptest snapshot list", "ptest snapshot remove"),
        }
    }
}

/// What has this name now.
pub(crate) fn holder(connection: &Connection, name: &str) -> Result<Option<Thing>> {
    for thing in [Thing::Environment, Thing::Snapshot] {
        let sql = format!("SELECT 1 FROM {} WHERE name = ?1", thing.table());
        if connection.prepare_cached(&sql)?.exists([name])? {
            return Ok(Some(thing));
        }
    }
    Ok(None)
}

/// Refuses a name that something has now. Only a transaction that goes on to use it can be sure.
pub(crate) fn refuse_taken(connection: &Connection, name: &str) -> Result<()> {
    // An environment without a name, or with another, is reached by it.
    let sql = "SELECT 1 FROM environments WHERE id = ?1";
    if connection.prepare_cached(sql)?.exists([name])? {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("`{name}` is the id of an environment"),
        )
        .with_hint("choose another name"));
    }
    let Some(thing) = holder(connection, name)? else {
        return Ok(());
    };
    let (what, _, remove) = thing.words();
    Err(Error::new(
        ErrorKind::AlreadyExists,
        format!("{what} named `{name}` exists"),
    )
    .with_hint(format!("choose another name, or `{remove} {name}` first")))
}

/// The same, before much is done.
pub(crate) fn refuse_taken_now(database: &Database, name: &Name) -> Result<()> {
    database.read(|connection| refuse_taken(connection, name.as_str()))
}

impl Ptest {
    /// Says that there is no such environment, or neither that nor a snapshot, and what may have
    /// been meant.
    pub(crate) fn no(&self, things: &[Thing], label: &str) -> Error {
        let shown: String = label
            .chars()
            .take(80)
            .flat_map(char::escape_debug)
            .collect();
        let words: Vec<_> = things.iter().map(|thing| thing.words()).collect();
        let nouns: Vec<&str> = words
            .iter()
            .map(|(what, ..)| what.split_once(' ').map_or(*what, |(_, noun)| noun))
            .collect();
        let error = Error::new(
            ErrorKind::NotFound,
            format!("there is no {} `{shown}`", nouns.join(" or ")),
        );
        let known = things.iter().flat_map(|thing| self.labels(*thing));
        let near = known
            .map(|name| (strsim::jaro_winkler(&name, label), name))
            .filter(|(similarity, _)| *similarity > 0.8)
            .max_by(|(left, _), (right, _)| left.total_cmp(right));
        let lists: Vec<String> = words
            .iter()
            .map(|(_, list, _)| format!("`{list}`"))
            .collect();
        match near {
            Some((_, name)) => error.with_hint(format!("did you mean `{name}`?")),
            None => error.with_hint(format!(
                "{} {} what there is",
                lists.join(" and "),
                if lists.len() == 1 { "shows" } else { "show" }
            )),
        }
    }

    /// What cannot be read is nothing that could have been meant.
    fn labels(&self, thing: Thing) -> Vec<String> {
        let database = self.store().database();
        match thing {
            Thing::Environment => {
                let records = table::all(database).unwrap_or_default();
                let labels = records.iter().map(Record::label);
                labels.map(str::to_owned).collect()
            }
            Thing::Snapshot => {
                let snapshots = snapshot::table::all(database).unwrap_or_default();
                snapshots.into_iter().map(|it| it.name.into()).collect()
            }
        }
    }
}
