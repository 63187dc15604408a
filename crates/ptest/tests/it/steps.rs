//! Every operation, ended or failing between any two of its effects: what the next one finds.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ptest::engine::ExitStatus;
use ptest::environment::State;
use ptest::faults::{self, Fault};
use ptest::labels::Labels;
use ptest::progress::Silent;
use ptest::settings::Profile;
use ptest::{EnvironmentSpec, Fork, Lifetime, Ptest, Result, Run};
use ptest_testkit::{require, requirement};

use crate::context::{open, spec};

const ARGUMENT: &str = "PTEST_TEST_STEP";
const LONG: Duration = Duration::from_mins(1);
/// Who fails then, and with what: the disk is full.
const ENOSPC: i32 = 28;

fn named(project: &Path, name: &str) -> EnvironmentSpec {
    let mut spec = spec(project);
    spec.name = Some(name.parse().unwrap());
    spec.settings.profile = Some(Profile::Standard);
    spec
}

fn write(environment: &ptest::Environment, text: &str) -> Result<()> {
    let script = format!("echo {text} > \"$VIRTUAL_ENV/written\"");
    let done = environment.run(Run::new(["sh", "-c", &script]))?;
    assert_eq!(done.ended?.status, ExitStatus::Code(0));
    Ok(())
}

fn fork(name: &str) -> Fork {
    Fork {
        name: Some(name.parse().unwrap()),
        lifetime: Lifetime::Detached,
        engine: None,
        settings: None,
        labels: Labels::default(),
    }
}

/// Every operation that changes something, one after the other; each name means one thing only.
fn work(ptest: &Ptest, project: &Path, round: &str) -> Result<()> {
    let name = |what: &str| format!("{what}{round}");
    let environment = ptest.create(&named(project, &name("web")), &Silent)?;
    environment.activate()?;
    write(&environment, "one")?;
    environment.deactivate(Duration::ZERO)?;
    let at_rest = name("rest").parse().unwrap();
    environment.snapshot(Some(at_rest))?;
    write(&environment, "two")?;
    let active = name("active").parse().unwrap();
    environment.snapshot(Some(active))?;
    environment.restore(&name("rest"))?;
    let forked = ptest.fork(&name("web"), &[fork(&name("fork"))])?;
    for environment in forked.environments {
        environment.remove()?;
    }
    environment.deactivate(Duration::ZERO)?;
    environment.remove()?;
    for snapshot in ["rest", "active"] {
        ptest.remove_snapshot(&name(snapshot))?;
    }
    Ok(())
}

/// What the work left, wherever it ended, is whole or gone, and all of it can be used, done again and removed.
fn assert_whole(home: &Path, project: &Path, how: &str) {
    let ptest = open(home);
    let recovery = ptest.recovered();
    assert!(recovery.failed.is_empty(), "{how}: {recovery:?}");
    ptest.tidy(LONG).unwrap();
    let records = ptest.records().unwrap();
    let mut known: Vec<String> = records.iter().map(|record| record.id.to_string()).collect();
    known.sort();
    let mut found: Vec<String> = fs::read_dir(home.join("envs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, known, "{how}");
    for record in records {
        assert!(
            !record.state.is_transitional() && record.state != State::Failed,
            "{how}"
        );
        let environment = ptest.find(record.label()).unwrap();
        let script = "cat \"$VIRTUAL_ENV/written\" 2>/dev/null; exit 7";
        let done = environment.run(Run::new(["sh", "-c", script])).unwrap();
        assert_eq!(done.ended.unwrap().status, ExitStatus::Code(7), "{how}");
        let written = String::from_utf8(done.stdout.head).unwrap();
        assert!(
            ["", "one\n", "two\n"].contains(&&*written),
            "{how}: {written}"
        );
        environment.remove().unwrap();
    }
    for snapshot in ptest.snapshots().unwrap() {
        ptest
            .fork(snapshot.name.as_str(), &[fork("again")])
            .unwrap();
        ptest.find("again").unwrap().remove().unwrap();
        ptest.remove_snapshot(snapshot.name.as_str()).unwrap();
    }
    work(&ptest, project, "2").unwrap();
    ptest.tidy(LONG).unwrap();
    for directory in ["envs", "leases", "staging", "trash"] {
        let left: Vec<_> = fs::read_dir(home.join(directory)).unwrap().collect();
        assert!(left.is_empty(), "{how}: {directory} has {left:?}");
    }
}

/// This test again, in a process in which that happens at that step.
fn again(name: &str, step: &str, fault: &str, home: &Path, project: &Path) -> std::process::Output {
    let [home, project] = [home, project].map(|path| path.to_str().unwrap());
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ARGUMENT, [step, fault, home, project].join("\n"))
        .output()
        .unwrap()
}

/// What that process does, if this is one.
fn is_again() -> bool {
    let Ok(argument) = std::env::var(ARGUMENT) else {
        return false;
    };
    let [step, fault, home, project] = argument.split('\n').collect::<Vec<_>>().try_into().unwrap();
    let ptest = open(home.as_ref());
    if fault == "abort" {
        faults::arm(step, Fault::Abort);
        work(&ptest, project.as_ref(), "").unwrap();
    } else {
        faults::arm(step, Fault::Errno(ENOSPC));
        let failed = work(&ptest, project.as_ref(), "");
        assert!(failed.is_err(), "{step}");
    }
    true
}

#[test]
fn a_process_killed_at_any_step_leaves_what_the_next_one_finishes_or_undoes() {
    if is_again() {
        return;
    }
    require!(requirement::userns());
    require!(requirement::overlay());
    let name = "steps::a_process_killed_at_any_step_leaves_what_the_next_one_finishes_or_undoes";
    for step in faults::STEPS {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let home = directory.path().join("store");
        let output = again(name, step, "abort", &home, directory.path());
        // Each step is reached: a list that names one too many would test nothing there.
        assert_eq!(output.status.signal(), Some(6), "{step}: {output:?}");
        assert_whole(&home, directory.path(), step);
    }
}

#[test]
fn a_failure_at_any_step_is_said_and_leaves_what_the_next_one_puts_right() {
    if is_again() {
        return;
    }
    require!(requirement::userns());
    require!(requirement::overlay());
    let name = "steps::a_failure_at_any_step_is_said_and_leaves_what_the_next_one_puts_right";
    for step in faults::STEPS {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let home = directory.path().join("store");
        let output = again(name, step, "errno", &home, directory.path());
        assert!(output.status.success(), "{step}: {output:?}");
        assert_whole(&home, directory.path(), step);
    }
}
