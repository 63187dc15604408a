//! Snapshots of environments at rest, whose upper becomes a layer itself. Not for what snapshots are
//! good for: that is `snapshots`'s.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use ptest::progress::Silent;
use ptest::{Collection, Depth, Environment, ErrorKind, Ptest, Requirements};
use ptest_store::Error as StoreError;
use ptest_store::faults::{self, Fault};
use ptest_testkit::{require, requirement};

use crate::context::{open, spec};
use crate::snapshots::{fork, shell};

const EVERYTHING: Collection = Collection {
    older_than: Duration::ZERO,
    keep_size: None,
    dry_run: false,
};

/// A store, and an environment at rest in which something was written.
struct Setting {
    /// Where all of it is.
    _directory: tempfile::TempDir,
    ptest: Ptest,
    web: Environment,
}

impl Setting {
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let ptest = open(&directory.path().join("store"));
        let mut spec = spec(directory.path());
        spec.settings.profile = None;
        spec.name = Some("web".parse().unwrap());
        let web = ptest.create(&spec, &Silent).unwrap();
        shell(&web, script);
        at_rest(&web);
        Self {
            _directory: directory,
            ptest,
            web,
        }
    }

    /// What was written in the environment since its last snapshot.
    fn upper(&self) -> PathBuf {
        let envs = self.ptest.store().home().join("envs");
        let generation = self.web.record().unwrap().generation;
        envs.join(self.web.id().as_str())
            .join(format!("upper-{generation}"))
    }

    fn snapshot(&self) -> ptest::Taken {
        self.web.snapshot(None).unwrap()
    }

    /// The topmost layer of what the environment stands on.
    fn top(&self) -> PathBuf {
        let store = self.ptest.store();
        let stack = store.stack(&self.web.record().unwrap().stack).unwrap();
        store.layer_path(stack.layers().last().unwrap())
    }

    fn in_web(&self, script: &str) {
        shell(&self.web, script);
        at_rest(&self.web);
    }

    fn in_fork(&self, source: &str, script: &str) {
        let mut forked = self.ptest.fork(source, &[fork("copy")]).unwrap();
        let copy = forked.environments.remove(0);
        shell(&copy, script);
        copy.remove().unwrap();
    }
}

fn at_rest(environment: &Environment) {
    environment.deactivate(Duration::ZERO).unwrap();
}

#[test]
fn what_was_written_becomes_a_layer_without_a_copy() {
    require!(requirement::userns());
    let setting = Setting::new("echo 1 > note; mkdir d; chmod 700 d; rm bin/activate.fish");
    let before = setting.web.record().unwrap();
    let inode = fs::metadata(setting.upper().join("note")).unwrap().ino();
    let taken = setting.snapshot();
    assert_eq!(taken.left_out, Vec::<String>::new());
    let after = setting.web.record().unwrap();
    assert_eq!(taken.snapshot.stack, after.stack);
    assert_ne!(before.stack, after.stack);
    assert_eq!(
        fs::metadata(setting.top().join("note")).unwrap().ino(),
        inode
    );
    assert_eq!(fs::read_dir(setting.upper()).unwrap().count(), 0);

    let shown =
        "test \"$(cat note)\" = 1; test \"$(stat -c %a d)\" = 700; test ! -e bin/activate.fish";
    setting.in_web(&format!("{shown}; echo 2 > note; rmdir d"));
    setting.in_fork("web-1", shown);
    // What is written now is a layer of its own on top.
    setting.snapshot();
    setting.in_web("test \"$(cat note)\" = 2; test ! -e d");
    let more = Requirements {
        pip: true,
        ..Requirements::default()
    };
    setting.web.install(&more, &Silent).unwrap();
    setting.in_web("test \"$(cat note)\" = 2; pip --version");
    setting.web.restore("web-1").unwrap();
    setting.in_web(shown);
    setting.web.remove().unwrap();
}

#[test]
fn a_file_that_a_process_can_write_to_is_copied_and_stays_the_environments() {
    require!(requirement::userns());
    let setting = Setting::new("echo 1 > note");
    let mut open = File::options()
        .append(true)
        .open(setting.upper().join("note"))
        .unwrap();
    let before = setting.web.record().unwrap().stack;
    setting.snapshot();
    assert_eq!(setting.web.record().unwrap().stack, before);
    writeln!(open, "2").unwrap();
    setting.in_web("test \"$(cat note)\" = \"1\n2\"");
    setting.in_fork("web-1", "test \"$(cat note)\" = 1");
    drop(open);
    setting.snapshot();
    assert_ne!(setting.web.record().unwrap().stack, before);
    setting.web.remove().unwrap();
}

#[test]
fn what_no_layer_can_hold_stays_in_the_environment() {
    require!(requirement::userns());
    for (script, shown, left_out) in [
        ("mkfifo pipe", "test -p pipe", 1),
        ("chmod u+s note", "test -u note", 1),
        ("chmod 711 .", "test \"$(stat -c %a .)\" = 711", 0),
        ("ln note other", "test note -ef other", 0),
    ] {
        let setting = Setting::new(&format!("echo 1 > note; {script}"));
        let upper = setting.upper();
        let taken = setting.snapshot();
        assert_eq!(taken.left_out.len(), left_out, "{script}");
        assert_eq!(setting.upper(), upper, "{script}");
        setting.in_web(shown);
        setting.in_fork("web-1", "test \"$(cat note)\" = 1");
        setting.web.remove().unwrap();
    }
}

#[test]
fn a_view_leads_to_what_was_written_before_and_after() {
    require!(requirement::userns());
    let setting = Setting::new("echo 1 > $(echo lib/python*/site-packages)/note.py");
    let view = setting.web.view().unwrap();
    let note = view.site_packages.join("note.py");
    let read = || fs::read_to_string(&note).unwrap();
    assert_eq!(read(), "1\n");
    setting.snapshot();
    assert_eq!(read(), "1\n");
    setting.in_web("echo 2 > $(echo lib/python*/site-packages)/note.py");
    setting.web.view().unwrap();
    assert_eq!(read(), "2\n");
    setting.web.remove().unwrap();
}

#[test]
fn a_snapshot_that_fails_leaves_the_environment_as_it_was() {
    require!(requirement::userns());
    let setting = Setting::new("echo 1 > note");
    let sql = |sql: &str| {
        let done = setting.ptest.store().database().write(|transaction| {
            transaction.execute_batch(sql)?;
            Ok::<_, StoreError>(())
        });
        done.unwrap();
    };
    let layers = setting.ptest.store().layers().unwrap().len();
    let (before, inode) = (
        setting.web.record().unwrap(),
        fs::metadata(setting.upper()).unwrap().ino(),
    );
    // The last thing that is written.
    sql("CREATE TRIGGER fails BEFORE INSERT ON snapshots BEGIN SELECT RAISE(ABORT, 'full'); END");
    setting.web.snapshot(None).unwrap_err();
    sql("DROP TRIGGER fails");
    let after = setting.web.record().unwrap();
    assert_eq!(
        (after.stack, after.generation),
        (before.stack, before.generation)
    );
    assert_eq!(fs::metadata(setting.upper()).unwrap().ino(), inode);
    assert_eq!(setting.ptest.store().layers().unwrap().len(), layers);
    let places = fs::read_dir(setting.upper().parent().unwrap()).unwrap();
    let uppers = places.filter(|it| {
        let name = it.as_ref().unwrap().file_name();
        ["upper-", "taken-"]
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix))
    });
    assert_eq!(uppers.count(), 1);
    assert_eq!(
        setting.ptest.snapshot("web-1").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    setting.in_web("test \"$(cat note)\" = 1");
    setting.snapshot();
    setting.web.remove().unwrap();
}

const ARGUMENT: &str = "PTEST_TEST_ARGUMENT";

#[test]
fn a_snapshot_that_is_killed_at_any_step_is_there_or_not_and_the_environment_whole() {
    let name = "hand_over::a_snapshot_that_is_killed_at_any_step_is_there_or_not_and_the_environment_whole";
    if let Ok(argument) = std::env::var(ARGUMENT) {
        let (step, home) = argument.split_once(' ').unwrap();
        let ptest = open(home.as_ref());
        faults::at(step, Fault::Abort);
        let web = ptest.find("web").unwrap();
        web.snapshot(Some("kept".parse().unwrap())).unwrap();
        return;
    }
    require!(requirement::userns());
    for (step, is_kept) in [
        ("stage.wrapper", false),
        ("commit.scanned", false),
        ("commit.applied", false),
        ("commit.manifest-staged", false),
        ("commit.synced", false),
        ("commit.tree-renamed", false),
        ("commit.manifest-renamed", false),
        ("commit.row", true),
        ("trash.renamed", true),
    ] {
        for next in ["command", "collection", "recovery of the store"] {
            let setting = Setting::new("echo 1 > note; mkdir d; echo 1 > d/f");
            let home = setting.ptest.store().home();
            let output = again(name, &format!("{step} {}", home.display()));
            assert_eq!(output.status.signal(), Some(6), "{step}: {output:?}");
            // By a process that was there before.
            if next == "recovery of the store" {
                setting.ptest.store().recover().unwrap();
            }
            if next != "command" {
                setting.ptest.collect(&EVERYTHING).unwrap();
            }
            let opened = open(home);
            assert_eq!(opened.snapshot("kept").is_ok(), is_kept, "{step}");
            opened.collect(&EVERYTHING).unwrap();
            let shown = "test \"$(cat note d/f)\" = \"1\n1\"";
            setting.in_web(&format!("{shown}; echo 2 > d/f"));
            if is_kept {
                setting.in_fork("kept", shown);
                opened.remove_snapshot("kept").unwrap();
            }
            let taken = setting.snapshot().snapshot.name;
            setting.in_fork(taken.as_str(), "test \"$(cat note d/f)\" = \"1\n2\"");
            assert_eq!(setting.web.verify(Depth::Full).unwrap().problems, []);
            opened.remove_snapshot(taken.as_str()).unwrap();
            setting.web.remove().unwrap();
            opened.collect(&EVERYTHING).unwrap();
            for directory in ["layers", "staging", "trash", "envs"] {
                let left = fs::read_dir(home.join(directory)).unwrap().count();
                assert_eq!(left, 0, "{step}, {next}: {directory}");
            }
        }
    }
}

/// Runs a test of this program again in a process of its own.
fn again(name: &str, argument: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ARGUMENT, argument)
        .output()
        .unwrap()
}
