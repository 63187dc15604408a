//! Recipes: what was asked for, and the stack it led to.
//!
//! A known recipe needs no process, no network and no copy. Not for making what
//! is not known: that is `provision`'s.

use std::path::Path;
use std::time::Duration;

use ptest_store::{Database, LayerId, Stack, StackId};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::improve;
use crate::python::name::file_url;
use crate::timestamp::Timestamp;

/// The schema of recipes and of the layers that they are put together from.
pub(crate) const SCHEMA: &str = "
CREATE TABLE recipes (
    key TEXT PRIMARY KEY,
    stack TEXT NOT NULL,
    exact INTEGER NOT NULL,
    resolved_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE pins (
    stack TEXT PRIMARY KEY,
    pins TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE known_layers (
    key TEXT PRIMARY KEY,
    layer TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE interpreters (
    key TEXT PRIMARY KEY,
    answer TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Begins the key of a recipe that is never asked for again.
pub(crate) const ONCE: &str = "once-";

/// Begins the key of a recipe that is known by its stack alone.
pub(crate) const PINS: &str = "pins-";

/// When a recipe was last used, so that what nobody asks for any more can be collected.
pub(crate) const USES: &str = "
ALTER TABLE recipes ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
UPDATE recipes SET used_at = resolved_at;
";

/// Which layers of a stack hold what commands wrote, from the bottom: no recipe leads to them.
pub(crate) const WRITTEN: &str = "
ALTER TABLE pins ADD COLUMN written TEXT NOT NULL DEFAULT '[]';
";

/// What is known of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The distributions that ptest put there, by name.
    pub(crate) pins: Vec<Pin>,
    /// The layers that hold what commands wrote, on top of these.
    pub(crate) written: Vec<LayerId>,
}

/// One distribution of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// Its name, normalised (PEP 503).
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its layer.
    pub layer: String,
    /// The file it was made from.
    pub file: String,
    /// The SHA-256 of that file.
    pub sha256: String,
    /// Whether it was asked for itself, not only needed by another.
    pub requested: bool,
    /// The project that it is an editable install of, if it is one.
    pub editable: Option<String>,
    /// The name of its metadata directory.
    pub dist_info: String,
    /// Where it came from, if it was asked for by that (PEP 610).
    pub direct_url: Option<String>,
    /// Where that file was found, without credentials: at an index, in a directory.
    #[serde(default)]
    pub found_at: Option<String>,
}

impl Pin {
    /// Its layer.
    pub(crate) fn layer(&self) -> Result<LayerId> {
        self.layer
            .parse()
            .map_err(|error| damaged(&self.layer, error))
    }

    /// Whether it is of that project, wheel or archive on this machine.
    pub(crate) fn came_from(&self, path: &Path) -> bool {
        let url = file_url(path);
        self.direct_url
            .as_deref()
            .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok())
            .is_some_and(|object| object["url"] == url)
    }
}

/// What a recipe led to.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The hash of what was asked for.
    pub key: String,
    /// The stack.
    pub stack: StackId,
    /// Whether every distribution was pinned by what was asked for, so that it never changes.
    pub exact: bool,
    /// When the versions were chosen.
    pub resolved_at: Timestamp,
}

impl Recipe {
    /// Whether the versions may still be used without asking an index.
    pub(crate) fn is_fresh(&self, lifetime: Duration) -> bool {
        let age = Timestamp::now()
            .as_millisecond()
            .saturating_sub(self.resolved_at.as_millisecond());
        self.exact || u128::try_from(age).is_ok_and(|age| age < lifetime.as_millis())
    }
}

/// Whether a name is one that only a recipe has: a hash, for some after a word that says of what.
pub(crate) fn is_key(name: &str) -> bool {
    let hash = name
        .strip_prefix(ONCE)
        .or_else(|| name.strip_prefix(PINS))
        .unwrap_or(name);
    matches!(hash.len(), 32 | 64) && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The recipe of a key.
pub(crate) fn find(database: &Database, key: &str) -> Result<Option<Recipe>> {
    let row: Option<(String, bool, i64)> = database.read(|connection| {
        connection
            .prepare_cached("SELECT stack, exact, resolved_at FROM recipes WHERE key = ?1")?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()
            .map_err(Error::from)
    })?;
    let Some((stack, exact, resolved_at)) = row else {
        return Ok(None);
    };
    Ok(Some(Recipe {
        key: key.to_owned(),
        stack: stack.parse().map_err(|error| damaged(key, error))?,
        exact,
        resolved_at: Timestamp::from_millisecond(resolved_at),
    }))
}

/// Says that a recipe was used now; `false` when there is none of that key.
pub(crate) fn touch(transaction: &Connection, key: &str) -> Result<bool> {
    let touched = transaction
        .prepare_cached("UPDATE recipes SET used_at = ?2 WHERE key = ?1")?
        .execute(params![key, Timestamp::now().as_millisecond()])?;
    Ok(touched > 0)
}

/// Keeps a recipe, its stack and the pins of that, in place of a recipe that had the same key.
pub(crate) fn keep(
    database: &Database,
    recipe: &Recipe,
    stack: &Stack,
    pins: &[Pin],
) -> Result<()> {
    let contents = Contents {
        pins: pins.to_vec(),
        written: Vec::new(),
    };
    database.write(|transaction| {
        let stack = know(transaction, stack, &contents)?.to_string();
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO recipes (key, stack, exact, resolved_at, used_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                recipe.key,
                stack,
                recipe.exact,
                recipe.resolved_at.as_millisecond(),
                Timestamp::now().as_millisecond(),
            ])?;
        Ok(())
    })
}

/// Records a stack and what is known of it. Nothing but a lease keeps it until a row refers to it.
pub(crate) fn know(
    transaction: &Connection,
    stack: &Stack,
    contents: &Contents,
) -> Result<StackId> {
    let id = stack.insert(transaction)?;
    let written: Vec<String> = contents.written.iter().map(LayerId::to_string).collect();
    // A stack is its layers, so what is known of it never changes.
    transaction
        .prepare_cached("INSERT OR IGNORE INTO pins (stack, pins, written) VALUES (?1, ?2, ?3)")?
        .execute(params![
            id.to_string(),
            crate::json::text(&contents.pins)?,
            crate::json::text(&written)?
        ])?;
    improve::serve_below(transaction, stack, &id, contents)?;
    Ok(id)
}

/// What is known of a stack.
pub(crate) fn contents(database: &Database, stack: &StackId) -> Result<Contents> {
    let stack = stack.to_string();
    let row: Option<(String, String)> = database.read(|connection| {
        connection
            .prepare_cached("SELECT pins, written FROM pins WHERE stack = ?1")?
            .query_row([&stack], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(Error::from)
    })?;
    let (pins, written) = row.ok_or_else(|| {
        Error::new(
            ErrorKind::Corrupt,
            format!("nothing is known of stack {stack}"),
        )
    })?;
    let pins = serde_json::from_str(&pins).map_err(|error| damaged(&stack, error))?;
    let written: Vec<String> =
        serde_json::from_str(&written).map_err(|error| damaged(&stack, error))?;
    let written = written.iter().map(|layer| layer.parse());
    Ok(Contents {
        pins,
        written: written
            .collect::<Result<_, _>>()
            .map_err(|error| damaged(&stack, error))?,
    })
}

/// The distributions of a stack that ptest put there, by name.
pub(crate) fn pins(database: &Database, stack: &StackId) -> Result<Vec<Pin>> {
    Ok(contents(database, stack)?.pins)
}

/// What is in a layer that was made from one thing alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// The name of the distribution, as it writes it; empty for a skeleton.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// The name of its metadata directory.
    pub(crate) dist_info: String,
    /// The wheel it was made from.
    pub(crate) file: String,
    /// The SHA-256 of that wheel.
    pub(crate) sha256: String,
}

/// The layer that is known under a key: a distribution's or a skeleton's.
pub(crate) fn known_layer(database: &Database, key: &str) -> Result<Option<(LayerId, Content)>> {
    let row: Option<(String, String)> = database.read(|connection| {
        connection
            .prepare_cached("SELECT layer, content FROM known_layers WHERE key = ?1")?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(Error::from)
    })?;
    let Some((layer, content)) = row else {
        return Ok(None);
    };
    let layer = layer.parse().map_err(|error| damaged(key, error))?;
    let content = serde_json::from_str(&content).map_err(|error| damaged(key, error))?;
    Ok(Some((layer, content)))
}

/// The layers that are known under keys of `beginning` and one word more, with that word.
pub(crate) fn known_layers(
    database: &Database,
    beginning: &str,
) -> Result<Vec<(String, LayerId, Content)>> {
    let rows: Vec<(String, String, String)> = database.read(|connection| {
        connection
            .prepare_cached(
                "SELECT key, layer, content FROM known_layers \
                 WHERE key > ?1 || ' ' AND key < ?1 || '!'",
            )?
            .query_map([beginning], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<Result<_, _>>()
            .map_err(Error::from)
    })?;
    rows.into_iter()
        .map(|(key, layer, content)| {
            let layer = layer.parse().map_err(|error| damaged(&key, error))?;
            let content = serde_json::from_str(&content).map_err(|error| damaged(&key, error))?;
            let word = key[beginning.len()..].trim_start().to_owned();
            Ok((word, layer, content))
        })
        .collect()
}

/// Makes a layer known under a key.
pub(crate) fn know_layer(
    database: &Database,
    key: &str,
    layer: &LayerId,
    content: &Content,
) -> Result<()> {
    let content = crate::json::text(content)?;
    database.write(|transaction| {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO known_layers (key, layer, content) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![key, layer.to_string(), content])?;
        Ok(())
    })
}

/// What an interpreter answered, by its file's identity.
pub(crate) fn interpreter(database: &Database, key: &str) -> Result<Option<String>> {
    database.read(|connection| {
        connection
            .prepare_cached("SELECT answer FROM interpreters WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()
            .map_err(Error::from)
    })
}

/// Keeps what an interpreter answered.
pub(crate) fn keep_interpreter(database: &Database, key: &str, answer: &str) -> Result<()> {
    database.write(|transaction| {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO interpreters (key, answer) VALUES (?1, ?2)")?
            .execute(params![key, answer])?;
        Ok(())
    })
}

fn damaged(key: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the row of {key} in the database is damaged"),
    )
    .with_source(source)
}
