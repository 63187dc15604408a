//! `create --count` and `-l`: many environments at once.

use ptest_testkit::{require, requirement};
use serde_json::{Value, json};

use crate::{context::TestContext, reference::assert_conforms};

fn names(report: &Value) -> Vec<&str> {
    let environments = report["environments"].as_array().unwrap().iter();
    let mut names: Vec<_> = environments
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn so_many_are_made_and_found_by_their_label() {
    require!(requirement::userns());
    let context = TestContext::new();
    let json = |arguments: &[&str]| {
        let report = context.run(arguments.iter().chain(&["--format", "json"]));
        report.success().json()
    };
    let made = context.run(["create", "web", "--count", "3", "--label", "team=a"]);
    let said = made.success().stderr();
    assert!(
        said.starts_with("Created 3 environments, web-1 to web-3, with Python 3."),
        "{said}"
    );
    context.run(["create", "db", "--label", "team=b"]).success();
    let list = json(&["list", "-l", "team=a"]);
    assert_eq!(names(&list), ["web-1", "web-2", "web-3"]);
    assert_eq!(list["environments"][0]["labels"], json!({"team": "a"}));
    let nothing = context.run(["list", "-l", "team=c"]).success();
    assert_eq!(nothing.stderr(), "there is no such environment\n");

    for (command, state) in [
        ("activate", "active"),
        ("status", "active"),
        ("deactivate", "inactive"),
    ] {
        let report = json(&[command, "-l", "team=a"]);
        assert_conforms("ptest.bulk", &report);
        assert_eq!(names(&report), ["web-1", "web-2", "web-3"]);
        let environments = report["environments"].as_array().unwrap();
        assert!(
            environments.iter().all(|it| it["state"] == json!(state)),
            "{command}"
        );
    }
    let status = context.run(["status", "-l", "team"]).success().columns();
    assert_eq!(status.matches("labels: team=").count(), 4, "{status}");
    context
        .run(["fork", "db", "copy", "--label", "team=c"])
        .success();
    assert_eq!(names(&json(&["list", "-l", "team=c"])), ["copy"]);

    let removed = json(&["remove", "-l", "team=a"]);
    assert_conforms("ptest.removed", &removed);
    assert_eq!(removed["removed"].as_array().unwrap().len(), 3);
    assert_eq!(names(&json(&["list"])), ["copy", "db"]);
    context.run(["remove", "--all"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn one_that_cannot_be_made_is_named_and_the_others_are_there() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.run(["create", "web-2"]).success();
    let outcome = context.run(["create", "web", "--count", "3", "--format", "json"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    let report = outcome.json();
    assert_conforms("ptest.bulk", &report);
    assert_eq!(names(&report), ["web-1", "web-3"]);
    assert_eq!(report["failed"][0]["environment"], json!("web-2"));
    assert_eq!(
        report["failed"][0]["error"]["kind"],
        json!("already_exists")
    );
    assert!(
        outcome
            .stderr()
            .contains("an environment named `web-2` exists"),
        "{outcome}"
    );
}

#[test]
fn what_keeps_all_from_being_made_is_told_once_with_all_their_names() {
    let context = TestContext::new();
    let outcome = context.run([
        "create",
        "web",
        "--count",
        "3",
        "--python",
        "/nowhere/python",
    ]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    let said = outcome.stderr();
    assert_eq!(said.matches("error:").count(), 1, "{said}");
    assert!(said.contains("for each of: web-1, web-2, web-3"), "{said}");
    context.assert_nothing_is_left();
}

#[test]
fn what_is_no_label_or_selector_is_wrong_usage() {
    let context = TestContext::new();
    for arguments in [
        &["create", "web", "--label", "team"][..],
        &["create", "web", "--label", "-x=a"],
        &["list", "-l", "a,,b"],
        &["remove", "-l", "team=a", "web"],
        &["remove", "--all", "-l", "team=a"],
        &["activate"],
        &["status", "web", "-l", "team=a"],
        &["create", "web", "--count", "0"],
        &["create", "--materialize", "x", "--label", "a=b"],
    ] {
        let outcome = context.run(arguments);
        assert_eq!(outcome.code(), Some(2), "{arguments:?}\n{outcome}");
    }
}
