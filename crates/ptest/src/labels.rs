//! Labels: what people and programs write on environments to find them again, such as `team=a`.
//!
//! They are part of an environment's settings, so that they go wherever those go; a table beside them
//! is there to be searched. Not names: any number of environments can have the same label.

mod selector;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

pub use self::selector::Selector;
use crate::environment::EnvironmentId;
use crate::error::{Error, ErrorKind, Result};

/// The schema of the table that is searched. It says what the settings say.
pub(crate) const SCHEMA: &str = "
CREATE TABLE labels (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    environment TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    PRIMARY KEY (key, value, environment)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_of ON labels (environment);
";

/// The longest part of a label, as Kubernetes has it, so that a label can be one there.
const PART_MAX: usize = 63;

/// The longest prefix of a key.
const PREFIX_MAX: usize = 253;

/// The labels of an environment.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

/// What a label says something about: `team`, or `example.org/team`.
///
/// At most 63 letters, digits, `-`, `_` and `.`, the first and last a letter or digit, after the name
/// of a domain and a `/` if there is need to tell whose word it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelKey(String);

/// What a label says: nothing, or what the last part of a key can be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelValue(String);

/// One label, as it is written: `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What it is about.
    pub key: LabelKey,
    /// What it says.
    pub value: LabelValue,
}

impl LabelKey {
    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LabelValue {
    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabelKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let name = match text.split_once('/') {
            Some((prefix, name)) if is_domain(prefix) => name,
            Some(_) => {
                return Err(invalid(
                    text,
                    "the key of a label",
                    "what is before the `/` is no domain",
                ));
            }
            None => text,
        };
        match fault(name) {
            Some(fault) => Err(invalid(text, "the key of a label", fault)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl FromStr for LabelValue {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match fault(text) {
            Some(fault) if !text.is_empty() => Err(invalid(text, "the value of a label", fault)),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| invalid(text, "a label", "it has no `=`"))?;
        Ok(Self {
            key: key.parse()?,
            value: value.parse()?,
        })
    }
}

impl TryFrom<String> for LabelKey {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl TryFrom<String> for LabelValue {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<LabelKey> for String {
    fn from(key: LabelKey) -> Self {
        key.0
    }
}

impl From<LabelValue> for String {
    fn from(value: LabelValue) -> Self {
        value.0
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes the table say what these labels are, in the transaction that writes them.
pub(crate) fn index(transaction: &Connection, id: &EnvironmentId, labels: &Labels) -> Result<()> {
    transaction
        .prepare_cached("DELETE FROM labels WHERE environment = ?1")?
        .execute([id.as_str()])?;
    let mut insert = transaction
        .prepare_cached("INSERT INTO labels (key, value, environment) VALUES (?1, ?2, ?3)")?;
    for (key, value) in labels {
        insert.execute([key.as_str(), value.as_str(), id.as_str()])?;
    }
    Ok(())
}

fn is_domain(text: &str) -> bool {
    let is_part = |part: &str| {
        let part = part.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        part.iter().all(inner)
            && part.first().is_some_and(|byte| *byte != b'-')
            && part.last().is_some_and(|byte| *byte != b'-')
    };
    text.len() <= PREFIX_MAX && text.split('.').all(is_part)
}

/// What keeps a text from being a part of a label.
fn fault(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Some("it is empty");
    };
    if !first.is_ascii_alphanumeric() || !last.is_ascii_alphanumeric() {
        return Some("it does not begin and end with a letter or digit");
    }
    if bytes.len() > PART_MAX {
        return Some("it is longer than 63 characters");
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!bytes.iter().all(allowed))
        .then_some("it holds something else than letters, digits, `-`, `_` and `.`")
}

fn invalid(text: &str, what: &str, why: &str) -> Error {
    let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    Error::new(
        ErrorKind::InvalidInput,
        format!("`{shown}` cannot be {what}: {why}"),
    )
    .with_hint("a label is written KEY=VALUE, such as team=a, in letters, digits, `-`, `_` and `.`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_it_is_in_kubernetes() {
        for text in ["team=a", "a.b_c-1=", "example.org/team=A.b", "x=1"] {
            let label: Label = text.parse().unwrap();
            assert_eq!(format!("{}={}", label.key, label.value), text);
        }
        let long = "a".repeat(64);
        for text in [
            "",
            "team",
            "=a",
            "-a=b",
            "a=-b",
            "a=b=c",
            "a b=c",
            "é=c",
            "a/b/c=d",
            "/a=b",
            "Upper.org/a=b",
            "a=b,c=d",
            &format!("{long}=a"),
            &format!("a={long}"),
        ] {
            let refused = text.parse::<Label>().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{text:?}");
            assert!(refused.hint().is_some(), "{text:?}");
        }
    }
}
