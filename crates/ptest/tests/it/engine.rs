//! The virtualenv engine where several processes use one store, and where one dies between two steps.
//!
//! What every engine does is in the behaviour suite.

use std::fs;
use std::time::Duration;

use ptest::engine::virtualenv::Virtualenv;
use ptest::engine::{Engine as _, Instance};
use ptest::environment::{EnvironmentId, Owner};
use ptest::project::Project;
use ptest::settings::{Profile, Settings};
use ptest_store::{CommitOptions, Stack, Store};
use ptest_testkit::{require, requirement};

/// A store, and an instance on a stack of one layer that has a file `lower`.
struct Place {
    directory: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self { directory, store }
    }

    fn stack(&self, files: &[&str]) -> Stack {
        Stack::new(files.iter().map(|name| {
            let staging = self.store.stage().unwrap();
            fs::write(staging.path().join(name), name).unwrap();
            let committed = self.store.commit(staging, CommitOptions::default());
            committed.unwrap().layer.id
        }))
    }

    fn instance(&self, profile: Profile) -> Instance {
        Instance {
            id: EnvironmentId::from_random([7; 16]),
            stack: self.stack(&["lower"]),
            cache: Some("test".to_owned()),
            settings: Settings {
                profile: Some(profile),
                ..Settings::new(Project::at(self.directory.path()))
            },
            interpreter: Vec::new(),
            owner: Owner::Detached,
            generation: 0,
            ends_at: None,
        }
    }

    /// The engine as another process has it.
    fn engine(&self) -> Virtualenv {
        Virtualenv::new(&self.store).unwrap()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.build().unwrap().block_on(future)
}

#[test]
fn who_launched_an_init_that_another_replaced_ends_the_one_that_runs() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let place = Place::new();
    let instance = place.instance(Profile::Standard);
    let (first, second) = (place.engine(), place.engine());
    block_on(first.create(&instance)).unwrap();
    block_on(first.activate(&instance)).unwrap();
    block_on(second.deactivate(&instance.id, Duration::ZERO)).unwrap();
    block_on(second.activate(&instance)).unwrap();
    block_on(first.deactivate(&instance.id, Duration::ZERO)).unwrap();
    assert!(!block_on(second.is_active(&instance.id)).unwrap());
    block_on(second.remove(&instance.id)).unwrap();
}
