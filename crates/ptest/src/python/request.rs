//! What a caller asks for when it asks for a Python: nothing, a version, a name or a path.
//!
//! Only the words are understood here; finding an interpreter is the business of
//! [`super::discover`].

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use super::host::HostEnv;
use super::interpreter::PythonVersion;

/// A request for an interpreter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PythonRequest {
    /// The first supported Python on the search path.
    #[default]
    Any,
    /// `3.12`, `3.12.1`, `3.13t`: the given parts must be equal.
    Version(VersionRequest),
    /// `>=3.10`, `<3.13,>=3.9`.
    Range(VersionSpecifiers),
    /// The name of a program on the search path: `python3.11`, `pypy3`.
    Name(String),
    /// A program, or the directory of a Python or of a virtual environment. Absolute.
    Path(PathBuf),
}

impl PythonRequest {
    /// Understands a request; relative paths are seen from `host`'s working directory.
    ///
    /// Anything with a `/`, and `.`, `..` and `~`, is a path, and so is the name of a virtual environment that is there. An empty text and one that looks
    /// like an option are errors, never names.
    pub fn parse(text: &str, host: &HostEnv) -> Result<Self, RequestError> {
        let text = text.trim();
        let invalid = |reason| RequestError {
            text: text.to_owned(),
            reason,
        };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.starts_with('-') {
            return Err(invalid("it looks like an option"));
        }
        if text.chars().any(char::is_control) {
            return Err(invalid("it contains control characters"));
        }
        if text.contains('/') || matches!(text, "." | ".." | "~") {
            return Ok(Self::Path(host.absolute(text.as_ref())));
        }
        if text.starts_with(['<', '>', '=', '!', '~']) {
            return VersionSpecifiers::from_str(text)
                .map(Self::Range)
                .map_err(|_| invalid("it is not a version range"));
        }
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return VersionRequest::parse(text)
                .map(Self::Version)
                .ok_or_else(|| invalid("it is not a version"));
        }
        let directory = host.absolute(text.as_ref());
        if directory.join("pyvenv.cfg").is_file() {
            return Ok(Self::Path(directory));
        }
        Ok(Self::Name(text.to_owned()))
    }

    /// Whether an interpreter of this version answers the request, as far as a version can say.
    pub fn admits(&self, version: &PythonVersion, free_threaded: bool) -> bool {
        match self {
            Self::Any => !free_threaded,
            Self::Version(request) => request.admits(version, free_threaded),
            // A range is about releases: 3.14.0rc1 is a 3.14, and a Python is rarely asked for
            // by its pre-release number.
            Self::Range(range) => !free_threaded && range.contains(&version.release()),
            Self::Name(_) | Self::Path(_) => true,
        }
    }
}

impl fmt::Display for PythonRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any Python"),
            Self::Version(version) => write!(f, "Python {version}"),
            Self::Range(range) => write!(f, "Python {range}"),
            Self::Name(name) => write!(f, "a program named {name}"),
            Self::Path(path) => write!(f, "a Python at {}", path.display()),
        }
    }
}

/// One to three numbers, and whether the free-threaded build is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRequest {
    parts: Vec<u64>,
    free_threaded: bool,
}

impl VersionRequest {
    fn parse(text: &str) -> Option<Self> {
        let (text, free_threaded) = match text.strip_suffix('t') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let parts: Vec<u64> = text
            .split('.')
            .map(|part| part.parse().ok())
            .collect::<Option<_>>()?;
        (parts.len() <= 3).then_some(Self {
            parts,
            free_threaded,
        })
    }

    fn admits(&self, version: &PythonVersion, free_threaded: bool) -> bool {
        self.free_threaded == free_threaded && self.agrees(&version.parts())
    }

    /// Whether all parts that both sides give are equal.
    pub(crate) fn agrees(&self, parts: &[u64]) -> bool {
        self.parts
            .iter()
            .zip(parts)
            .all(|(asked, there)| asked == there)
    }

    /// The program names that such a Python usually has, most exact first.
    pub(crate) fn program_names(&self) -> Vec<String> {
        let suffix = if self.free_threaded { "t" } else { "" };
        let mut names = Vec::new();
        if let [major, minor, ..] = self.parts[..] {
            names.push(format!("python{major}.{minor}{suffix}"));
        }
        names.push(format!("python{}", self.parts[0]));
        names.push("python".to_owned());
        names
    }
}

impl fmt::Display for VersionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = Version::new(self.parts.iter().copied());
        write!(f, "{version}{}", if self.free_threaded { "t" } else { "" })
    }
}

/// A text that asks for no Python.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} does not name a Python: {reason}")]
pub struct RequestError {
    /// The text as it was given.
    pub text: String,
    reason: &'static str,
}

impl RequestError {
    /// What would be understood.
    pub fn hint(&self) -> Option<String> {
        Some("give a version (3.12), a range (>=3.10), a program (python3.11) or a path".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PythonRequest, RequestError> {
        PythonRequest::parse(text, &HostEnv::new([], "/work"))
    }

    fn version(major: u64, minor: u64, patch: u64) -> PythonVersion {
        PythonVersion {
            major,
            minor,
            patch,
            full: format!("{major}.{minor}.{patch}"),
        }
    }

    #[test]
    fn each_form_is_recognised() {
        assert!(matches!(parse("3.12"), Ok(PythonRequest::Version(_))));
        assert!(matches!(parse("3.13t"), Ok(PythonRequest::Version(_))));
        assert!(matches!(parse(">=3.10"), Ok(PythonRequest::Range(_))));
        assert!(matches!(parse("<3.13,>=3.9"), Ok(PythonRequest::Range(_))));
        assert!(matches!(parse("~=3.10"), Ok(PythonRequest::Range(_))));
        assert_eq!(parse("pypy3"), Ok(PythonRequest::Name("pypy3".into())));
        assert_eq!(
            parse("./venv"),
            Ok(PythonRequest::Path("/work/./venv".into()))
        );
    }

    #[test]
    fn the_name_of_a_virtual_environment_that_is_there_is_a_path() {
        let directory = tempfile::tempdir().unwrap();
        let host = HostEnv::new([], directory.path());
        let name = PythonRequest::Name("env".into());
        assert_eq!(PythonRequest::parse("env", &host), Ok(name));
        std::fs::create_dir(directory.path().join("env")).unwrap();
        std::fs::write(directory.path().join("env/pyvenv.cfg"), "").unwrap();
        let path = PythonRequest::Path(directory.path().join("env"));
        assert_eq!(PythonRequest::parse("env", &host), Ok(path));
    }

    #[test]
    fn options_and_nonsense_are_refused() {
        for text in ["", " ", "--help", "-c", "3.x", "3.1.2.3", ">=", "3.12\n4"] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_version_admits_what_begins_with_it() {
        let request = parse("3.12").unwrap();
        assert!(request.admits(&version(3, 12, 1), false));
        assert!(!request.admits(&version(3, 11, 7), false));
        assert!(!request.admits(&version(3, 12, 1), true));
        assert!(parse("3.13t").unwrap().admits(&version(3, 13, 0), true));
    }

    #[test]
    fn a_range_admits_by_release() {
        let request = parse("<3.13,>=3.9").unwrap();
        assert!(request.admits(&version(3, 9, 0), false));
        assert!(!request.admits(&version(3, 13, 0), false));
    }
}
