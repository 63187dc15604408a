//! The JSON schema of a file that is applied, for editors and checkers of TOML.
//!
//! Its keys are those by which files are read, and what is said of a setting is what the reference says.

use serde_json::{Map, Value, json};

use super::file::MANY;
use crate::asked::{OWN, SETTINGS};
use crate::config::Key;

/// The schema (JSON Schema 2020-12).
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What ptest apply reads",
        "type": "object",
        "properties": {
            "name": {
                "description": "What the file is known by. Without it, that is its path.",
                "type": "string",
            },
            "defaults": {
                "description": "What counts for every environment that does not say otherwise.",
                "$ref": "#/$defs/environment",
            },
            "environment": {
                "description": "Environments by name.",
                "type": "object",
                "additionalProperties": { "$ref": "#/$defs/environment" },
            },
            "hooks": of_setting(
                "hooks",
                "What is called when something happens to these environments; see the setting `hooks`.",
            ),
        },
        "additionalProperties": false,
        "$defs": {
            "environment": {
                "type": "object",
                "properties": properties(),
                "additionalProperties": false,
            },
            "texts": {
                "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
            },
            "variables": {
                "type": "object",
                "additionalProperties": { "type": "string" },
            },
            "point": {
                "type": "object",
                "properties": {
                    "python": { "type": "string" },
                    "set": { "type": "string" },
                    "env": { "$ref": "#/$defs/variables" },
                },
                "additionalProperties": false,
            },
        },
    })
}

fn properties() -> Map<String, Value> {
    let own = OWN
        .into_iter()
        .chain(MANY)
        .map(|key| (key.to_owned(), of_own(key)));
    let settings = SETTINGS
        .into_iter()
        .map(|key| (key.to_owned(), of_setting(key, &words(key))));
    own.chain(settings).collect()
}

/// What a key takes that is no setting.
fn of_own(key: &str) -> Value {
    let (description, takes) = match key {
        "with" => (
            "What is installed: requirements, URLs, paths of projects and wheels.",
            json!({ "$ref": "#/$defs/texts" }),
        ),
        "requirements" => (
            "Requirements files that say what is installed.",
            json!({ "$ref": "#/$defs/texts" }),
        ),
        "editable" => (
            "Projects that are installed so that their source tree is what is imported.",
            json!({ "$ref": "#/$defs/texts" }),
        ),
        "constraints" => (
            "Constraints files that versions are kept within.",
            json!({ "$ref": "#/$defs/texts" }),
        ),
        "ports" => (
            "Names of ports that it has, each of which commands see as a variable.",
            json!({ "$ref": "#/$defs/texts" }),
        ),
        "labels" => (
            "What is written on it, by key; added to those of the defaults.",
            json!({ "$ref": "#/$defs/variables" }),
        ),
        "count" => (
            "How many there are, named NAME-1, NAME-2 and so on.",
            json!({ "type": "integer", "minimum": 1 }),
        ),
        "matrix" => ("One for each combination, named after it.", matrix()),
        _ => ("", json!({})),
    };
    described(description, takes)
}

fn matrix() -> Value {
    json!({
        "type": "object",
        "properties": {
            "python": {
                "description": "Interpreters.",
                "$ref": "#/$defs/texts",
            },
            "sets": {
                "description": "Sets of requirements by name.",
                "type": "object",
                "additionalProperties": { "$ref": "#/$defs/texts" },
            },
            "env": {
                "description": "Variables and the values of each.",
                "type": "object",
                "additionalProperties": { "$ref": "#/$defs/texts" },
            },
            "exclude": {
                "description": "Combinations that there are not: those that have all of one of these.",
                "type": "array",
                "items": { "$ref": "#/$defs/point" },
            },
            "include": {
                "description": "Combinations that there are besides.",
                "type": "array",
                "items": { "$ref": "#/$defs/point" },
            },
        },
        "additionalProperties": false,
    })
}

/// What a setting takes.
fn of_setting(key: &str, description: &str) -> Value {
    described(description, Key::find(key).map_or(json!({}), Key::schema))
}

/// What the reference says of a setting, on one line.
fn words(key: &str) -> String {
    let doc = Key::find(key).map_or("", |key| key.doc);
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn described(description: &str, mut takes: Value) -> Value {
    takes["description"] = json!(description);
    takes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::file::keys;

    #[test]
    fn every_key_that_is_read_is_described() {
        let properties = properties();
        assert_eq!(properties.len(), keys().len());
        for (key, takes) in &properties {
            assert_ne!(takes["description"], "", "{key}");
        }
    }
}
