//! What is to be installed, checked when it is given and trusted afterwards.
//!
//! A requirement is one of an index, of a URL, of a local path, or an editable project. Files of
//! requirements are read in [`super::reqfile`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use pep508_rs::{MarkerEnvironment, Requirement as Pep508, VerbatimUrl, VersionOrUrl};

use super::host::HostEnv;
use super::name::{WheelName, file_url, normalize, path_of_file_url, url_file_name};
use super::redact::redact;

/// No honest requirement is longer; an index would refuse the name with less clear words.
const LONGEST: usize = 4096;
const LONGEST_NAME: usize = 214;
const ARCHIVES: [&str; 6] = [".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz"];
const SCHEMES: [&str; 14] = [
    "http://", "https://", "file://", "git+", "hg+", "svn+", "bzr+", "ftp://", "ssh://", "git://",
    "s3://", "gs://", "hg://", "svn://",
];

/// One thing to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// By name, from an index.
    Index(IndexRequirement),
    /// From a URL or a version control system.
    Url(UrlRequirement),
    /// From a wheel, a source archive or a project directory on this machine.
    Local(LocalRequirement),
    /// A project directory that stays where it is and is used from there. Installing it writes
    /// into the project.
    Editable(LocalRequirement),
}

/// A requirement that an index answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRequirement {
    /// Normalised name.
    pub name: String,
    /// Whether one version is named exactly (`==1.2`, not `==1.*`).
    pub exact: bool,
    parsed: Pep508<VerbatimUrl>,
}

/// A requirement that names where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlRequirement {
    /// Normalised name, if it is given or can be read from the URL.
    pub name: Option<String>,
    /// The URL with everything in it, credentials too.
    pub url: String,
    parsed: Option<Pep508<VerbatimUrl>>,
}

/// A requirement on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRequirement {
    /// Absolute path of a file or a project directory.
    pub path: PathBuf,
    /// Extras, as given.
    pub extras: Vec<String>,
    /// Markers, as given.
    marker: Option<Pep508<VerbatimUrl>>,
}

impl Requirement {
    /// Understands one requirement; relative paths are seen from `host`'s working directory.
    ///
    /// - A text with a `/` that is no URL, `.` and `..`, one that begins with `./`, `../` or `~`,
    ///   and the name of a wheel or source archive are paths. A bare word is always a name, also
    ///   when a directory is called so.
    /// - An empty text, one that looks like an option, and one with control characters are
    ///   errors, so that no requirement can become an option of an installer.
    pub fn parse(text: &str, host: &HostEnv) -> Result<Self, RequirementError> {
        let text = checked(text)?;
        if let Some((path, extras)) = as_path(text) {
            return LocalRequirement::at(text, host.absolute(path), extras, None).map(Self::Local);
        }
        if SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return Self::from_url(text, None, text);
        }
        let parsed = Pep508::<VerbatimUrl>::from_str(text).map_err(|error| {
            RequirementError::Invalid {
                text: redact(text),
                // Without the library's underlined excerpt: the text is already in the message.
                reason: error.message.to_string(),
            }
        })?;
        let name = parsed.name.to_string();
        if name.len() > LONGEST_NAME {
            return Err(RequirementError::TooLong { length: name.len() });
        }
        match &parsed.version_or_url {
            Some(VersionOrUrl::Url(url)) => {
                let url = url.given().unwrap_or(url.raw().as_str()).to_owned();
                Self::from_url(text, Some(parsed), &url)
            }
            Some(VersionOrUrl::VersionSpecifier(range)) => Ok(Self::Index(IndexRequirement {
                exact: range.iter().any(is_exact),
                name,
                parsed,
            })),
            None => Ok(Self::Index(IndexRequirement {
                exact: false,
                name,
                parsed,
            })),
        }
    }

    /// Understands a project that is to be installed in place.
    pub fn editable(text: &str, host: &HostEnv) -> Result<Self, RequirementError> {
        let text = checked(text)?;
        let (path, extras) = split_extras(text);
        let path = path_of_file_url(path).unwrap_or_else(|| host.absolute(path.as_ref()));
        let local = LocalRequirement::at(text, path, extras, None)?;
        if local.path.is_dir() {
            Ok(Self::Editable(local))
        } else {
            Err(RequirementError::NotAProject { path: local.path })
        }
    }

    fn from_url(
        text: &str,
        parsed: Option<Pep508<VerbatimUrl>>,
        url: &str,
    ) -> Result<Self, RequirementError> {
        if let Some(path) = path_of_file_url(url) {
            let extras = parsed
                .iter()
                .flat_map(|parsed| parsed.extras.iter().map(ToString::to_string))
                .collect();
            return LocalRequirement::at(text, path, extras, parsed).map(Self::Local);
        }
        let name = match &parsed {
            Some(parsed) => Some(parsed.name.to_string()),
            None => url_file_name(url)
                .and_then(|file| WheelName::parse(&file))
                .map(|wheel| normalize(&wheel.name)),
        };
        Ok(Self::Url(UrlRequirement {
            name,
            url: url.to_owned(),
            parsed,
        }))
    }

    /// Normalised name, if the requirement says it.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Index(index) => Some(index.name.clone()),
            Self::Url(url) => url.name.clone(),
            Self::Local(local) | Self::Editable(local) => local.name(),
        }
    }

    /// Where on this machine it is, if it is there.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Index(_) | Self::Url(_) => None,
            Self::Local(local) | Self::Editable(local) => Some(&local.path),
        }
    }

    /// Whether the requirement counts for an interpreter with these markers.
    pub fn applies(&self, markers: &MarkerEnvironment) -> bool {
        let parsed = match self {
            Self::Index(index) => Some(&index.parsed),
            Self::Url(url) => url.parsed.as_ref(),
            Self::Local(local) | Self::Editable(local) => local.marker.as_ref(),
        };
        parsed.is_none_or(|parsed| parsed.evaluate_markers(markers, &[]))
    }

    /// Whether the same distribution is meant for ever: an exact version, or a URL with a hash
    /// or a full commit.
    pub fn is_exact(&self) -> bool {
        match self {
            Self::Index(index) => index.exact,
            Self::Url(url) => url.is_exact(),
            Self::Local(_) | Self::Editable(_) => false,
        }
    }

    /// The line that an installer understands. For URLs this has the credentials in it.
    ///
    /// Local requirements have none: they are installed from a copy, see [`super::stage`].
    pub(crate) fn line(&self) -> Option<String> {
        match self {
            Self::Index(index) => Some(index.parsed.to_string()),
            Self::Url(url) => Some(url.line()),
            Self::Local(_) | Self::Editable(_) => None,
        }
    }
}

/// The requirement in its normal form, without credentials: fit for messages and recipe keys.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => index.parsed.fmt(f),
            Self::Url(url) => f.write_str(&redact(&url.line())),
            Self::Local(local) => local.fmt(f),
            Self::Editable(local) => write!(f, "-e {local}"),
        }
    }
}

impl UrlRequirement {
    fn line(&self) -> String {
        let Some(parsed) = &self.parsed else {
            return self.url.clone();
        };
        let mut line = parsed.name.to_string();
        if !parsed.extras.is_empty() {
            let extras: Vec<String> = parsed.extras.iter().map(ToString::to_string).collect();
            line.push_str(&format!("[{}]", extras.join(",")));
        }
        line.push_str(" @ ");
        line.push_str(&self.url);
        if let Some(marker) = parsed.marker.try_to_string() {
            line.push_str(" ; ");
            line.push_str(&marker);
        }
        line
    }

    fn is_exact(&self) -> bool {
        let fragment = self
            .url
            .split_once('#')
            .map_or("", |(_, fragment)| fragment);
        if fragment.contains("sha256=") {
            return true;
        }
        let revision = self
            .url
            .split('#')
            .next()
            .and_then(|url| url.rsplit_once('@'))
            .map_or("", |(_, revision)| revision);
        revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl LocalRequirement {
    fn at(
        text: &str,
        path: PathBuf,
        extras: Vec<String>,
        marker: Option<Pep508<VerbatimUrl>>,
    ) -> Result<Self, RequirementError> {
        let Ok(path) = path.canonicalize() else {
            return Err(RequirementError::NoSuchPath {
                text: text.to_owned(),
                path,
            });
        };
        let named = path.to_string_lossy();
        let usable = if path.is_dir() {
            ["pyproject.toml", "setup.py", "setup.cfg"]
                .iter()
                .any(|name| path.join(name).is_file())
        } else {
            ARCHIVES.iter().any(|suffix| named.ends_with(suffix))
        };
        if !usable {
            return Err(RequirementError::NotAProject { path });
        }
        Ok(Self {
            path,
            extras,
            marker,
        })
    }

    /// Whether this is a wheel, which is installed as it is.
    pub fn is_wheel(&self) -> bool {
        self.path.extension().is_some_and(|suffix| suffix == "whl")
    }

    fn name(&self) -> Option<String> {
        if let Some(marker) = &self.marker {
            return Some(marker.name.to_string());
        }
        let file = self.path.file_name()?.to_str()?;
        WheelName::parse(file).map(|wheel| normalize(&wheel.name))
    }

    pub(crate) fn marker_text(&self) -> Option<String> {
        self.marker.as_ref()?.marker.try_to_string()
    }

    pub(crate) fn extras_suffix(&self) -> String {
        if self.extras.is_empty() {
            String::new()
        } else {
            format!("[{}]", self.extras.join(","))
        }
    }
}

impl fmt::Display for LocalRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", file_url(&self.path), self.extras_suffix())
    }
}

/// Why a text is no requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// The text is empty.
    #[error("a requirement is empty")]
    Empty,
    /// The text would be an option for an installer.
    #[error("{text:?} looks like an option, not like a requirement")]
    Option {
        /// The text.
        text: String,
    },
    /// The text is longer than any requirement.
    #[error("a requirement of {length} characters is too long")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The text has line breaks or other control characters.
    #[error("the requirement {text:?} contains control characters")]
    Control {
        /// The text.
        text: String,
    },
    /// The text follows no form that is known.
    #[error("{text:?} is not a requirement: {reason}")]
    Invalid {
        /// The text, without credentials.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// The path does not exist.
    #[error("the requirement {text:?} names {path}, which does not exist", path = .path.display())]
    NoSuchPath {
        /// The text.
        text: String,
        /// The path that it means.
        path: PathBuf,
    },
    /// The path holds nothing that can be installed.
    #[error("{path} is neither a Python project nor a wheel nor a source archive", path = .path.display())]
    NotAProject {
        /// The path.
        path: PathBuf,
    },
    /// A file of requirements cannot be read.
    #[error("failed to read the requirements file {path}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A line of a file is no requirement.
    #[error("{path}, line {line}: {problem}", path = .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Box<Self>,
    },
}

impl RequirementError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Option { .. } => {
                Some("give options of an installer in a requirements file, with -r FILE".to_owned())
            }
            Self::NotAProject { .. } => {
                Some("a project has a pyproject.toml, setup.py or setup.cfg".to_owned())
            }
            Self::Invalid { .. } => Some(
                "for example: requests, requests==2.28.1, httpx[http2]>=0.27, ./project".to_owned(),
            ),
            Self::Line { problem, .. } => problem.hint(),
            _ => None,
        }
    }
}

fn checked(text: &str) -> Result<&str, RequirementError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(RequirementError::Empty);
    }
    if text.len() > LONGEST {
        return Err(RequirementError::TooLong { length: text.len() });
    }
    if text.chars().any(char::is_control) {
        return Err(RequirementError::Control { text: redact(text) });
    }
    if text.starts_with('-') {
        return Err(RequirementError::Option { text: redact(text) });
    }
    Ok(text)
}

/// The path and extras that a text means, if it means a path.
fn as_path(text: &str) -> Option<(&Path, Vec<String>)> {
    let (path, extras) = split_extras(text);
    let is_url = path.contains("://") || path.contains(" @") || path.contains("@ ");
    let named = path.contains('/')
        || matches!(path, "." | ".." | "~")
        || ARCHIVES.iter().any(|suffix| path.ends_with(suffix));
    // A marker may contain a slash in a quoted word.
    (named && !is_url && !path.contains(';')).then(|| (Path::new(path), extras))
}

fn split_extras(text: &str) -> (&str, Vec<String>) {
    if let Some(inner) = text.strip_suffix(']')
        && let Some((path, extras)) = inner.rsplit_once('[')
        && extras
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, ',' | '-' | '_' | '.' | ' '))
    {
        let extras = extras
            .split(',')
            .map(|extra| extra.trim().to_owned())
            .filter(|extra| !extra.is_empty())
            .collect();
        return (path, extras);
    }
    (text, Vec::new())
}

fn is_exact(specifier: &pep440_rs::VersionSpecifier) -> bool {
    use pep440_rs::Operator;

    matches!(specifier.operator(), Operator::Equal | Operator::ExactEqual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Requirement, RequirementError> {
        Requirement::parse(text, &HostEnv::new([], "/nonexistent"))
    }

    #[test]
    fn nothing_that_looks_like_an_option_is_a_requirement() {
        for text in [
            "--help",
            "-r",
            "-e .",
            " --target=/x",
            "--index-url https://a",
        ] {
            assert!(
                matches!(parse(text), Err(RequirementError::Option { .. })),
                "{text}"
            );
        }
        assert_eq!(parse(" "), Err(RequirementError::Empty));
        assert!(matches!(
            parse("requests\n--target=/x"),
            Err(RequirementError::Control { .. })
        ));
        assert!(parse("requests --target=/x").is_err());
        assert!(parse("requests==1 --hash=sha256:00").is_err());
        assert!(matches!(
            parse(&"a".repeat(300)),
            Err(RequirementError::TooLong { .. })
        ));
    }

    #[test]
    fn nonsense_is_an_error_and_never_a_panic() {
        for text in ["é", "a b", "==1", "a==", "a[", "a @", "🐍==1", "a ; x"] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn names_and_exactness_are_read() {
        let exact = parse("PyYAML==6.0").unwrap();
        assert_eq!(exact.name().unwrap(), "pyyaml");
        assert!(exact.is_exact());
        for text in ["PyYAML", "pyyaml>=6", "pyyaml==6.*"] {
            assert!(!parse(text).unwrap().is_exact(), "{text}");
        }
        let commit = "a @ git+https://h/r@0123456789012345678901234567890123456789";
        assert!(parse(commit).unwrap().is_exact());
        assert!(!parse("a @ git+https://h/r@main").unwrap().is_exact());
    }

    #[test]
    fn a_missing_path_is_named() {
        for text in ["./x", "x/y", "x.whl", "../x[extra]", "."] {
            assert!(
                matches!(parse(text), Err(RequirementError::NoSuchPath { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_project_is_a_path_with_extras() {
        let directory = tempfile::tempdir().unwrap();
        let project = directory.path().join("my project");
        std::fs::create_dir(&project).unwrap();
        std::fs::write(project.join("pyproject.toml"), "").unwrap();
        let host = HostEnv::new([], directory.path());
        let Requirement::Local(local) =
            Requirement::parse("./my project[dev,test]", &host).unwrap()
        else {
            panic!("not local");
        };
        assert_eq!(local.path, project.canonicalize().unwrap());
        assert_eq!(local.extras, ["dev", "test"]);
        let by_url = format!("thing[dev] @ {}", file_url(&project));
        assert_eq!(
            Requirement::parse(&by_url, &host).unwrap().name().unwrap(),
            "thing"
        );
        assert!(matches!(
            Requirement::editable("my project", &host),
            Ok(Requirement::Editable(_))
        ));
        assert!(matches!(
            Requirement::parse("./", &host),
            Err(RequirementError::NotAProject { .. })
        ));
    }

    #[test]
    fn credentials_are_not_shown() {
        let requirement = parse("six @ https://me:secret@host/six-1-py3-none-any.whl").unwrap();
        assert!(!requirement.to_string().contains("secret"));
        assert!(requirement.line().unwrap().contains("me:secret@"));
    }
}
