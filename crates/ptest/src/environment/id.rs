//! Identity: the id that ptest gives and the name that people give.
//!
//! Both are parsed at the edge and trusted from there on: neither can be an
//! option, a path, or anything that a terminal or a file system takes amiss.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The longest name: it is a host name inside the environment (RFC 1123).
const NAME_MAX: usize = 63;

/// The identity of an environment: made by ptest, never used twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvironmentId(String);

impl EnvironmentId {
    /// A new identity from sixteen random bytes.
    ///
    /// The first letter keeps it apart from a number; the rest is hexadecimal,
    /// so it is a file name, a host name and a cgroup name as it stands.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(1 + 2 * bytes.len());
        text.push('e');
        for byte in bytes {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnvironmentId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let hex = text.strip_prefix('e').unwrap_or_default();
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() == 32 && hex.bytes().all(lower_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::new(
                ErrorKind::InvalidInput,
                format!("`{text}` is not an environment id"),
            ))
        }
    }
}

impl TryFrom<String> for EnvironmentId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<EnvironmentId> for String {
    fn from(id: EnvironmentId) -> Self {
        id.0
    }
}

impl fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that a person gave to an environment or a snapshot: unique within one store among both, so
/// that it never means two things.
///
/// Letters, digits, `-`, `_` and `.`, beginning with a letter or digit and at
/// most 63 long.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Checks a name as it came from a command line, not UTF-8 included.
    pub fn from_os(text: &OsStr) -> Result<Self, Error> {
        text.to_str()
            .ok_or_else(|| invalid(&text.to_string_lossy(), "it is not UTF-8"))?
            .parse()
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some(first) = text.bytes().next() else {
            return Err(invalid(text, "it is empty"));
        };
        if !first.is_ascii_alphanumeric() {
            return Err(invalid(text, "it does not begin with a letter or digit"));
        }
        if text.len() > NAME_MAX {
            return Err(invalid(text, "it is longer than 63 characters"));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !text.bytes().all(allowed) {
            return Err(invalid(
                text,
                "it holds something else than letters, digits, `-`, `_` and `.`",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn invalid(text: &str, why: &str) -> Error {
    const SHOWN: usize = 80;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    Error::new(
        ErrorKind::InvalidInput,
        format!("`{shown}` cannot be a name: {why}"),
    )
    .with_hint(
        "use letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most 63",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn names_that_could_be_paths_options_or_nothing_are_refused() {
        let long = "a".repeat(300);
        for text in [
            "",
            "--help",
            "-x",
            ".",
            "..",
            "../x",
            "a/b",
            "a b",
            "a\nb",
            "é",
            long.as_str(),
        ] {
            let refused = text.parse::<Name>().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{text:?}");
            assert!(refused.hint().is_some());
            assert!(refused.to_string().len() < 300, "{text:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_is_refused() {
        let refused = Name::from_os(OsStr::from_bytes(b"a\xff")).unwrap_err();
        assert!(refused.to_string().contains("UTF-8"));
    }

    #[test]
    fn ordinary_names_are_taken() {
        for text in ["a", "web-3.12", "1st", "My_env", &"a".repeat(63)] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn an_id_made_from_random_bytes_parses_back() {
        let id = EnvironmentId::from_random([0xab; 16]);
        assert_eq!(id.as_str().parse::<EnvironmentId>().unwrap(), id);
        assert!("e../../x".parse::<EnvironmentId>().is_err());
    }
}
