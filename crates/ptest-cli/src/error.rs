//! Why a command failed, as far as the command line tells apart.

use std::io;

use ptest::{ErrorKind, config::ConfigError};
use ptest_report::ErrorDto;
use thiserror::Error;

use crate::exit_code::Exit;

/// The error of a command.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The library failed.
    #[error(transparent)]
    Ptest(#[from] ptest::Error),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory that the caller stands in is gone.
    #[error("the working directory has been deleted")]
    NoWorkingDirectory,
    /// Standard output cannot be written.
    #[error("cannot write standard output")]
    Output(#[source] io::Error),
    /// Something of this process cannot be set up.
    #[error("cannot {what}")]
    Process {
        what: &'static str,
        source: io::Error,
    },
    /// A file that the user asked for cannot be written.
    #[error("cannot write {what}")]
    Write { what: String, source: io::Error },
    /// The arguments do not go together, in a way that the parser cannot see.
    #[error("{message}")]
    Usage {
        message: String,
        hint: Option<&'static str>,
    },
    /// A signal asked ptest to end while it was making something, which has been undone.
    #[error("interrupted; what was begun has been undone")]
    Interrupted { signal: i32 },
}

impl CliError {
    /// What kind of thing went wrong: the library's word for it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Ptest(error) => error.kind(),
            Self::Config(_) | Self::Usage { .. } => ErrorKind::InvalidInput,
            Self::NoWorkingDirectory => ErrorKind::NotFound,
            Self::Output(_)
            | Self::Process { .. }
            | Self::Write { .. }
            | Self::Interrupted { .. } => ErrorKind::Unexpected,
        }
    }

    /// What the user can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Ptest(error) => error.hint().map(str::to_owned),
            Self::Config(error) => error.hint(),
            Self::NoWorkingDirectory => Some("change to a directory that exists".to_owned()),
            Self::Usage { hint, .. } => hint.map(str::to_owned),
            Self::Output(_)
            | Self::Process { .. }
            | Self::Write { .. }
            | Self::Interrupted { .. } => None,
        }
    }

    /// The words of the tool that failed.
    pub(crate) fn output(&self) -> Option<&str> {
        match self {
            Self::Ptest(error) => error.output(),
            Self::Config(_)
            | Self::NoWorkingDirectory
            | Self::Output(_)
            | Self::Process { .. }
            | Self::Write { .. }
            | Self::Usage { .. }
            | Self::Interrupted { .. } => None,
        }
    }

    /// What the program ends with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Ptest(error) => match error.kind() {
                ErrorKind::CommandNotFound => Exit::NotFound,
                ErrorKind::CommandNotExecutable => Exit::NotExecutable,
                _ => Exit::Failed,
            },
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::BrokenPipe,
            Self::Usage { .. } => Exit::Usage,
            Self::Interrupted { signal } => Exit::Signal(*signal),
            Self::Config(_)
            | Self::NoWorkingDirectory
            | Self::Output(_)
            | Self::Process { .. }
            | Self::Write { .. } => Exit::Failed,
        }
    }

    /// The causes, outermost first, each once.
    pub(crate) fn causes(&self) -> Vec<String> {
        ptest::causes(self)
    }
}

impl From<&CliError> for ErrorDto {
    fn from(error: &CliError) -> Self {
        Self::new(error.kind(), error, error.hint(), error.output())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_command_that_cannot_be_started_has_codes_of_its_own() {
        for kind in ErrorKind::ALL {
            let expected = match kind {
                ErrorKind::CommandNotFound => 127,
                ErrorKind::CommandNotExecutable => 126,
                _ => 125,
            };
            assert_eq!(
                CliError::from(ptest::Error::new(kind, "x")).exit().number(),
                expected,
                "{kind}"
            );
        }
    }

    #[test]
    fn each_cause_is_told_once() {
        let inner = io::Error::other("no space");
        let error = CliError::Output(io::Error::other(ptest::Error::io("write x", inner)));
        assert_eq!(error.causes(), ["failed to write x", "no space"]);
    }
}
