//! `ptest events`: what happened, in text and JSON, and what happens in other processes.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::context::TestContext;

#[test]
fn what_happened_is_shown_in_order() {
    let context = TestContext::new();
    let _made = context.run(["create", "web", "--no-pip"]).success();
    let _removed = context.run(["remove", "web"]).success();
    let text = context.run(["events", "web"]).success().stdout();
    let kinds: Vec<&str> = text
        .lines()
        .map(|line| line.split_whitespace().nth(3).unwrap())
        .collect();
    assert_eq!(kinds, ["creating", "created", "removing", "removed"]);
    assert!(text.contains(r#"{"cause":"asked"}"#), "{text}");
    let report = context
        .run(["events", "--kind", "created", "--format", "json"])
        .success()
        .json();
    let events = report["events"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["label"], "web");
    assert_eq!(events[0]["version"], 1);
}

#[test]
fn events_of_a_users_own_are_recorded_and_refused_with_a_reason() {
    let context = TestContext::new();
    let data = r#"{"to":"staging"}"#;
    let report = context
        .run([
            "events", "emit", "deployed", "--data", data, "--format", "json",
        ])
        .success()
        .json();
    assert_eq!(report["event"]["payload"]["data"]["to"], "staging");
    context.assert_refused(&["events", "emit", "x", "--for", "nobody"], 125, "nobody");
    context.assert_refused(&["events", "emit", "x", "--data", "staging"], 2, "quotes");
    let none = context.run(["events", "nobody"]).success();
    assert_eq!(none.stdout(), "");
    assert!(none.stderr().contains("nothing"));
}

#[test]
fn who_follows_is_told_of_what_another_process_does() {
    let context = TestContext::new();
    let _emitted = context.run(["events", "emit", "past"]).success();
    let mut command = context.command(["events", "--follow", "--format", "json", "--last", "1"]);
    let mut following = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    // Said once it follows.
    assert_eq!(next()["event"]["payload"]["name"], "past");
    let _made = context.run(["create", "web", "--no-pip"]).success();
    for kind in ["creating", "created"] {
        let event = next();
        assert_eq!(event["event"]["kind"], kind);
        assert_eq!(event["schema"]["name"], "ptest.event");
    }
    following.kill().unwrap();
    following.wait().unwrap();
    let _removed = context.run(["remove", "web"]).success();
}
