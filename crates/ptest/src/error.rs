//! The one error type that callers of the library see.
//!
//! Callers branch on [`ErrorKind`]; people read the message, the facts and the
//! hint. The crates below keep their own small enums, which are converted here
//! and nowhere else. Not for wording at the edge: how an error is printed is
//! the program's business.

mod convert;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What the library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Arc<dyn StdError + Send + Sync + 'static>;

/// What kind of thing went wrong: the part that programs branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for is malformed: a name, a requirement, a limit.
    InvalidInput,
    /// The environment, interpreter, snapshot or file does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The environment is in a state that does not allow the operation.
    IllegalState,
    /// Another operation holds the environment.
    Busy,
    /// There is as much as there may be at once.
    NoRoom,
    /// The engine, the kernel or the machine cannot do this.
    Unsupported,
    /// The operating system refused.
    PermissionDenied,
    /// The disk is full, or read-only.
    Storage,
    /// No distribution satisfies the requirements.
    Resolution,
    /// An index or another host could not be reached, or refused.
    Network,
    /// A distribution could not be built from source.
    Build,
    /// A file is not what its hash or record says.
    Corrupt,
    /// The command does not exist inside the environment.
    CommandNotFound,
    /// The command exists and cannot be executed.
    CommandNotExecutable,
    /// A time limit passed.
    Timeout,
    /// A defect of ptest, or a failure of the machine that nothing above names.
    Unexpected,
}

impl ErrorKind {
    /// Every kind, for tests and mappings that must be complete.
    pub const ALL: [Self; 17] = [
        Self::InvalidInput,
        Self::NotFound,
        Self::AlreadyExists,
        Self::IllegalState,
        Self::Busy,
        Self::NoRoom,
        Self::Unsupported,
        Self::PermissionDenied,
        Self::Storage,
        Self::Resolution,
        Self::Network,
        Self::Build,
        Self::Corrupt,
        Self::CommandNotFound,
        Self::CommandNotExecutable,
        Self::Timeout,
        Self::Unexpected,
    ];

    /// The stable name used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::IllegalState => "illegal_state",
            Self::Busy => "busy",
            Self::NoRoom => "no_room",
            Self::Unsupported => "unsupported",
            Self::PermissionDenied => "permission_denied",
            Self::Storage => "storage",
            Self::Resolution => "resolution",
            Self::Network => "network",
            Self::Build => "build",
            Self::Corrupt => "corrupt",
            Self::CommandNotFound => "command_not_found",
            Self::CommandNotExecutable => "command_not_executable",
            Self::Timeout => "timeout",
            Self::Unexpected => "unexpected",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure: its kind, what failed on what, what to do, and why.
///
/// `Display` is the message alone; the causes follow by [`StdError::source`]. It can be cloned: what
/// keeps one environment from being made can keep many.
#[derive(Clone, Debug)]
pub struct Error {
    // Boxed so that a `Result` stays one word: errors are rare, results are not.
    inner: Box<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    output: Option<String>,
    source: Option<Source>,
    /// The error of a crate below that this one speaks for, its message being ours.
    origin: Option<Source>,
}

impl Error {
    /// An error of `kind` that says `message` (a lower-case fragment).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                hint: None,
                output: None,
                source: None,
                origin: None,
            }),
        }
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds the words of the tool that failed.
    #[must_use]
    pub fn with_output(mut self, output: impl Into<String>) -> Self {
        self.inner.output = Some(output.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync + 'static>>,
    ) -> Self {
        self.inner.source = Some(source.into().into());
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// What the reader can do about it, if anything is known.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// The words of the tool that failed (an installer's stderr).
    pub fn output(&self) -> Option<&str> {
        self.inner.output.as_deref()
    }

    /// An operating system error met while doing `what` (a fragment such as
    /// `create /a/b`), its kind taken from the error number.
    pub fn io(what: impl fmt::Display, source: std::io::Error) -> Self {
        let kind = io_kind(&source);
        let hint = storage_hint(&source);
        let mut error = Self::new(kind, format!("failed to {what}")).with_source(source);
        error.inner.hint = hint.map(str::to_owned);
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.inner.origin {
            Some(origin) => origin.source(),
            None => self.inner.source.as_deref().map(|source| source as _),
        }
    }
}

/// The causes of an error, outermost first. One that only repeats what it follows, or is repeated by what follows it, is
/// left out.
pub fn causes(error: &dyn StdError) -> Vec<String> {
    let mut causes = Vec::new();
    let mut before = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        let ends_with =
            |one: &str, other: &str| one == other || one.ends_with(&format!(": {other}"));
        if !ends_with(&before, &text) && !ends_with(&text, &before) {
            causes.push(text.clone());
        }
        before = text;
        next = cause.source();
    }
    causes
}

pub(crate) fn io_kind(error: &std::io::Error) -> ErrorKind {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::NotFound | Io::NotADirectory => ErrorKind::NotFound,
        Io::PermissionDenied => ErrorKind::PermissionDenied,
        Io::AlreadyExists => ErrorKind::AlreadyExists,
        Io::StorageFull | Io::QuotaExceeded | Io::ReadOnlyFilesystem => ErrorKind::Storage,
        Io::TimedOut => ErrorKind::Timeout,
        Io::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Unexpected,
    }
}

/// What can be done about a disk that cannot be written; none of any other error.
fn storage_hint(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => {
            Some("the disk is full, or a quota is reached: free some space")
        }
        Io::ReadOnlyFilesystem => {
            Some("the file system is read-only: name a store on a writable one")
        }
        _ => None,
    }
}

/// An error of a crate below: its own words are the message, its source the cause.
///
/// A disk that cannot be written fails anything, in whatever words: then that is the kind.
fn below(
    kind: ErrorKind,
    hint: Option<String>,
    source: impl StdError + Send + Sync + 'static,
) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&source);
    let mut storage = None;
    while let Some(error) = cause {
        storage = storage.or_else(|| error.downcast_ref().and_then(storage_hint));
        cause = error.source();
    }
    let kind = storage.map_or(kind, |_| ErrorKind::Storage);
    let mut error = Error::new(kind, source.to_string());
    error.inner.hint = hint.or_else(|| storage.map(str::to_owned));
    error.inner.origin = Some(Arc::new(source));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_message_without_the_text_of_its_cause() {
        let cause = std::io::Error::from_raw_os_error(28);
        let error = Error::io("write /x", cause);
        assert_eq!(error.to_string(), "failed to write /x");
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.source().is_some());
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_the_reason_however_deep_it_lies() {
        #[derive(Debug, thiserror::Error)]
        #[error("the wheel cannot be unpacked")]
        struct Unpacking(#[source] std::io::Error);

        for (errno, word) in [(28, "full"), (30, "read-only")] {
            let cause = || std::io::Error::from_raw_os_error(errno);
            for error in [
                Error::io("write /x", cause()),
                below(ErrorKind::Corrupt, None, Unpacking(cause())),
            ] {
                assert_eq!(error.kind(), ErrorKind::Storage);
                assert!(error.hint().unwrap().contains(word), "{error:?}");
            }
        }
        let other = std::io::Error::from_raw_os_error(5);
        let error = below(ErrorKind::Corrupt, None, Unpacking(other));
        assert_eq!((error.kind(), error.hint()), (ErrorKind::Corrupt, None));
    }

    #[test]
    fn each_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{words}")]
        struct Said {
            words: &'static str,
            source: Option<Box<Self>>,
        }
        let words = [
            "error code 13: disk is full",
            "disk is full",
            "disk is full",
            "failed to commit",
        ];
        let error = words
            .into_iter()
            .fold(None, |source, words| Some(Box::new(Said { words, source })));
        assert_eq!(causes(&*error.unwrap()), ["disk is full"]);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> =
            ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
    }
}
