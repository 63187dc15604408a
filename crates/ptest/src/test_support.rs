//! A store and a cheap environment, for tests within the library.

use std::path::Path;

use crate::config::InstallerChoice;
use crate::project::Project;
use crate::provision::Provision;
use crate::ptest::{OpenOptions, Ptest};
use crate::python::HostEnv;
use crate::settings::Settings;
use crate::spec::{EnvironmentSpec, Lifetime, Requirements};

/// The store at `home`, as any process opens it.
pub(crate) fn open(home: &Path) -> Ptest {
    let variables = ["PATH", "HOME"]
        .into_iter()
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    Ptest::open(OpenOptions::new(
        home,
        HostEnv::new(variables, "/"),
        Provision::new(InstallerChoice::Pip),
    ))
    .unwrap()
}

/// An environment of which nothing is asked.
pub(crate) fn spec(project: &Path) -> EnvironmentSpec {
    EnvironmentSpec {
        name: None,
        lifetime: Lifetime::Detached,
        engine: "virtualenv".to_owned(),
        python: None,
        requirements: Requirements::default(),
        settings: Settings::new(Project::at(project)),
    }
}
