//! The errors of the crates and modules below, as the library's own.

use ptest_sandbox::error::FailureSource;
use ptest_sandbox::protocol::Stage;

use super::{Error, ErrorKind, below, io_kind};
use crate::python::installer::{FailureKind, InstallerError};
use crate::python::interpreter::InterpreterError;
use crate::python::provenance::ProvenanceError;
use crate::python::request::RequestError;
use crate::python::requirement::RequirementError;
use crate::python::skeleton::SkeletonError;
use crate::python::tools::PipToolError;
use crate::python::wheel::WheelError;

impl From<ptest_store::Error> for Error {
    fn from(source: ptest_store::Error) -> Self {
        use ptest_store::ErrorKind as Store;
        let kind = match source.kind() {
            Store::ReadOnly | Store::NoSpace => ErrorKind::Storage,
            Store::PermissionDenied => ErrorKind::PermissionDenied,
            Store::NotFound => ErrorKind::NotFound,
            Store::AlreadyExists => ErrorKind::AlreadyExists,
            Store::Busy => ErrorKind::Busy,
            Store::Corrupt => ErrorKind::Corrupt,
            Store::NewerFormat => ErrorKind::Unsupported,
            Store::Forked => ErrorKind::IllegalState,
            Store::InvalidInput => ErrorKind::InvalidInput,
            _ => ErrorKind::Unexpected,
        };
        below(kind, source.hint(), source)
    }
}

impl From<ptest_sandbox::Error> for Error {
    fn from(source: ptest_sandbox::Error) -> Self {
        use ptest_sandbox::Error as Sandbox;
        let hint = source.hint().map(str::to_owned);
        let kind = match &source {
            Sandbox::Spawn(FailureSource(failure)) if failure.stage == Stage::Directory => {
                io_kind(&std::io::Error::from_raw_os_error(failure.errno))
            }
            Sandbox::Spawn(_) => match source.exit_code() {
                Some(127) => ErrorKind::CommandNotFound,
                Some(_) => ErrorKind::CommandNotExecutable,
                None => ErrorKind::Unexpected,
            },
            Sandbox::Start { source, .. } | Sandbox::Io { source, .. } => io_kind(source),
            Sandbox::Launch(_)
            | Sandbox::TooManyLayers { .. }
            | Sandbox::Limit { .. }
            | Sandbox::Covered { .. }
            | Sandbox::NotPrivate => ErrorKind::Unsupported,
            Sandbox::Locked { .. } => ErrorKind::Busy,
            Sandbox::Invalid { .. } => ErrorKind::InvalidInput,
            Sandbox::Version { .. } | Sandbox::Forked { .. } | Sandbox::Ended => {
                ErrorKind::IllegalState
            }
            Sandbox::NotOurs { .. } => ErrorKind::PermissionDenied,
            Sandbox::Deadline { .. } => ErrorKind::Timeout,
            _ => ErrorKind::Unexpected,
        };
        below(kind, hint, source)
    }
}

/// A statement that the library itself ran on the store's database.
impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        ptest_store::Error::from(source).into()
    }
}

impl From<RequestError> for Error {
    fn from(source: RequestError) -> Self {
        below(ErrorKind::InvalidInput, source.hint(), source)
    }
}

impl From<RequirementError> for Error {
    fn from(source: RequirementError) -> Self {
        below(ErrorKind::InvalidInput, source.hint(), source)
    }
}

impl From<InterpreterError> for Error {
    fn from(source: InterpreterError) -> Self {
        let kind = match &source {
            InterpreterError::NotFound { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Unsupported,
        };
        below(kind, source.hint(), source)
    }
}

impl From<SkeletonError> for Error {
    fn from(source: SkeletonError) -> Self {
        below(ErrorKind::Unexpected, None, source)
    }
}

impl From<PipToolError> for Error {
    fn from(source: PipToolError) -> Self {
        below(ErrorKind::Unsupported, source.hint(), source)
    }
}

impl From<InstallerError> for Error {
    fn from(source: InstallerError) -> Self {
        let kind = match source.kind() {
            FailureKind::NoSuchRequirement | FailureKind::Conflict => ErrorKind::Resolution,
            FailureKind::Network => ErrorKind::Network,
            FailureKind::HashMismatch => ErrorKind::Corrupt,
            FailureKind::BuildFailed => ErrorKind::Build,
            FailureKind::Other => ErrorKind::Unexpected,
        };
        let words = source.words().map(str::to_owned);
        let error = below(kind, source.hint(), source);
        match words {
            Some(words) => error.with_output(words),
            None => error,
        }
    }
}

impl From<WheelError> for Error {
    fn from(source: WheelError) -> Self {
        below(ErrorKind::Corrupt, None, source)
    }
}

impl From<ProvenanceError> for Error {
    fn from(source: ProvenanceError) -> Self {
        below(io_kind(&source.source), None, source)
    }
}
