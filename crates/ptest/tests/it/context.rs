//! A store and a cheap environment for tests of the whole library.

use std::path::Path;
use std::time::Duration;

use ptest::config::InstallerChoice;
use ptest::project::Project;
use ptest::python::{HostEnv, Supervision};
use ptest::settings::{Profile, Settings};
use ptest::{EnvironmentSpec, Lifetime, OpenOptions, Provision, Ptest, Requirements};

/// The store at `home`, as any process opens it.
pub(crate) fn open(home: &Path) -> Ptest {
    let variables = ["PATH", "HOME"]
        .into_iter()
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    Ptest::open(OpenOptions {
        home: home.to_owned(),
        host: HostEnv::new(variables, "/"),
        provision: Provision {
            installer: InstallerChoice::Pip,
            program_directory: None,
            resolve_lifetime: Duration::from_hours(24),
            refresh: false,
            supervision: Supervision::default(),
        },
    })
    .unwrap()
}

/// An environment that needs no network, no mounts and no pip.
pub(crate) fn spec(project: &Path) -> EnvironmentSpec {
    EnvironmentSpec {
        name: None,
        lifetime: Lifetime::Detached,
        engine: "virtualenv".to_owned(),
        python: None,
        requirements: Requirements::default(),
        settings: Settings {
            profile: Some(Profile::None),
            ..Settings::new(Project::at(project))
        },
    }
}
