//! A kind of environment that is attacked.

use std::path::Path;

use super::attacks::{Attack, Kind};
use super::field::Field;
use crate::environment::Environment;
use crate::error::Result;
use crate::progress::Silent;
use crate::project::Project;
use crate::ptest::Ptest;
use crate::settings::{Limits, Network, Profile, Settings};
use crate::spec::{EnvironmentSpec, Lifetime, Requirements};

/// A kind of environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its profile.
    pub profile: Profile,
    /// What it has of a network.
    pub network: Network,
}

impl Subject {
    /// The kinds of a profile: with what network it has by itself first, then with those that it can have.
    pub fn of(profile: Profile) -> Vec<Self> {
        let own = profile.network();
        let others = match profile {
            Profile::None => Vec::new(),
            Profile::Standard => vec![Network::Private, Network::None],
            Profile::Strict => vec![Network::None],
        };
        let all = [own].into_iter().chain(others);
        all.map(|network| Self { profile, network }).collect()
    }

    /// Whether an attack can come out otherwise than with the first kind of the profile.
    pub(super) fn is_tried_with(&self, attack: &Attack) -> bool {
        self.network == self.profile.network() || attack.kind == Kind::Network
    }

    /// Makes one. What is limited on request is, as code that nobody trusts would be.
    pub(super) fn make(&self, ptest: &Ptest, field: &Field) -> Result<Environment> {
        let limits = Limits {
            memory: Some(256 << 20),
            pids: Some(100),
            cpu_time: Some(std::time::Duration::from_secs(1)),
            open_files: Some(256),
            disk: Some(64 << 20),
            ..Limits::default()
        };
        self.make_with(ptest, field.project(), limits)
    }

    pub(super) fn make_with(
        &self,
        ptest: &Ptest,
        project: &Path,
        limits: Limits,
    ) -> Result<Environment> {
        let spec = EnvironmentSpec {
            name: None,
            lifetime: Lifetime::Process,
            engine: "virtualenv".to_owned(),
            python: None,
            requirements: Requirements::default(),
            settings: Settings {
                profile: Some(self.profile),
                network: (self.profile != Profile::None).then_some(self.network),
                limits,
                ..Settings::new(Project::at(project))
            },
        };
        ptest.create(&spec, &Silent)
    }
}
