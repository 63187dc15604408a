//! A store and a cheap environment for tests of the whole library.

use std::path::Path;

use ptest::config::InstallerChoice;
use ptest::project::Project;
use ptest::python::HostEnv;
use ptest::settings::{Profile, Settings};
use ptest::{EnvironmentSpec, Housekeeping, Lifetime, OpenOptions, Provision, Ptest, Requirements};

/// The store at `home`, as any process opens it.
pub(crate) fn open(home: &Path) -> Ptest {
    let variables = ["PATH", "HOME"]
        .into_iter()
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    Ptest::open(OpenOptions {
        home: home.to_owned(),
        host: HostEnv::new(variables, "/"),
        provision: Provision::new(InstallerChoice::Pip),
        housekeeping: Housekeeping::default(),
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

/// The same with the pip that ptest carries: a distribution that has scripts.
pub(crate) fn with_pip(project: &Path) -> EnvironmentSpec {
    EnvironmentSpec {
        requirements: Requirements {
            pip: true,
            ..Requirements::default()
        },
        ..spec(project)
    }
}
