//! A small disk for a store, which can be filled, emptied and made read-only, and which nobody else sees.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    iter,
    path::{Path, PathBuf},
    process::Command,
};

use ptest_testkit::requirement::{self, Requirement};

/// Says to a process that it is the one that may mount.
const INSIDE: &str = "PTEST_TEST_MAY_MOUNT";

/// Runs a test again where it may mount; `None` in that process, which goes on with the test.
///
/// Elsewhere it gives what came of it, for `require!`: the test has run then, or cannot.
pub(crate) fn again(test: &str) -> Option<Requirement> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if requirement::root().into_result().is_err() {
        if let Err(why) = requirement::userns().into_result() {
            return Some(Requirement::new("userns", Err(why)));
        }
        command.arg("--map-root-user");
    }
    let (_, name) = test.split_once("::").unwrap();
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "yes")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Some(Requirement::new("userns", Ok(())))
}

/// Runs the enclosing test again where it may mount, and returns from it anywhere else.
macro_rules! in_mount_namespace {
    () => {
        if let Some(done) = $crate::disk::again(ptest_testkit::test_name!()) {
            ptest_testkit::require!(done);
            return;
        }
    };
}
pub(crate) use in_mount_namespace;

/// A disk, gone with the test.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn new(place: PathBuf, size: &str) -> Self {
        fs::create_dir(&place).unwrap();
        let disk = Self(place);
        disk.mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.0.join("fill")).unwrap();
        let error = iter::repeat_with(|| file.write_all(&[1; 4096]))
            .find_map(Result::err)
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    pub(crate) fn empty(&self) {
        fs::remove_file(self.0.join("fill")).unwrap();
    }

    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        let mode = if is_read_only { "ro" } else { "rw" };
        self.mount(&["-o", &format!("remount,{mode}")]);
    }

    fn mount(&self, arguments: &[&str]) {
        let status = Command::new("mount").args(arguments).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is mounted on cannot be deleted.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
