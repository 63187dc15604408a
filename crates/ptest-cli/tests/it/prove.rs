//! `ptest doctor --prove`: that the attacks are real, and that what the profiles claim holds.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use ptest_testkit::{require, requirement};
use serde_json::Value;

use crate::{
    context::{Outcome, PTEST, TestContext},
    reference::assert_conforms,
};

pub(crate) const NOBODY: u32 = 65534;

struct Trials(Vec<Value>);

impl Trials {
    fn of(outcome: &Outcome) -> Self {
        let report = outcome.json();
        assert_conforms("ptest.proof", &report);
        Self(report["trials"].as_array().unwrap().clone())
    }

    fn with(&self, verdict: &str) -> Vec<String> {
        let all = self.0.iter().filter(|trial| trial["verdict"] == verdict);
        all.map(|trial| {
            let word = |name: &str| trial[name].as_str().unwrap();
            format!(
                "{} under {}: {} / {}",
                word("attack"),
                word("profile"),
                trial["outside"]["detail"],
                trial["inside"]["detail"]
            )
        })
        .collect()
    }

    /// Nothing that is claimed to be stopped works, and most of it works outside.
    fn assert_claims_hold(&self, least: usize) {
        assert_eq!(self.with("BREACH"), [""; 0]);
        let stopped = self.with("stopped").len();
        let vacuous = self.with("vacuous");
        assert!(stopped >= least, "only {stopped}: {vacuous:#?}");
    }
}

fn home_is_clean(home: &Path) -> bool {
    let mut entries = fs::read_dir(home).unwrap();
    entries.all(|entry| {
        let name = entry.unwrap().file_name();
        !name.to_string_lossy().contains("prove")
    })
}

#[test]
fn what_the_profiles_claim_holds() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    let outcome = context.run(["doctor", "--prove", "--format", "json"]);
    Trials::of(&outcome).assert_claims_hold(75);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    context.assert_nothing_is_left();
    assert!(home_is_clean(&context.path("home")));
}

/// Without isolation the same attacks work: what stops them is not that they are bad ones.
#[test]
fn without_isolation_the_attacks_work() {
    let context = TestContext::new();
    let outcome = context.run(["doctor", "--prove", "--profile", "none", "--format", "json"]);
    let trials = Trials::of(&outcome);
    assert!(
        trials.with("open").len() >= 30,
        "{:#?}",
        trials.with("stopped")
    );
    let seen = |name: &str| {
        trials
            .with("open")
            .iter()
            .any(|trial| trial.starts_with(name))
    };
    for name in ["see_process", "write_home", "read_temporary", "write_store"] {
        assert!(seen(name), "{name}: {:#?}", trials.with("stopped"));
    }
}

#[test]
fn the_table_is_for_people_and_says_what_proves_nothing() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    let outcome = context
        .run(["doctor", "--prove", "--profile", "strict"])
        .success();
    let text = outcome.columns();
    assert!(
        text.starts_with("A COMMAND TRIES TO STRICT STRICT, NETWORK NONE\n"),
        "{text}"
    );
    assert!(
        text.contains("read a file in the user's home stopped\n"),
        "{text}"
    );
    assert!(text.contains("0 BREACH\n"), "{text}");
    context.assert_refused(&["doctor", "--profile", "strict"], 2, "--prove");
}

/// The program where an ordinary user can reach it, with a home and a store of that user's.
pub(crate) fn for_nobody() -> tempfile::TempDir {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    fs::copy(PTEST, place.path().join("ptest")).unwrap();
    fs::create_dir(place.path().join("project")).unwrap();
    for path in [place.path(), &place.path().join("project")] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    place
}

/// Runs the program of such a place in its project, as that user.
pub(crate) fn as_nobody(context: &TestContext, place: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(place.join("ptest"));
    command
        .args(arguments)
        .current_dir(place.join("project"))
        .env_clear()
        .env("HOME", place)
        .env("PTEST_HOME", place.join("store"))
        .env("PATH", "/usr/bin:/bin")
        .uid(NOBODY)
        .gid(NOBODY);
    context.outcome(command.output().unwrap())
}

#[test]
fn what_the_profiles_claim_holds_for_an_ordinary_user() {
    require!(requirement::root());
    require!(requirement::userns());
    require!(requirement::overlay());
    let (context, place) = (TestContext::new(), for_nobody());
    let outcome = as_nobody(
        &context,
        place.path(),
        &["doctor", "--prove", "--format", "json"],
    );
    Trials::of(&outcome).assert_claims_hold(75);
    assert!(home_is_clean(place.path()));
}

/// As in a container: another root, other namespaces, a filter of system calls.
#[test]
fn what_the_profiles_claim_holds_inside_another_sandbox() {
    require!(requirement::root());
    require!(requirement::userns());
    require!(requirement::overlay());
    let (context, place) = (TestContext::new(), for_nobody());
    let program = place.path().join("ptest");
    let program = program.to_str().unwrap();
    let words = [
        "run", "--read", program, "--", program, "doctor", "--prove", "--format", "json",
    ];
    let outcome = as_nobody(&context, place.path(), &words);
    Trials::of(&outcome).assert_claims_hold(60);
}
