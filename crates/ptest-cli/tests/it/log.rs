//! The log, in its file and on stderr.

use std::{collections::BTreeSet, fs, path::Path, thread};

use ptest_testkit::{require, requirement};
use serde_json::Value;

use crate::{context::TestContext, packages::with_index};

/// The lines of a log, each an object.
fn lines(file: &Path) -> Vec<Value> {
    fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn log(context: &TestContext) -> Vec<Value> {
    lines(&context.path("store/logs/ptest.log"))
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

#[test]
fn every_line_of_an_operation_carries_its_id_and_what_it_works_on() {
    let mut context = TestContext::new();
    context.set("PTEST_LOG", "debug");
    let _ = context.run(["create", "web"]).success();
    let _ = context.run(["remove", "web"]).success();
    let lines = log(&context);
    for line in &lines {
        for key in ["time", "level", "pid", "target", "message"] {
            assert!(!line[key].is_null(), "{line}");
        }
    }
    let mut ids = BTreeSet::new();
    for kind in ["create", "remove"] {
        let told = of_kind(&lines, kind);
        assert!(told.len() > 2, "{kind}: {lines:?}");
        let id = told[0]["operation"].as_str().unwrap();
        assert!(told.iter().all(|line| line["operation"] == id), "{told:?}");
        let end = told.last().unwrap();
        assert_eq!(end["message"], "done");
        assert_eq!(end["label"], "web");
        assert!(end["environment"].as_str().unwrap().starts_with('e'));
        ids.insert(id);
    }
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_failed_operation_is_kept_with_its_cause() {
    let mut context = TestContext::new();
    context.set("PTEST_LOG", "error");
    context.set("PTEST_LOG_FILE", context.path("project/errors.log"));
    let _ = context.run(["create", "web"]).success();
    assert!(!context.path("project/errors.log").exists());
    context.assert_refused(&["create", "web"], 125, "web");
    let lines = lines(&context.path("project/errors.log"));
    let failed = of_kind(&lines, "create");
    assert_eq!(failed.len(), 1, "{lines:?}");
    assert_eq!(failed[0]["error_kind"], "already_exists");
    assert_eq!(failed[0]["level"], "error");
    assert!(failed[0]["operation"].is_string());
    assert!(!context.path("store/logs").exists());
}

#[test]
fn no_secret_is_in_the_log_or_on_stderr_wherever_it_was_planted() {
    require!(requirement::userns());
    let mut context = with_index();
    context.set("PTEST_LOG", "trace");
    context.set("PIP_RETRIES", "0");
    context.set("API_TOKEN", "planted-in-the-caller");
    context.set(
        "PIP_INDEX_URL",
        "http://me:planted-in-an-index@127.0.0.1:1/simple",
    );
    context.write(
        "project/ptest.toml",
        "[env]\nDATABASE_PASSWORD = 'planted-in-a-file'\n",
    );
    let option = [
        "--verbose",
        "run",
        "--env",
        "MY_SECRET=planted-in-an-option",
    ];
    for command in [
        "planted-in-the-caller",
        "planted-in-an-index",
        "planted-in-a-file",
        "planted-in-an-option",
        "ghp_plantedasitlooks0123",
    ] {
        // That it is not found is told with its name, to the caller too, who gave it.
        let outcome = context.run(option.iter().chain(&["--pass", "API_TOKEN", "--", command]));
        assert_eq!(outcome.code(), Some(127), "{outcome}");
    }
    let url = "gamma @ http://me:planted-in-a-url@127.0.0.1:1/gamma-1.0-py3-none-any.whl";
    let outcome = context.run(["--verbose", "create", "web", "--with", url]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert!(!outcome.stderr().contains("planted"), "{outcome}");
    let text = fs::read_to_string(context.path("store/logs/ptest.log")).unwrap();
    let shown: Vec<_> = text
        .lines()
        .filter(|line| line.contains("planted"))
        .collect();
    assert!(shown.is_empty(), "{shown:?}");
    let hidden = text.lines().filter(|line| line.contains("****")).count();
    assert!(hidden >= 5, "{text}");
}

#[test]
fn who_asks_for_every_step_is_told_each_once_and_as_a_sentence() {
    let context = with_index();
    let outcome = context
        .run(["--verbose", "create", "web", "--with", "alpha==1.0"])
        .success();
    let stderr = outcome.stderr();
    for step in ["choosing versions", "2/2", "create web: done"] {
        assert_eq!(stderr.matches(step).count(), 1, "{step}: {outcome}");
    }
    let steps = stderr.lines().filter(|line| line.contains(" s  "));
    for step in steps {
        let seconds = step.trim_start().split(' ').next().unwrap();
        assert!(seconds.parse::<f64>().is_ok(), "{step}");
        assert!(!step.contains('{'), "{step}");
    }
    // A failure is told once.
    let outcome = context.run(["--verbose", "create", "web"]);
    assert_eq!(outcome.stderr().matches("exists").count(), 1, "{outcome}");
}

#[test]
fn what_opens_no_store_and_who_wants_no_log_makes_no_file() {
    let mut context = TestContext::new();
    let _ = context.run(["--verbose", "config", "list"]).success();
    assert!(!context.path("store").exists());
    context.set("PTEST_LOG", "off");
    let _ = context.run(["create", "web"]).success();
    assert!(!context.path("store/logs").exists());
}

#[test]
fn a_full_log_gets_another_name_and_a_new_one_begins() {
    let context = TestContext::new();
    let _ = context.run(["create", "one"]).success();
    let old = format!("{}\n", "x".repeat(1 << 20));
    context.write("store/logs/ptest.log", &old);
    let _ = context.run(["create", "two"]).success();
    let rotated = fs::read_to_string(context.path("store/logs/ptest.log.1")).unwrap();
    assert_eq!(rotated, old);
    assert_eq!(of_kind(&log(&context), "create")[0]["label"], "two");
}

#[test]
fn processes_that_write_at_the_same_time_tear_no_line() {
    let mut context = TestContext::new();
    context.set("PTEST_LOG", "debug");
    let names: Vec<String> = (0..8).map(|number| format!("at-once-{number}")).collect();
    let context = &context;
    thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || context.run(["create", name.as_str()]).success());
        }
    });
    let lines = log(context);
    let made: BTreeSet<_> = of_kind(&lines, "create")
        .iter()
        .filter(|line| line["message"] == "done")
        .map(|line| line["label"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(made, names.iter().cloned().collect());
}

#[test]
fn a_log_that_cannot_be_written_keeps_nobody_from_working() {
    let mut context = TestContext::new();
    for place in [
        "project",
        "project/absent/log",
        "project/pyproject.toml/log",
    ] {
        context.set("PTEST_LOG_FILE", context.path(place));
        let outcome = context.run(["run", "--profile", "none", "--", "true"]);
        let _ = outcome.success();
    }
}
