//! What the tests share: stores in temporary directories, trees, and processes that run one test
//! again under other conditions.

pub(crate) mod again;
pub(crate) mod package;
pub(crate) mod tree;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ptest_store::{CommitOptions, Layer, LayerId, Source, Store};

/// A store that is gone at the end of the test.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    // Dropped last.
    pub(crate) dir: tempfile::TempDir,
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A space and a letter that is not ASCII, as in people's home directories.
        let store = Store::open(&dir.path().join("a störe")).unwrap();
        Self { store, dir }
    }

    pub(crate) fn reopened(&self) -> Store {
        Store::open(self.store.home()).unwrap()
    }

    /// A place outside the store.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Commits what `fill` puts into a fresh directory.
    pub(crate) fn commit(&self, fill: impl FnOnce(&Path)) -> Layer {
        commit(&self.store, CommitOptions::default(), fill)
    }

    /// The same, of a tree with marks of overlayfs.
    pub(crate) fn commit_upper(&self, fill: impl FnOnce(&Path)) -> Layer {
        let options = CommitOptions {
            source: Source::OverlayUpper,
            ..CommitOptions::default()
        };
        commit(&self.store, options, fill)
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        if !is_root() {
            tree::open_all(self.dir.path());
        }
    }
}

pub(crate) fn commit(store: &Store, options: CommitOptions, fill: impl FnOnce(&Path)) -> Layer {
    let staging = store.stage().unwrap();
    fill(staging.path());
    store.commit(staging, options).unwrap().layer
}

/// Names in a directory, sorted.
pub(crate) fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Fails unless every tree has its row and its manifest and nothing else is there.
pub(crate) fn assert_consistent(store: &Store) {
    let mut rows: Vec<String> = store
        .layers()
        .unwrap()
        .iter()
        .map(|layer| layer.id.to_string())
        .collect();
    rows.sort();
    assert_eq!(names(store.home().join("layers")), rows);
    assert_eq!(names(store.home().join("manifests")), rows);
    assert_eq!(names(store.home().join("staging")), Vec::<String>::new());
    for row in rows {
        let id: LayerId = row.parse().unwrap();
        assert_eq!(
            store.verify(&id, ptest_store::Depth::Full).unwrap(),
            ptest_store::Verdict::Sound
        );
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test cannot run here, on stderr and in the file that the test run counts; fails
/// instead when the machine must be able to.
pub(crate) fn skip(requirement: &str, reason: &str) {
    let required = std::env::var("PTEST_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name == requirement),
        "{requirement} is required here: {reason}"
    );
    let thread = std::thread::current();
    let line = format!("SKIP {}: {reason}\n", thread.name().unwrap_or("a test"));
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(list) = std::env::var_os("PTEST_TEST_SKIPS") {
        let mut list = fs::File::options()
            .create(true)
            .append(true)
            .open(list)
            .unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
}
