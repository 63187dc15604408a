//! Runs a test of this binary again in another process: to be killed there, to be another user,
//! or to mount what nobody else sees.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use super::{is_root, skip};

const ARGUMENT: &str = "PTEST_STORE_TEST_ARGUMENT";

/// What the process that runs this test again said, if this is such a process.
pub(crate) fn argument() -> Option<String> {
    std::env::var(ARGUMENT).ok()
}

/// A command that runs the test of that name in a process of its own, with `argument`.
pub(crate) fn test(name: &str, argument: &str) -> Command {
    command(&[], name, argument)
}

/// The same, as a user of that number whom permissions bind, even if it is root's.
pub(crate) fn without_privileges(name: &str, argument: &str) -> Command {
    command(
        &["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
        name,
        argument,
    )
}

/// Runs the test of that name again where it may mount, as root or as what looks like it, and
/// fails if it fails there. Does nothing but say so where namespaces are not to be had.
pub(crate) fn in_mount_namespace(name: &str) {
    let unshare: &[&str] = if is_root() {
        &["unshare", "--mount", "--propagation", "private"]
    } else {
        &["unshare", "--user", "--map-root-user", "--mount"]
    };
    let possible = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg("true")
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return skip("userns", "no mount namespace for this user");
    }
    assert_success(&command(unshare, name, "inside").output().unwrap());
}

/// Runs every test that has one of these names in its name, as an ordinary user.
pub(crate) fn as_nobody(filters: &[&str]) -> Output {
    // The build directory may be closed to that user.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("it");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let temporary = directory.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777)).unwrap();
    Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(copy)
        .args(filters)
        .current_dir("/")
        .env("TMPDIR", temporary)
        .env_remove(ARGUMENT)
        // What is skipped there has run here.
        .env_remove("PTEST_TEST_SKIPS")
        .env_remove("PTEST_TEST_REQUIRE")
        .output()
        .unwrap()
}

pub(crate) fn assert_success(output: &Output) {
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn command(prefix: &[&str], name: &str, argument: &str) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut words = prefix
        .iter()
        .map(|word| std::ffi::OsStr::new(*word))
        .chain([exe.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ARGUMENT, argument);
    command
}
