//! One line of the log: as a JSON object for the file, as text for people.

use std::time::Duration;

use ptest::timestamp::Timestamp;
use serde_json::{Map, Value};
use tracing::Level;

/// The most of a text that a line holds, in bytes.
const LONGEST: usize = 8 << 10;

/// What an event or an operation tells, in its order.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Sets a field; of a long text its beginning.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        let value = match value {
            Value::String(text) if text.len() > LONGEST => {
                Value::String(format!("{}…", &text[..text.floor_char_boundary(LONGEST)]))
            }
            value => value,
        };
        self.0.insert(name.to_owned(), value);
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

/// What is told.
pub(super) struct Line<'a> {
    pub(super) level: Level,
    pub(super) target: &'a str,
    /// The fields of the operation that it is told of.
    pub(super) operation: Option<&'a Fields>,
    pub(super) fields: &'a Fields,
}

impl Line<'_> {
    /// The object, with its line feed.
    pub(super) fn json(&self) -> String {
        let mut object = Map::new();
        let mut set = |name: &str, value| object.insert(name.to_owned(), value);
        set("time", Timestamp::now().to_string().into());
        set("level", self.level.as_str().to_ascii_lowercase().into());
        set("pid", std::process::id().into());
        set("target", self.target.into());
        set(
            "message",
            self.fields.text("message").unwrap_or_default().into(),
        );
        if let Some(operation) = self.operation {
            object.extend(operation.0.clone());
        }
        let others = self.fields.0.iter().filter(|(name, _)| *name != "message");
        object.extend(others.map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(object).to_string() + "\n"
    }

    /// A sentence, so long after the program began. Why an operation failed is not said: whoever called is told that.
    pub(super) fn text(&self, elapsed: Duration) -> String {
        let mut text = format!("{:>8.3} s  ", elapsed.as_secs_f64());
        if let Some(operation) = self.operation {
            let words = ["kind", "label"];
            for word in words.iter().filter_map(|name| operation.text(name)) {
                text += word;
                text.push(' ');
            }
            text.truncate(text.trim_end().len());
            text += ": ";
        }
        text += self.fields.text("message").unwrap_or_default();
        for (name, value) in &self.fields.0 {
            let value = match value {
                _ if ["message", "error", "error_kind", "output"].contains(&name.as_str()) => {
                    continue;
                }
                Value::String(text) => text.replace('\n', " "),
                Value::Number(number) if number.is_f64() => {
                    format!("{:.3}", number.as_f64().unwrap_or_default())
                }
                value => value.to_string(),
            };
            text += &format!(" {name}={value}");
        }
        text.push('\n');
        text
    }
}
