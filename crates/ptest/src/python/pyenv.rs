//! Finds the interpreter behind a pyenv shim by reading what pyenv reads, without running it.
//!
//! A shim is a shell script that starts `pyenv`, which looks for a version in `PYENV_VERSION`,
//! in `.python-version` from the working directory upwards, and in `$PYENV_ROOT/version`. That
//! costs 50 ms and more for each call, and its answer depends on the working directory.

use std::path::{Path, PathBuf};

use super::host::HostEnv;

/// An installation of pyenv.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pyenv {
    root: PathBuf,
}

/// What pyenv would run for a shim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// This program.
    Program(PathBuf),
    /// The program that the search path has without pyenv.
    System,
    /// None of the selected versions has it.
    Nothing,
}

impl Pyenv {
    /// The installation that `PYENV_ROOT` names, else the one in the home directory.
    pub(crate) fn find(host: &HostEnv) -> Option<Self> {
        let root = match host.var("PYENV_ROOT") {
            Some(root) => host.absolute(root.as_ref()),
            None => host.home()?.join(".pyenv"),
        };
        root.join("versions").is_dir().then_some(Self { root })
    }

    /// Whether `directory` holds this installation's shims.
    pub(crate) fn is_shims(&self, directory: &Path) -> bool {
        let shims = self.root.join("shims");
        directory == shims
            || matches!(
                (directory.canonicalize(), shims.canonicalize()),
                (Ok(one), Ok(two)) if one == two
            )
    }

    /// What the shim called `name` stands for.
    pub(crate) fn resolve(&self, name: &str, host: &HostEnv) -> Resolved {
        for version in self.selected(host) {
            if version == "system" {
                return Resolved::System;
            }
            if let Some(directory) = self.version_directory(&version) {
                let program = directory.join("bin").join(name);
                if program.is_file() {
                    return Resolved::Program(program);
                }
            }
        }
        Resolved::Nothing
    }

    /// The `bin` directories of all installed versions, newest first.
    pub(crate) fn bin_directories(&self) -> Vec<PathBuf> {
        let mut names = self.version_names();
        names.sort_by_key(|name| std::cmp::Reverse(natural(name)));
        names
            .into_iter()
            .map(|name| self.root.join("versions").join(name).join("bin"))
            .filter(|directory| directory.is_dir())
            .collect()
    }

    /// The versions that are selected, in order.
    fn selected(&self, host: &HostEnv) -> Vec<String> {
        if let Some(versions) = host.text("PYENV_VERSION") {
            return versions.split(':').map(without_prefix).collect();
        }
        let start = match host.var("PYENV_DIR") {
            Some(directory) => host.absolute(directory.as_ref()),
            None => host.cwd.clone(),
        };
        start
            .ancestors()
            .map(|directory| directory.join(".python-version"))
            .chain([self.root.join("version")])
            .find_map(|file| read_versions(&file))
            .unwrap_or_else(|| vec!["system".to_owned()])
    }

    /// The directory of `version`, or of the newest version that begins with it.
    fn version_directory(&self, version: &str) -> Option<PathBuf> {
        let versions = self.root.join("versions");
        let exact = versions.join(version);
        // A version is a name, never a way out of the directory.
        if version.contains('/') || version.starts_with('.') {
            return None;
        }
        if exact.is_dir() {
            return Some(exact);
        }
        let prefix = format!("{version}.");
        self.version_names()
            .into_iter()
            .filter(|name| name.starts_with(&prefix))
            .max_by_key(|name| natural(name))
            .map(|name| versions.join(name))
    }

    fn version_names(&self) -> Vec<String> {
        std::fs::read_dir(self.root.join("versions"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect()
    }
}

/// The words of a version file; `None` if it is not there or says nothing.
fn read_versions(file: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(file).ok()?;
    let versions: Vec<String> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::split_whitespace)
        .map(without_prefix)
        .collect();
    (!versions.is_empty()).then_some(versions)
}

fn without_prefix(version: &str) -> String {
    version
        .strip_prefix("python-")
        .unwrap_or(version)
        .to_owned()
}

/// Orders `3.9.18` before `3.10.1`, and releases before names.
fn natural(name: &str) -> (bool, Vec<u64>, String) {
    let numbers = name
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect();
    let is_release = name.starts_with(|c: char| c.is_ascii_digit());
    (is_release, numbers, name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Fixture {
        directory: tempfile::TempDir,
    }

    impl Fixture {
        fn new(versions: &[&str]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            for version in versions {
                let bin = directory
                    .path()
                    .join("root/versions")
                    .join(version)
                    .join("bin");
                fs::create_dir_all(&bin).unwrap();
                fs::write(bin.join("python3"), "").unwrap();
            }
            fs::create_dir_all(directory.path().join("work/inner")).unwrap();
            Self { directory }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn host(&self, pairs: &[(&str, &str)]) -> HostEnv {
            let mut host = HostEnv::new(
                pairs
                    .iter()
                    .map(|(name, value)| (name.into(), value.into())),
                self.path("work/inner"),
            );
            host.env
                .insert("PYENV_ROOT".into(), self.path("root").into());
            host
        }

        fn resolve(&self, pairs: &[(&str, &str)]) -> Resolved {
            let host = self.host(pairs);
            Pyenv::find(&host).unwrap().resolve("python3", &host)
        }

        fn program(&self, version: &str) -> Resolved {
            Resolved::Program(self.path("root/versions").join(version).join("bin/python3"))
        }
    }

    #[test]
    fn the_variable_comes_before_the_files() {
        let fixture = Fixture::new(&["3.9.18", "3.12.1"]);
        fs::write(fixture.path("root/version"), "3.9.18\n").unwrap();
        assert_eq!(fixture.resolve(&[]), fixture.program("3.9.18"));
        assert_eq!(
            fixture.resolve(&[("PYENV_VERSION", "3.12.1")]),
            fixture.program("3.12.1")
        );
    }

    #[test]
    fn a_version_file_is_found_upwards_and_means_the_newest_that_begins_so() {
        let fixture = Fixture::new(&["3.9.18", "3.10.2", "3.10.13", "3.1.4"]);
        fs::write(
            fixture.path("work/.python-version"),
            "# ours\npython-3.10\n",
        )
        .unwrap();
        assert_eq!(fixture.resolve(&[]), fixture.program("3.10.13"));
    }

    #[test]
    fn system_and_unknown_versions_are_told_apart() {
        let fixture = Fixture::new(&["3.9.18"]);
        assert_eq!(fixture.resolve(&[]), Resolved::System);
        assert_eq!(
            fixture.resolve(&[("PYENV_VERSION", "3.4:../../3.9.18")]),
            Resolved::Nothing
        );
    }

    #[test]
    fn versions_are_listed_newest_first() {
        let fixture = Fixture::new(&["3.9.18", "3.10.2", "pypy3.10-7.3"]);
        let host = fixture.host(&[]);
        let listed = Pyenv::find(&host).unwrap().bin_directories();
        let expected: Vec<PathBuf> = ["3.10.2", "3.9.18", "pypy3.10-7.3"]
            .iter()
            .map(|name| fixture.path("root/versions").join(name).join("bin"))
            .collect();
        assert_eq!(listed, expected);
    }
}
