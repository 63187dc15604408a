//! What can be wrong with a configuration, and where.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

/// Why the configuration cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file is there but cannot be read.
    #[error("cannot read the configuration file {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write the configuration file {}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A key that does not exist.
    #[error("{place}: there is no setting `{key}`")]
    UnknownKey {
        /// Where it was written.
        place: Place,
        /// The key.
        key: String,
        /// The known key that it most resembles, if any does.
        nearest: Option<&'static str>,
    },
    /// A file that a caller names cannot be read.
    #[error("cannot read {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key that does not exist in its table.
    #[error("{place}: there is no key `{key}` here")]
    UnknownField {
        /// Where it was written.
        place: Place,
        /// The key.
        key: String,
        /// The key that it most resembles, if any does.
        nearest: Option<&'static str>,
        /// Every key that there is, for people.
        known: String,
    },
    /// A value that its key does not take.
    #[error("{place}: `{key}` must be {expected}, not {found}")]
    Field {
        /// Where it was written.
        place: Place,
        /// The key.
        key: String,
        /// What it takes.
        expected: String,
        /// What was given, and what is wrong with it.
        found: String,
    },
    /// A value of the wrong type, or out of range.
    #[error("{place}: `{key}` must be {expected}, not {found}")]
    Value {
        /// Where it was written.
        place: Place,
        /// The key.
        key: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What was given, and what is wrong with it.
        found: String,
    },
    /// The user's file has no place: neither `XDG_CONFIG_HOME` nor `HOME` is set.
    #[error("the user's configuration file has no place")]
    NoUserFile,
}

impl ConfigError {
    /// What to do about it, if that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey {
                nearest: Some(nearest),
                ..
            }
            | Self::UnknownField {
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean `{nearest}`?")),
            Self::UnknownKey { nearest: None, .. } => {
                Some("`ptest config list` shows every setting".to_owned())
            }
            Self::UnknownField { known, .. } => Some(format!("there are {known}")),
            Self::NoUserFile => Some("set HOME or XDG_CONFIG_HOME to an absolute path".to_owned()),
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Unreadable { .. }
            | Self::Syntax { .. }
            | Self::Value { .. }
            | Self::Field { .. } => None,
        }
    }
}

/// The place that a complaint is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A position in a file; line and column count from 1, columns in characters.
    File {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A variable.
    Variable(String),
    /// An argument of the command line or of a call.
    Argument,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Argument => f.write_str("argument"),
        }
    }
}
