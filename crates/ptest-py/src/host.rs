//! The calling process: the only place that reads its variables and its directory.

use std::path::PathBuf;

use ptest::config::Sources;
use ptest::python::HostEnv;
use ptest::settings::Profile;

/// What the process is now.
#[derive(Debug)]
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
