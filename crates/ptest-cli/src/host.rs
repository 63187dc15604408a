//! What the program knows of the machine and of its caller, read once at the start.
//!
//! The only place that reads the process environment and the current directory.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::IsTerminal,
    path::{Path, PathBuf},
};

use ptest::{config::Sources, python::HostEnv};

/// The caller's surroundings.
#[derive(Clone, Debug)]
pub struct Host {
    /// The variables.
    pub variables: BTreeMap<OsString, OsString>,
    /// The current directory; `None` if it has been deleted or cannot be read.
    pub working_directory: Option<PathBuf>,
    /// The program's own file, beside which `ptest-init` lies.
    pub program: Option<PathBuf>,
    /// The process that called, as long as it is in sight.
    pub parent: Option<u32>,
    /// The effective user id.
    pub user: u32,
    /// Which of the standard streams are terminals.
    pub terminals: Terminals,
}

/// Which of the standard streams are terminals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Host {
    /// The host of this process.
    pub fn current() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            working_directory: std::env::current_dir().ok(),
            program: std::env::current_exe().ok(),
            parent: rustix::process::getppid().map(|parent| parent.as_raw_pid() as u32),
            user: rustix::process::geteuid().as_raw(),
            terminals: Terminals {
                stdin: std::io::stdin().is_terminal(),
                stdout: std::io::stdout().is_terminal(),
                stderr: std::io::stderr().is_terminal(),
            },
        }
    }

    /// A variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// How wide what is written to standard output may be.
    pub(crate) fn columns(&self) -> u16 {
        const USUAL: u16 = 80;
        let said = self
            .variable("COLUMNS")
            .and_then(|text| text.to_str()?.parse().ok());
        let terminal = || rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
        said.or_else(|| terminal().map(|size| size.ws_col))
            .filter(|columns| *columns > 0)
            .unwrap_or(USUAL)
    }

    /// The caller's home directory.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.variable("HOME")
            .map(Path::new)
            .filter(|home| home.is_absolute())
    }

    /// What the library is told. Commands that need the working directory ask for it before.
    pub(crate) fn library(&self) -> HostEnv {
        HostEnv::new(
            self.variables.clone(),
            self.working_directory.clone().unwrap_or_else(|| "/".into()),
        )
    }

    /// The sources of the configuration.
    pub(crate) fn sources(&self) -> Sources {
        Sources {
            profile: None,
            variables: self.variables.clone(),
            working_directory: self.working_directory.clone(),
            user: self.user,
            system_file: PathBuf::from("/etc/ptest/config.toml"),
        }
    }

    /// A path of the command line: relative ones count from the working directory. Stays relative if that is gone, so
    /// that whoever opens it says what is wrong.
    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        match &self.working_directory {
            Some(directory) => directory.join(path.strip_prefix(".").unwrap_or(path)),
            None => path.to_owned(),
        }
    }
}
