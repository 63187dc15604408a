//! What an installer does for ptest: it decides which distributions are meant.
//!
//! An installer never installs anything into an environment. It resolves requirements to pins;
//! the pinned wheels are fetched in [`super::fetch`] and unpacked in [`super::wheel`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::{Supervision, ToolError};
use super::host::HostEnv;
use super::index::IndexSettings;
use super::interpreter::Interpreter;
use super::name::file_url;
use super::redact::{redact, without_user};
use super::requirements::Requirements;
use super::stage::StageError;
use super::tools::{PipTool, PipToolError};

/// Longest text of an installer that an error carries.
const LONGEST_WORDS: usize = 8 * 1024;

/// A program that resolves requirements.
///
/// # Behaviour
///
/// - The same requirements, interpreter and settings give the same distributions with every
///   installer, up to differences that only a choice among equally good ones makes.
/// - Nothing is written outside of [`Context::work_dir`] and the installer's own cache; local
///   projects are read from copies.
/// - Nothing of the caller's variables redirects it.
/// - A failure carries the installer's own words, without credentials.
pub trait Installer: std::fmt::Debug + Send + Sync {
    /// `uv` or `pip`.
    fn name(&self) -> &'static str;

    /// The version of the program, for messages.
    fn version(&self) -> &str;

    /// Finds the distributions that the requirements lead to. With no requirements at all there
    /// is nothing to find, and no program is run.
    fn resolve(&self, request: &ResolveRequest<'_>) -> Result<Resolution, InstallerError>;

    /// Builds the wheel of a project directory, in an environment of its own for the build.
    fn build(&self, request: &BuildRequest<'_>) -> Result<(), InstallerError>;
}

/// What every step of an installation is given.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The interpreter that the distributions are for.
    pub interpreter: &'a Interpreter,
    /// The caller's variables and working directory.
    pub host: &'a HostEnv,
    /// Indexes and network.
    pub index: &'a IndexSettings,
    /// Where copies of pip are kept.
    pub pip: &'a PipTool,
    /// How processes are started and stopped.
    pub supervision: &'a Supervision,
    /// A directory for this operation alone: empty, absolute, removed by the caller afterwards.
    pub work_dir: &'a Path,
    /// The longest that one run of an installer may take.
    pub deadline: Duration,
}

/// A request to resolve.
#[derive(Debug, Clone, Copy)]
pub struct ResolveRequest<'a> {
    /// The surroundings.
    pub context: Context<'a>,
    /// What is wanted.
    pub requirements: &'a Requirements,
    /// Wheels that say what local projects need, by the projects' paths, so that their copies need
    /// not be asked.
    pub described: &'a BTreeMap<PathBuf, PathBuf>,
    /// Try first with what the installer has in its cache; a failure leads to the network. An
    /// installer that knows no such mode ignores it.
    pub offline_first: bool,
}

/// A request to build.
#[derive(Debug, Clone, Copy)]
pub struct BuildRequest<'a> {
    /// The surroundings.
    pub context: Context<'a>,
    /// The distribution.
    pub pin: &'a Pinned,
    /// What is built: a copy that nobody else uses, because a build writes into it.
    pub copy: &'a Path,
    /// Where the wheel is left.
    pub directory: &'a Path,
    /// As in [`ResolveRequest`].
    pub offline_first: bool,
}

/// The distributions that requirements lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Sorted by normalised name, each name once.
    pub distributions: Vec<Pinned>,
    /// Whether the requirements pin every distribution, so that the answer stays true for ever.
    pub exact: bool,
}

/// One distribution of a resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Normalised name.
    pub name: String,
    /// Version; `None` for a local project whose version is only known once it is built.
    pub version: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// Whether it was asked for itself, and not only needed by another.
    pub requested: bool,
}

/// Where a distribution comes from. No URL here has credentials in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A wheel of an index or a directory of distributions.
    Wheel {
        /// Its URL.
        url: String,
        /// Its file name.
        file_name: String,
        /// SHA-256 in hexadecimal, when the index says it.
        sha256: Option<String>,
    },
    /// A source archive of an index or a directory of distributions.
    Sdist {
        /// Its URL.
        url: String,
        /// SHA-256 in hexadecimal, when the index says it.
        sha256: Option<String>,
    },
    /// A wheel or source archive that was asked for by its URL.
    Archive {
        /// Its URL, without the fragment.
        url: String,
        /// SHA-256 in hexadecimal, when it is known.
        sha256: Option<String>,
        /// The directory in the archive that holds the project.
        subdirectory: Option<String>,
    },
    /// A commit of a repository.
    Repository {
        /// `git`, `hg`, `svn` or `bzr`.
        system: String,
        /// The URL without `git+` and without revision.
        url: String,
        /// The full name of the commit.
        commit: String,
        /// The revision that was asked for.
        requested_revision: Option<String>,
        /// The directory in the repository that holds the project.
        subdirectory: Option<String>,
    },
    /// A wheel or source archive on this machine that was asked for by its path.
    File {
        /// Its path.
        path: PathBuf,
        /// SHA-256 in hexadecimal, when it is known.
        sha256: Option<String>,
    },
    /// A project directory on this machine.
    Project {
        /// Its path.
        path: PathBuf,
        /// The copy that it is built from, made when it is first needed.
        copy: PathBuf,
        /// Whether it is used in place.
        editable: bool,
    },
}

impl Source {
    /// The expected SHA-256 of the file that is fetched.
    pub fn sha256(&self) -> Option<&str> {
        match self {
            Self::Wheel { sha256, .. }
            | Self::Sdist { sha256, .. }
            | Self::Archive { sha256, .. }
            | Self::File { sha256, .. } => sha256.as_deref(),
            Self::Repository { .. } | Self::Project { .. } => None,
        }
    }

    /// Where it is, as a URL without credentials and without what an index adds for one request.
    pub fn found_at(&self) -> String {
        match self {
            Self::Wheel { url, .. } | Self::Sdist { url, .. } | Self::Archive { url, .. } => {
                let url = without_user(url);
                let end = url.find(['?', '#']).unwrap_or(url.len());
                url[..end].to_owned()
            }
            Self::Repository {
                system,
                url,
                commit,
                ..
            } => format!("{system}+{}@{commit}", without_user(url)),
            Self::File { path, .. } | Self::Project { path, .. } => file_url(path),
        }
    }
}

/// Why an installer did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum InstallerError {
    /// The installer ran and refused or failed.
    #[error("{installer} failed to {step}{about}", about = about(.subject.as_deref()))]
    Failed {
        /// `uv` or `pip`.
        installer: &'static str,
        /// What it was doing.
        step: Step,
        /// The distribution that it was busy with, when only one was.
        subject: Option<String>,
        /// Its exit code.
        exit: Option<i32>,
        /// What it said, without credentials.
        words: String,
        /// What kind of failure that is, as far as its words tell.
        kind: FailureKind,
    },
    /// The installer could not be run to its end.
    #[error("failed to run {installer}")]
    Run {
        /// `uv` or `pip`.
        installer: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The installer took too long.
    #[error("{installer} did not {step} within {seconds} s")]
    Deadline {
        /// `uv` or `pip`.
        installer: &'static str,
        /// What it was doing.
        step: Step,
        /// How long it was waited for.
        seconds: u64,
        /// What it said until then.
        words: String,
    },
    /// The installer's answer cannot be used.
    #[error("the answer of {installer} cannot be used: {reason}")]
    Answer {
        /// `uv` or `pip`.
        installer: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has another hash than it should.
    #[error("{name} has the wrong hash: expected {expected}, found {found}")]
    Hash {
        /// The distribution.
        name: String,
        /// The hash or hashes that are allowed.
        expected: String,
        /// The hash of what is there.
        found: String,
    },
    /// There is no pip that fits.
    #[error("pip is not available")]
    Pip(#[from] PipToolError),
    /// The local parts of the requirements cannot be made ready.
    #[error("failed to prepare the requirements")]
    Stage(#[from] StageError),
    /// The operation was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl InstallerError {
    /// What kind of failure this is.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Failed { kind, .. } => *kind,
            Self::Hash { .. } => FailureKind::HashMismatch,
            _ => FailureKind::Other,
        }
    }

    /// What the installer said, without credentials.
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::Failed { words, .. } | Self::Deadline { words, .. } if !words.is_empty() => {
                Some(words)
            }
            _ => None,
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        if let Self::Pip(error) = self {
            return error.hint();
        }
        let hint = match self.kind() {
            FailureKind::NoSuchRequirement => {
                "check the spelling and the version; a name that exists may have no release for this Python"
            }
            FailureKind::Conflict => "loosen one of the requirements that exclude each other",
            FailureKind::Network => {
                "check the network, the proxy and the index (PIP_INDEX_URL, UV_DEFAULT_INDEX)"
            }
            FailureKind::HashMismatch => {
                "the file is not the one that was pinned: do not use it before it is known why"
            }
            FailureKind::BuildFailed => {
                "what was built from source failed in its own way: a compiler or libraries may be missing"
            }
            FailureKind::Other => return None,
        };
        Some(hint.to_owned())
    }
}

/// What an installer was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Deciding which distributions are meant.
    Resolve,
    /// Downloading wheels, or building them from what was downloaded.
    Fetch,
    /// Building a local project.
    Build,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve the requirements",
            Self::Fetch => "fetch",
            Self::Build => "build",
        })
    }
}

/// Kinds of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// A name or version does not exist, or not for this interpreter.
    NoSuchRequirement,
    /// Requirements exclude each other.
    Conflict,
    /// An index or a file's host cannot be reached or refuses.
    Network,
    /// A file has another hash than it should.
    HashMismatch,
    /// A distribution could not be built.
    BuildFailed,
    /// Anything else.
    Other,
}

/// Makes an error of what stopped a tool.
pub(crate) fn stopped(error: ToolError, installer: &'static str, step: Step) -> InstallerError {
    match error {
        ToolError::Start { source, .. } | ToolError::Watch { source, .. } => {
            InstallerError::Run { installer, source }
        }
        ToolError::Deadline { seconds, words, .. } => InstallerError::Deadline {
            installer,
            step,
            seconds,
            words: presentable(&words, &[]),
        },
        ToolError::Cancelled => InstallerError::Cancelled,
    }
}

/// An installer's words fit to be shown: without credentials, without the names of working
/// files (`names` pairs them with what the user calls them), bounded.
pub(crate) fn presentable(words: &str, names: &[(String, String)]) -> String {
    let mut words = redact(words.trim());
    for (internal, shown) in names {
        words = words.replace(internal.as_str(), shown);
    }
    if words.len() > LONGEST_WORDS {
        let floor = |mut at: usize| {
            while !words.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (head, tail) = (
            floor(LONGEST_WORDS / 2),
            floor(words.len() - LONGEST_WORDS / 2),
        );
        words = format!("{}\n[…]\n{}", &words[..head], &words[tail..]);
    }
    words
}

/// What a copy of a project is called, and what the user calls it, for [`presentable`].
pub(crate) fn names_of_copies(pins: &[&Pinned]) -> Vec<(String, String)> {
    pins.iter()
        .filter_map(|pin| match &pin.source {
            Source::Project { path, copy, .. } => Some((copy, path)),
            _ => None,
        })
        .flat_map(|(copy, path)| {
            let url = file_url(copy);
            let encoded = url.trim_start_matches("file://").to_owned();
            let plain = copy.display().to_string();
            [url, encoded, plain].map(|name| (name, path.display().to_string()))
        })
        .collect()
}

fn about(name: Option<&str>) -> String {
    name.map(|name| format!(" {name}")).unwrap_or_default()
}
