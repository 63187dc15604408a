//! A store and a cheap environment for tests of the whole library.

use std::path::Path;
use std::time::Duration;

use ptest::config::InstallerChoice;
use ptest::project::Project;
use ptest::python::HostEnv;
use ptest::settings::{Profile, Settings};
use ptest::{EnvironmentSpec, Lifetime, OpenOptions, Provision, Ptest, Requirements, Room};

/// The store at `home`, as any process opens it.
pub(crate) fn open(home: &Path) -> Ptest {
    Ptest::open(options(home)).unwrap()
}

/// The same, with so much room.
pub(crate) fn open_with_room(home: &Path, room: Room) -> Ptest {
    let options = OpenOptions {
        room,
        ..options(home)
    };
    Ptest::open(options).unwrap()
}

/// The same, waiting for other operations for so long.
pub(crate) fn open_with_patience(home: &Path, patience: Duration) -> Ptest {
    let options = OpenOptions {
        patience,
        ..options(home)
    };
    Ptest::open(options).unwrap()
}

/// How it is opened.
pub(crate) fn options(home: &Path) -> OpenOptions {
    let variables = ["PATH", "HOME"]
        .into_iter()
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    let provision = Provision::new(InstallerChoice::Pip);
    OpenOptions::new(home, HostEnv::new(variables, "/"), provision)
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
