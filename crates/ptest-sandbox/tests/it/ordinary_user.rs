//! Everything once more as an ordinary user: one code path, the same tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use crate::support::{INIT_VARIABLE, init_program, is_root, lacks};

/// A user and a group without any rights.
const NOBODY: u32 = 65534;

#[test]
fn the_whole_suite_passes_as_an_ordinary_user() {
    if lacks(
        "root",
        is_root(),
        "the suite runs as an ordinary user already",
    ) {
        return;
    }
    // Where that user can reach it, whatever the build directory's mode.
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    fs::copy(std::env::current_exe().unwrap(), path("suite")).unwrap();
    fs::copy(init_program(), path("ptest-init")).unwrap();
    fs::create_dir(path("tmp")).unwrap();
    std::os::unix::fs::chown(path("tmp"), Some(NOBODY), Some(NOBODY)).unwrap();

    let output = std::process::Command::new(path("suite"))
        .args([
            "--test-threads=2",
            "--skip",
            "the_whole_suite_passes_as_an_ordinary_user",
        ])
        .env(INIT_VARIABLE, path("ptest-init"))
        .env("TMPDIR", path("tmp"))
        // What needs root has run as root.
        .env_remove("PTEST_TEST_REQUIRE")
        .env_remove("PTEST_TEST_SKIPS")
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eprintln!(
        "as an ordinary user: {}",
        text.lines().last().unwrap_or_default()
    );
}
