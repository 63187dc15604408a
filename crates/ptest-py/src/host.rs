//! The calling process: the only place that reads its variables and its directory.

use std::path::{Path, PathBuf};

use ptest::config::Sources;
use ptest::python::HostEnv;
use ptest::settings::Profile;

/// What the process is now.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) environment: HostEnv,
    working_directory: Option<PathBuf>,
}

impl Host {
    /// To be called with the interpreter's lock, under which Python changes both.
    pub(crate) fn now() -> Self {
        let working_directory = std::env::current_dir().ok();
        let cwd = working_directory.clone().unwrap_or_else(|| "/".into());
        Self {
            environment: HostEnv::new(std::env::vars_os(), cwd),
            working_directory,
        }
    }

    /// The same at another place, if one is said.
    pub(crate) fn at(&self, place: Option<&Path>) -> Self {
        let Some(place) = place else {
            return self.clone();
        };
        let cwd = self.environment.cwd.join(place);
        Self {
            working_directory: Some(cwd.clone()),
            environment: HostEnv {
                cwd,
                ..self.environment.clone()
            },
        }
    }

    /// Where the configuration comes from.
    pub(crate) fn sources(&self, profile: Option<Profile>) -> Sources {
        Sources {
            profile,
            variables: self.environment.env.clone(),
            working_directory: self.working_directory.clone(),
            user: rustix::process::geteuid().as_raw(),
            system_file: PathBuf::from("/etc/ptest/config.toml"),
        }
    }
}
