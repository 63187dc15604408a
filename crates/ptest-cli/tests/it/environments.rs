//! `create exec shell list status activate deactivate remove`: environments that stay.

use insta::assert_snapshot;
use ptest_testkit::{require, requirement};
use serde_json::json;

use crate::{context::TestContext, reference::assert_conforms};

#[test]
fn an_environment_lives_from_create_to_remove() {
    require!(requirement::userns());
    let context = TestContext::new();
    let created = context.run(["create", "web"]).success();
    assert_eq!(created.stdout(), "");
    assert!(
        created.stderr().starts_with("Created web with Python 3."),
        "{created}"
    );
    context
        .run(["exec", "web", "sh", "-c", "echo kept > $VIRTUAL_ENV/note"])
        .success();
    assert_eq!(state(&context), "active");
    assert_eq!(
        context.run(["deactivate", "web"]).success().stderr(),
        "Deactivated web\n"
    );
    assert_eq!(state(&context), "inactive");
    assert_eq!(
        context.run(["deactivate", "web"]).success().stderr(),
        "web is at rest already\n"
    );
    assert_eq!(
        context.run(["activate", "web"]).success().stderr(),
        "Activated web\n"
    );
    assert_eq!(
        context.run(["activate", "web"]).success().stderr(),
        "web is active already\n"
    );
    let read = context
        .run(["exec", "web", "sh", "-c", "cat $VIRTUAL_ENV/note"])
        .success();
    assert_eq!(read.stdout(), "kept\n");
    assert_eq!(
        context.run(["remove", "web"]).success().stderr(),
        "Removed web\n"
    );
    context.assert_nothing_is_left();
}

#[test]
fn every_report_conforms_to_its_schema() {
    require!(requirement::userns());
    let context = TestContext::new();
    let json = |arguments: &[&str]| {
        context
            .run(arguments.iter().chain(&["--format", "json"]))
            .success()
            .json()
    };
    let created = json(&["create", "web"]);
    assert_conforms("ptest.environment", &created);
    assert_eq!(created["environment"]["name"], json!("web"));
    assert_eq!(created["environment"]["owner"], json!("detached"));
    for (command, state) in [
        ("activate", "active"),
        ("status", "active"),
        ("deactivate", "inactive"),
    ] {
        let report = json(&[command, "web"]);
        assert_conforms("ptest.environment", &report);
        assert_eq!(report["environment"]["state"], json!(state), "{command}");
    }
    let list = json(&["list"]);
    assert_conforms("ptest.environments", &list);
    assert_eq!(list["environments"][0]["id"], created["environment"]["id"]);
    let removed = json(&["remove", "web"]);
    assert_conforms("ptest.removed", &removed);
    assert_eq!(removed["removed"], json!(["web"]));
    assert_eq!(json(&["list"])["environments"], json!([]));
}

#[test]
fn list_shows_a_line_for_each() {
    require!(requirement::userns());
    let context = TestContext::new();
    let empty = context.run(["list"]).success();
    assert_eq!(
        (empty.stdout(), empty.stderr()),
        (String::new(), "there is no environment\n".to_owned())
    );
    context.run(["create", "web"]).success();
    context.run(["create", "db"]).success();
    let columns = context.run(["list"]).success().columns();
    let lines: Vec<&str> = columns.lines().collect();
    assert_eq!(lines[0], "NAME STATE PYTHON ENGINE OWNER PORTS CREATED");
    assert!(lines[1].starts_with("web created 3."), "{columns}");
    assert!(lines[2].starts_with("db created 3."), "{columns}");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let context = TestContext::new();
    let long = "a".repeat(300);
    for name in [
        "", "--help", "-x", "..", "../x", "a/b", "a b", "a\nb", &long,
    ] {
        let outcome = context.run(["create", "--", name]);
        assert_eq!(outcome.code(), Some(125), "{name:?}\n{outcome}");
        assert!(
            outcome.stderr().contains("hint: use letters"),
            "{name:?}\n{outcome}"
        );
    }
    assert!(!context.path("store").exists());
}

#[test]
fn a_name_that_is_not_utf8_is_refused() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let context = TestContext::new();
    let name = OsStr::from_bytes(b"a\xff");
    for arguments in [
        [OsStr::new("create"), name],
        [OsStr::new("status"), name],
        [OsStr::new("remove"), name],
    ] {
        assert_eq!(context.run(arguments).code(), Some(125), "{arguments:?}");
    }
}

#[test]
fn the_id_of_an_environment_is_no_name_for_another() {
    require!(requirement::userns());
    let context = TestContext::new();
    let made = context
        .run(["create", "web", "--format", "json"])
        .success()
        .json();
    let id = made["environment"]["id"].as_str().unwrap();
    context.assert_refused(&["create", id], 125, "is the id of an environment");
}

#[test]
fn the_python_that_is_configured_is_the_one_that_doctor_looks_for() {
    let mut context = TestContext::new();
    context.set("PTEST_PYTHON", "3.99");
    let outcome = context.run(["doctor", "--format", "json"]);
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let report = outcome.json();
    let findings = report["findings"].as_array().unwrap();
    let python = findings.iter().find(|it| it["name"] == "python").unwrap();
    assert_eq!(python["state"], "missing", "{python:#}");
}

#[test]
fn a_taken_name_is_refused_and_the_first_environment_stays() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.run(["create", "web"]).success();
    context
        .run(["exec", "web", "sh", "-c", "echo first > $VIRTUAL_ENV/note"])
        .success();
    assert_snapshot!(context.run(["create", "web"]), @r"
    exit: 125
    ----- stdout -----

    ----- stderr -----
    error: an environment named `web` exists
    hint: choose another name, or `ptest remove web` first
    ");
    let read = context
        .run(["exec", "web", "sh", "-c", "cat $VIRTUAL_ENV/note"])
        .success();
    assert_eq!(read.stdout(), "first\n");
    context.run(["remove", "web"]).success();
}

#[test]
fn what_is_not_there_is_said_in_both_forms() {
    let context = TestContext::new();
    for command in ["status", "activate", "deactivate", "packages", "verify"] {
        let outcome = context.run([command, "web"]);
        assert_eq!(outcome.code(), Some(125), "{command}\n{outcome}");
        assert!(
            outcome
                .stderr()
                .starts_with("error: there is no environment `web`\n"),
            "{command}\n{outcome}"
        );
        let report = context.run([command, "web", "--format", "json"]);
        assert_conforms("ptest.error", &report.json());
        assert_eq!(
            report.json()["error"]["kind"],
            json!("not_found"),
            "{command}"
        );
        assert_eq!(report.code(), Some(125));
    }
    let exec = context.run(["exec", "web", "true"]);
    assert_eq!((exec.code(), exec.stdout()), (Some(125), String::new()));
    assert_eq!(context.run(["shell", "web"]).code(), Some(125));
}

#[test]
fn a_slip_in_a_name_is_hinted_at() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.run(["create", "webserver"]).success();
    let outcome = context.run(["status", "websrver"]);
    assert!(
        outcome
            .stderr()
            .ends_with("hint: did you mean `webserver`?\n"),
        "{outcome}"
    );
}

#[test]
fn remove_reports_each_and_one_that_fails_does_not_keep_the_others() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.run(["create", "web"]).success();
    context.run(["create", "db"]).success();
    let outcome = context.run(["remove", "web", "nothing", "db", "--format", "json"]);
    assert_eq!(outcome.code(), Some(125));
    let report = outcome.json();
    assert_conforms("ptest.removed", &report);
    assert_eq!(report["removed"], json!(["web", "db"]));
    assert_eq!(report["failed"][0]["environment"], json!("nothing"));
    context.assert_nothing_is_left();
}

#[test]
fn remove_all_takes_every_environment() {
    require!(requirement::userns());
    let context = TestContext::new();
    assert_eq!(
        context.run(["remove", "--all"]).success().stderr(),
        "there is no environment\n"
    );
    context.run(["create", "web"]).success();
    context.run(["create", "db"]).success();
    context.run(["activate", "db"]).success();
    assert_eq!(
        context.run(["remove", "--all"]).success().stderr(),
        "Removed web\nRemoved db\n"
    );
    context.assert_nothing_is_left();
    assert_eq!(context.run(["remove"]).code(), Some(2));
    assert_eq!(context.run(["remove", "--all", "web"]).code(), Some(2));
}

#[test]
fn an_environment_is_found_by_its_id_too() {
    require!(requirement::userns());
    let context = TestContext::new();
    let report = context
        .run(["create", "web", "--format", "json"])
        .success()
        .json();
    let id = report["environment"]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        context
            .run(["status", &id, "--format", "json"])
            .success()
            .json()["environment"]["name"],
        json!("web")
    );
    context.run(["remove", &id]).success();
}

#[test]
fn exec_passes_code_streams_and_timeouts() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.run(["create", "web"]).success();
    let outcome = context.run_with_input(
        [
            "exec",
            "web",
            "--env",
            "A=b",
            "--",
            "sh",
            "-c",
            "cat; echo $A; exit 5",
        ],
        b"in\n",
    );
    assert_eq!(
        (outcome.code(), outcome.stdout()),
        (Some(5), "in\nb\n".to_owned()),
        "{outcome}"
    );
    let late = context.run([
        "exec",
        "web",
        "--timeout=200ms",
        "--grace=100ms",
        "sleep",
        "3600",
    ]);
    assert_eq!(late.code(), Some(124), "{late}");
    assert_eq!(
        context.run(["exec", "web", "no-such-program"]).code(),
        Some(127)
    );
    context.run(["remove", "web"]).success();
}

#[test]
fn variables_of_create_are_there_for_every_command() {
    require!(requirement::userns());
    let context = TestContext::new();
    context
        .run(["create", "web", "--env", "A=kept", "--env", "B=kept"])
        .success();
    let outcome = context
        .run([
            "exec",
            "web",
            "--env",
            "B=own",
            "--",
            "sh",
            "-c",
            "echo $A $B",
        ])
        .success();
    assert_eq!(outcome.stdout(), "kept own\n");
    context.run(["remove", "web"]).success();
}

#[test]
fn shell_runs_the_users_shell() {
    require!(requirement::userns());
    let mut context = TestContext::new();
    context.set("SHELL", "/bin/sh");
    context.run(["create", "web"]).success();
    let outcome = context.run_with_input(["shell", "web"], b"echo $VIRTUAL_ENV; exit 3\n");
    assert_eq!(
        (outcome.code(), outcome.stdout()),
        (Some(3), "/ptest/env\n".to_owned()),
        "{outcome}"
    );
    context.run(["remove", "web"]).success();
}

fn state(context: &TestContext) -> String {
    let report = context
        .run(["status", "web", "--format", "json"])
        .success()
        .json();
    report["environment"]["state"].as_str().unwrap().to_owned()
}
