//! Why a command failed, as far as the command line tells apart.

use std::{error::Error as StdError, io};

use ptest::config::ConfigError;
use thiserror::Error;

use crate::exit_code::Exit;

/// The error of a command.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Standard output cannot be written.
    #[error("cannot write standard output")]
    Output(#[source] io::Error),
    /// A file that the user asked for cannot be written.
    #[error("cannot write {what}")]
    Write { what: String, source: io::Error },
    /// The arguments do not go together, in a way that the parser cannot see.
    #[error("{message}")]
    Usage {
        message: String,
        hint: Option<&'static str>,
    },
}

impl CliError {
    /// A word for programs that read the error.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::Output(_) => "output",
            Self::Write { .. } => "write",
            Self::Usage { .. } => "usage",
        }
    }

    /// What the user can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Usage { hint, .. } => hint.map(str::to_owned),
            Self::Output(_) | Self::Write { .. } => None,
        }
    }

    /// The words of the tool that failed.
    pub(crate) fn output(&self) -> Option<String> {
        match self {
            Self::Config(_) | Self::Output(_) | Self::Write { .. } | Self::Usage { .. } => None,
        }
    }

    /// What the program ends with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::BrokenPipe,
            Self::Usage { .. } => Exit::Usage,
            Self::Config(_) | Self::Output(_) | Self::Write { .. } => Exit::Failed,
        }
    }

    /// The causes, outermost first, each once: a cause that only repeats the line before is left out.
    pub(crate) fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut before = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if text != before && !before.ends_with(&format!(": {text}")) {
                causes.push(text.clone());
            }
            before = text;
            next = StdError::source(cause);
        }
        causes
    }
}
