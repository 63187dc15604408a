//! The virtualenv engine as a subject of the suite, once with each of its drivers.

use std::ffi::OsString;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use ptest::engine::virtualenv::Virtualenv;
use ptest::engine::{Engine, Instance};
use ptest::environment::{Owner, ProcessIdentity};
use ptest::project::Project;
use ptest::settings::{Profile, Settings};
use ptest_store::{CommitOptions, Stack, Store};
use ptest_testkit::suite::{Subject, Task};
use tempfile::TempDir;

use super::memory::fresh_id;

pub(crate) struct VirtualenvSubject {
    engine: Virtualenv,
    stack: Stack,
    project: TempDir,
    _home: TempDir,
    instances: AtomicU64,
    profile: Profile,
}

impl VirtualenvSubject {
    pub(crate) fn new(profile: Profile) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("a störe")).unwrap();
        let layers = ["lower", "upper"].map(|name| {
            let staging = store.stage().unwrap();
            fs::create_dir(staging.path().join("bin")).unwrap();
            fs::write(staging.path().join(name), name).unwrap();
            store
                .commit(staging, CommitOptions::default())
                .unwrap()
                .layer
                .id
        });
        Self {
            engine: Virtualenv::new(&store).unwrap(),
            stack: Stack::new(layers),
            project: tempfile::tempdir().unwrap(),
            _home: home,
            instances: AtomicU64::new(0),
            profile,
        }
    }
}

impl Subject for VirtualenvSubject {
    fn name(&self) -> String {
        format!("virtualenv-{}", self.profile)
    }

    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn instance(&self) -> Instance {
        // Both kinds of owner take turns: the behaviour is the same.
        let number = self.instances.fetch_add(1, Ordering::Relaxed);
        Instance {
            id: fresh_id(),
            stack: self.stack.clone(),
            cache: Some("suite".to_owned()),
            settings: Settings {
                profile: Some(self.profile),
                ..Settings::new(Project::at(self.project.path()))
            },
            interpreter: Vec::new(),
            owner: if number.is_multiple_of(2) {
                Owner::Process(ProcessIdentity::current().unwrap())
            } else {
                Owner::Detached
            },
            generation: 0,
            ends_at: None,
        }
    }

    fn command(&self, task: Task<'_>) -> Vec<OsString> {
        let shell = |script: String| vec!["sh".to_owned(), "-c".to_owned(), script];
        let words = match task {
            Task::Exit(code) => shell(format!("exit {code}")),
            Task::Cat => vec!["cat".to_owned()],
            Task::Echo(text) => vec!["echo".to_owned(), text.to_owned()],
            Task::Variables => vec!["env".to_owned()],
            Task::Sleep => vec!["sleep".to_owned(), "3600".to_owned()],
            // A loop, for a shell that execs its last command would hand SIGTERM on.
            Task::Stubborn => shell("trap '' TERM; echo; while :; do sleep 3600; done".to_owned()),
            Task::Put(name) => shell(format!("cat > \"$VIRTUAL_ENV/{name}\"")),
            Task::Get(name) => shell(format!("cat \"$VIRTUAL_ENV/{name}\"")),
            Task::Missing => vec!["no-such-program".to_owned()],
            Task::NotExecutable => vec!["/etc/passwd".to_owned()],
        };
        words.into_iter().map(OsString::from).collect()
    }
}
