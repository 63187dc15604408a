//! The name of a port, from which the variable is made that tells a command its number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

const LONGEST: usize = 63;

/// What a port is for: lower-case letters, digits and `-`, beginning with a letter and at most 63 long.
///
/// So narrow that no two names have the same variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortName(String);

impl PortName {
    /// What the names of all such variables begin with.
    pub const VARIABLE_PREFIX: &'static str = "PTEST_PORT_";

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The variable that holds the number: `PTEST_PORT_` and the name in capitals, each `-` being a `_`.
    pub fn variable(&self) -> String {
        let name = self.0.to_ascii_uppercase().replace('-', "_");
        format!("{}{name}", Self::VARIABLE_PREFIX)
    }
}

impl FromStr for PortName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let why = if !text.starts_with(|first: char| first.is_ascii_lowercase()) {
            "it does not begin with a lower-case letter"
        } else if text.len() > LONGEST {
            "it is longer than 63 characters"
        } else if !text.bytes().all(allowed) {
            "it holds something else than lower-case letters, digits and `-`"
        } else if text == "range" {
            "`PTEST_PORT_RANGE` is a setting"
        } else {
            return Ok(Self(text.to_owned()));
        };
        let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!("`{shown}` is no name of a port: {why}"),
        )
        .with_hint(
            "use lower-case letters, digits and `-`, at most 63, beginning with a letter: `http`",
        ))
    }
}

impl TryFrom<String> for PortName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<PortName> for String {
    fn from(name: PortName) -> Self {
        name.0
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_capitals_is_the_variable() {
        let name: PortName = "web-2".parse().unwrap();
        assert_eq!(name.variable(), "PTEST_PORT_WEB_2");
    }

    #[test]
    fn what_could_be_another_names_variable_is_no_name() {
        let long = "a".repeat(64);
        for text in [
            "", "HTTP", "my_db", "2", "-a", "a b", "a=b", "a\n", "é", "range", &long,
        ] {
            let error = text.parse::<PortName>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
            assert!(error.hint().is_some(), "{text:?}");
        }
    }
}
