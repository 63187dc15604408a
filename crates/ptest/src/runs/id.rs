//! How a run is called: by an id in its store, or by its number in its environment.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// The identity of a run in its store, written `r17`. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub(super) i64);

impl RunId {
    /// The number in it, by which engines find a run.
    pub(crate) fn key(self) -> u64 {
        self.0.unsigned_abs()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.strip_prefix('r')
            .and_then(number)
            .map(Self)
            .ok_or_else(|| unknown(text))
    }
}

/// Which run of an environment is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunChoice {
    /// The one that began last.
    #[default]
    Last,
    /// The one with this number: the first is 1.
    Number(u32),
    /// The one with this id.
    Id(RunId),
}

impl fmt::Display for RunChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Number(number) => number.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

impl FromStr for RunChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "last" => Ok(Self::Last),
            _ if text.starts_with('r') => text.parse().map(Self::Id),
            _ => number(text)
                .and_then(|number| u32::try_from(number).ok())
                .map(Self::Number)
                .ok_or_else(|| unknown(text)),
        }
    }
}

/// A number as it is written: no sign, nothing in front.
fn number(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

fn unknown(text: &str) -> Error {
    const SHOWN: usize = 40;
    let shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    Error::new(
        ErrorKind::InvalidInput,
        format!("`{shown}` does not name a run"),
    )
    .with_hint("name it by its number in the environment, such as 3, by its id, such as r17, or say `last`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_by_number_by_id_or_as_the_last() {
        for (text, choice) in [
            ("last", RunChoice::Last),
            ("3", RunChoice::Number(3)),
            ("r17", RunChoice::Id(RunId(17))),
        ] {
            assert_eq!(text.parse::<RunChoice>().unwrap(), choice);
            assert_eq!(choice.to_string(), text);
        }
        for text in [
            "",
            "r",
            "0",
            "r0",
            "+3",
            "r+1",
            "03",
            "-1",
            "4294967296",
            "x",
            "r99999999999999999999",
        ] {
            let error = text.parse::<RunChoice>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
