//! The memory engine as a subject of the suite.

use std::ffi::OsString;
use std::path::Path;

use ptest::engine::memory::Memory;
use ptest::engine::{Engine, Instance};
use ptest::environment::{EnvironmentId, Owner, ProcessIdentity};
use ptest::project::Project;
use ptest::settings::Settings;
use ptest_store::Stack;
use ptest_testkit::suite::{Subject, Task};

pub(crate) struct MemorySubject(Memory);

impl MemorySubject {
    pub(crate) fn new() -> Self {
        Self(Memory::new())
    }
}

impl Subject for MemorySubject {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn engine(&self) -> &dyn Engine {
        &self.0
    }

    fn instance(&self) -> Instance {
        Instance {
            id: fresh_id(),
            stack: Stack::new([]),
            cache: Some("suite".to_owned()),
            settings: Settings::new(Project::at(Path::new("/nowhere"))),
            interpreter: Vec::new(),
            owner: Owner::Process(ProcessIdentity::current().unwrap()),
            generation: 0,
            ends_at: None,
        }
    }

    fn command(&self, task: Task<'_>) -> Vec<OsString> {
        let words: Vec<String> = match task {
            Task::Exit(code) => vec!["exit".into(), code.to_string()],
            Task::Cat => vec!["cat".into()],
            Task::Echo(text) => vec!["echo".into(), text.into()],
            Task::Variables => vec!["env".into()],
            Task::Sleep => vec!["sleep".into(), "3600".into()],
            Task::Stubborn => vec!["stubborn".into(), "3600".into()],
            Task::Put(name) => vec!["put".into(), name.into()],
            Task::Get(name) => vec!["get".into(), name.into()],
            Task::Missing => vec!["no-such-program".into()],
            Task::NotExecutable => vec!["/dev/null".into()],
        };
        words.into_iter().map(OsString::from).collect()
    }
}

/// An id that no other instance of this test run has.
pub(crate) fn fresh_id() -> EnvironmentId {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    bytes[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    EnvironmentId::from_random(bytes)
}
