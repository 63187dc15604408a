//! What the caller tells this module of the machine: variables and the working directory.
//!
//! Library code never reads the process environment or the current directory by itself, so
//! that a test, a server and a fork of a program see exactly what they were given. This file
//! knows nothing of Python.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The environment variables and working directory that a request is answered for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostEnv {
    /// Variables as the caller sees them.
    pub env: BTreeMap<OsString, OsString>,
    /// Directory that relative paths are meant from. Must be absolute.
    pub cwd: PathBuf,
}

impl HostEnv {
    /// Takes variables and a working directory as they are.
    pub fn new(
        env: impl IntoIterator<Item = (OsString, OsString)>,
        cwd: impl Into<PathBuf>,
    ) -> Self {
        Self {
            env: env.into_iter().collect(),
            cwd: cwd.into(),
        }
    }

    /// A variable's value; an empty one counts as not set.
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.env
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// A variable's value as text; one that is not UTF-8 counts as not set.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.var(name).and_then(OsStr::to_str)
    }

    /// The home directory, as `HOME` says.
    pub fn home(&self) -> Option<PathBuf> {
        self.var("HOME").map(PathBuf::from)
    }

    /// The directories of `PATH`, made absolute, in order, each once.
    pub fn search_path(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        if let Some(path) = self.var("PATH") {
            for entry in std::env::split_paths(path) {
                if entry.as_os_str().is_empty() {
                    continue;
                }
                let entry = self.absolute(&entry);
                if !found.contains(&entry) {
                    found.push(entry);
                }
            }
        }
        found
    }

    /// `path` seen from the working directory, with a leading `~/` replaced by the home directory.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), self.home()) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => self.cwd.join(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(pairs: &[(&str, &str)]) -> HostEnv {
        HostEnv::new(
            pairs
                .iter()
                .map(|(name, value)| (OsString::from(name), OsString::from(value))),
            "/work",
        )
    }

    #[test]
    fn search_path_is_absolute_and_without_repetition() {
        let host = host(&[("PATH", "/usr/bin::bin:/usr/bin")]);
        assert_eq!(
            host.search_path(),
            [PathBuf::from("/usr/bin"), PathBuf::from("/work/bin")]
        );
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let host = host(&[("PIP_INDEX_URL", "")]);
        assert_eq!(host.var("PIP_INDEX_URL"), None);
    }

    #[test]
    fn a_tilde_means_home() {
        let host = host(&[("HOME", "/home/u")]);
        assert_eq!(host.absolute(Path::new("~/x")), PathBuf::from("/home/u/x"));
        assert_eq!(host.absolute(Path::new("./x")), PathBuf::from("/work/./x"));
    }
}
