//! Environments that may take so much of the disk. Most machines have no project quotas: what needs them runs in the machine
//! that `cargo xtask vm` starts. Not for what a quota is, nor for how a disk is watched: that is ptest-sandbox's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ptest::progress::Silent;
use ptest::settings::{Limit, Profile, Strength};
use ptest::{Environment, Ptest};
use ptest_testkit::{require, requirement};
use rustix::fs::statvfs;

use crate::context::{open, spec};
use crate::snapshots::{fork, shell, start};

const LIMIT: u64 = 8 << 20;

struct Setting {
    _directory: tempfile::TempDir,
    ptest: Ptest,
    web: Environment,
}

impl Setting {
    fn new(profile: Profile) -> Self {
        // Not where the tests are built: that has no quotas.
        let directory = tempfile::tempdir().unwrap();
        let ptest = open(&directory.path().join("store"));
        let mut spec = spec(directory.path());
        spec.settings.profile = Some(profile);
        spec.settings.limits.disk = Some(LIMIT);
        spec.name = Some("web".parse().unwrap());
        let web = ptest.create(&spec, &Silent).unwrap();
        Self {
            _directory: directory,
            ptest,
            web,
        }
    }

    fn home(&self) -> &Path {
        self.ptest.store().home()
    }

    fn upper(&self) -> PathBuf {
        let envs = self.home().join("envs");
        let generation = self.web.record().unwrap().generation;
        envs.join(self.web.id().as_str())
            .join(format!("upper-{generation}"))
    }

    fn assert_enforced(&self) {
        let achieved = self.web.record().unwrap().achieved.unwrap();
        let disk = achieved.limits.iter().find(|it| it.limit == Limit::Disk);
        assert_eq!(disk.unwrap().strength, Strength::Enforced);
    }
}

/// The number of a file's project.
fn project(path: &Path) -> String {
    let output = Command::new("lsattr")
        .arg("-dp")
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

/// What a directory's kernel says of how much room there is.
fn room(path: &Path) -> u64 {
    let room = statvfs(path).unwrap();
    room.f_blocks * room.f_frsize
}

#[test]
fn what_untrusted_code_keeps_in_a_cache_of_its_own_counts() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let setting = Setting::new(Profile::Strict);
    let script = "head -c 20000000 /dev/zero > /ptest/cache/file; sleep 10";
    let process = start(&setting.web, script);
    let exit = setting.web.wait(&process).unwrap();
    assert_eq!(exit.struck.unwrap().limit, Limit::Disk, "{exit:?}");
    setting.web.remove().unwrap();
}

#[test]
#[ignore = "needs project quotas: `cargo xtask vm`"]
fn a_restore_gives_the_room_back_and_what_is_left_still_counts() {
    let setting = Setting::new(Profile::Strict);
    shell(&setting.web, "head -c 3000000 /dev/zero > ~/kept");
    setting.assert_enforced();
    setting.web.snapshot(None).unwrap();
    let fill = "test ! -e file; test -e ~/kept; head -c 4000000 /dev/zero > file
        if head -c 4000000 /dev/zero > more; then exit 9; fi";
    shell(&setting.web, fill);
    // Nobody empties the trash here.
    setting.web.restore("web-1").unwrap();
    shell(&setting.web, fill);
    setting.assert_enforced();
    setting.web.remove().unwrap();
}

#[test]
#[ignore = "needs project quotas: `cargo xtask vm`"]
fn a_snapshot_is_of_no_project_and_the_environment_stays_in_its_own() {
    let setting = Setting::new(Profile::Standard);
    let web = &setting.web;
    shell(web, "mkdir d; head -c 4000000 /dev/zero > d/file");
    web.deactivate(Duration::ZERO).unwrap();
    let taken = web.snapshot(None).unwrap();
    let store = setting.ptest.store();
    let stack = store.stack(&taken.snapshot.stack).unwrap();
    let layer = store.layer_path(stack.layers().last().unwrap());
    for path in ["d", "d/file"] {
        assert_eq!(project(&layer.join(path)), "0");
        assert_ne!(project(&setting.upper().join(path)), "0");
    }
    let fill = "head -c 3000000 /dev/zero > more
        if head -c 3000000 /dev/zero > most; then exit 9; fi";
    shell(web, fill);
    setting.assert_enforced();
    // Of a fork only what it writes itself counts.
    let mut forked = setting.ptest.fork("web-1", &[fork("copy")]).unwrap();
    let copy = forked.environments.remove(0);
    shell(&copy, "test -e d/file; head -c 4000000 /dev/zero > first");
    shell(&copy, fill);
    copy.remove().unwrap();
    setting.web.remove().unwrap();
}

#[test]
#[ignore = "needs project quotas: `cargo xtask vm`"]
fn the_limit_goes_with_the_environment() {
    let setting = Setting::new(Profile::Standard);
    shell(&setting.web, "echo 1 > file");
    let (upper, trash) = (setting.upper(), setting.home().join("trash"));
    assert_eq!(room(&upper), LIMIT);
    setting.web.remove().unwrap();
    let mut trash = fs::read_dir(trash).unwrap();
    let thrown_away = trash.find_map(|entry| {
        let upper = entry.unwrap().path().join(upper.file_name().unwrap());
        upper.exists().then_some(upper)
    });
    assert!(room(&thrown_away.unwrap()) > LIMIT);
}
