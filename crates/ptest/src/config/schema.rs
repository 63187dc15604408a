//! The JSON schema of configuration files, for editors and for who writes such files by program: made from the one table of
//! settings, as reports and the reference are.
//!
//! What it lets through ptest may still refuse, such as a host that is none; what it refuses, ptest refuses too.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    choice::{ColorChoice, InstallerChoice, LogLevel, ProgressChoice, UserHome},
    keys::{Config, KEYS},
    units::{Size, Timeout},
};
use crate::hooks::Hook;
use crate::monitor::Alert;
use crate::ports::PortRange;
use crate::settings::{Cpus, HostRule, Network, Profile};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a `ptest.toml` or `config.toml`.
pub fn file_schema() -> Value {
    let mut schema = json!({
        "$schema": DIALECT,
        "title": "ptest",
        "description": "Settings of ptest, in ptest.toml or config.toml.",
    });
    extend(&mut schema, settings());
    schema
}

/// The schema of what ptest reads of a `pyproject.toml`.
pub fn pyproject_schema() -> Value {
    let mut ptest = json!({ "description": "Settings of ptest." });
    extend(&mut ptest, settings());
    json!({
        "$schema": DIALECT,
        "title": "ptest in pyproject.toml",
        "description": "What ptest reads of a pyproject.toml: the table [tool.ptest].",
        "type": "object",
        "properties": {
            "tool": { "type": "object", "properties": { "ptest": ptest } },
        },
    })
}

/// A table with every setting and no other.
fn settings() -> Value {
    let defaults = Config::default();
    let properties = KEYS.iter().map(|key| {
        let doc = key.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut schema = json!({ "description": doc });
        if let Some(row) = defaults.row(key.name).filter(|row| row.toml().is_some()) {
            extend(&mut schema, json!({ "default": row.json() }));
        }
        extend(&mut schema, key.schema());
        (key.name.to_owned(), schema)
    });
    json!({
        "type": "object",
        "properties": properties.collect::<Map<_, _>>(),
        "additionalProperties": false,
    })
}

fn extend(schema: &mut Value, with: Value) {
    if let (Value::Object(schema), Value::Object(with)) = (schema, with) {
        schema.extend(with);
    }
}

/// A type of setting whose values in a file a schema describes.
pub(super) trait Described {
    /// What a value may be.
    fn schema() -> Value;
}

impl<T: Described> Described for Option<T> {
    fn schema() -> Value {
        T::schema()
    }
}

impl Described for String {
    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Described for bool {
    fn schema() -> Value {
        json!({ "type": "boolean" })
    }
}

impl Described for NonZeroU32 {
    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX })
    }
}

/// A number with a point or without.
const NUMBER: &str = r"([0-9]+\.?[0-9]*|\.[0-9]+)";

/// A text of that form, or a whole number of the unit that a bare number has.
fn quantity(pattern: &str, least: u32) -> Value {
    json!({ "anyOf": [
        { "type": "string", "pattern": pattern },
        { "type": "integer", "minimum": least },
    ] })
}

fn duration(least: u32) -> Value {
    quantity(
        &format!(r"^\s*(({NUMBER}(ms|s|m|min|h|d))+|{NUMBER})\s*$"),
        least,
    )
}

impl Described for Duration {
    fn schema() -> Value {
        duration(0)
    }
}

impl Described for Timeout {
    fn schema() -> Value {
        let mut schema = duration(1);
        extend(
            &mut schema,
            json!({ "not": { "type": "string", "pattern": r"^\s*([0.]+(ms|s|m|min|h|d)?)+\s*$" } }),
        );
        schema
    }
}

impl Described for Size {
    fn schema() -> Value {
        let mut schema = quantity(
            &format!(r"^\s*{NUMBER}\s*([kKmMgGtT][iI]?[bB]?|[bB])?\s*$"),
            1,
        );
        extend(
            &mut schema,
            json!({ "not": { "type": "string", "pattern": r"^\s*[0.]+\s*[a-zA-Z]*\s*$" } }),
        );
        schema
    }
}

impl Described for Cpus {
    fn schema() -> Value {
        json!({ "type": "number", "minimum": 0.01 })
    }
}

impl Described for PortRange {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]{1,5}-[0-9]{1,5}$" })
    }
}

impl Described for PathBuf {
    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

impl Described for Vec<PathBuf> {
    fn schema() -> Value {
        list(PathBuf::schema())
    }
}

/// The name of a variable.
const VARIABLE: &str = "^[^=\\u0000]+$";

impl Described for Vec<String> {
    fn schema() -> Value {
        list(json!({ "type": "string", "pattern": VARIABLE }))
    }
}

impl Described for Vec<HostRule> {
    fn schema() -> Value {
        list(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Described for Vec<Hook> {
    fn schema() -> Value {
        let texts = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
        json!({ "type": "array", "items": {
            "type": "object",
            "properties": {
                "events": texts,
                "environments": texts,
                "command": texts,
                "url": { "type": "string", "pattern": "^http://" },
                "timeout": Timeout::schema(),
            },
            "required": ["events"],
            "oneOf": [{ "required": ["command"] }, { "required": ["url"] }],
            "additionalProperties": false,
        } })
    }
}

impl Described for Vec<Alert> {
    fn schema() -> Value {
        list(json!({ "type": "string", "pattern": "^[a-z_ ]+>" }))
    }
}

impl Described for BTreeMap<String, String> {
    fn schema() -> Value {
        json!({
            "type": "object",
            "propertyNames": { "pattern": VARIABLE },
            "additionalProperties": { "type": "string" },
        })
    }
}

impl Described for UserHome {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^(private|host|~)$|/" })
    }
}

macro_rules! words {
    ($($name:ident,)+) => {$(
        impl Described for $name {
            fn schema() -> Value {
                json!({ "enum": $name::WORDS })
            }
        }
    )+};
}

words! {
    Profile,
    Network,
    InstallerChoice,
    LogLevel,
    ProgressChoice,
    ColorChoice,
}
