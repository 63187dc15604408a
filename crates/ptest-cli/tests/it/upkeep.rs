//! What keeps a store in order: recover, prune, environments with an end, and how much there may be.

use crate::context::{TestContext, wait_until};

#[test]
fn recover_says_what_it_put_right() {
    let context = TestContext::new();
    let nothing = context.run(["recover"]).success();
    assert_eq!(nothing.stdout(), "");
    assert!(nothing.stderr().contains("nothing"), "{nothing}");
    let _made = context
        .run(["create", "short", "--no-pip", "--ttl", "1ms"])
        .success();
    let mut removed = Vec::new();
    wait_until("its time is over", || {
        let report = context
            .run(["recover", "--format", "json"])
            .success()
            .json();
        removed = report["removed"].as_array().unwrap().clone();
        !removed.is_empty()
    });
    assert_eq!(removed.len(), 1);
    context.assert_nothing_is_left();
}

#[test]
fn status_says_when_an_environment_ends() {
    let context = TestContext::new();
    let _made = context
        .run(["create", "web", "--no-pip", "--ttl", "1h", "--idle", "30m"])
        .success();
    let report = context
        .run(["status", "web", "--format", "json"])
        .success()
        .json();
    let environment = &report["environment"];
    assert!(environment["ends_at"].as_str() > environment["created_at"].as_str());
    assert!(environment["last_failure"].is_null());
    context.assert_refused(&["create", "bad", "--ttl", "0s"], 2, "zero");
    let _removed = context.run(["remove", "web"]).success();
}

#[test]
fn status_says_what_failed_last() {
    let context = TestContext::new();
    let _made = context.run(["create", "web", "--no-pip"]).success();
    context.write("project/broken-1.0-py3-none-any.whl", "no archive");
    let broken = ["install", "web", "./broken-1.0-py3-none-any.whl"];
    assert_eq!(context.run(broken).code(), Some(125));
    let report = context
        .run(["status", "web", "--format", "json"])
        .success()
        .json();
    let failure = &report["environment"]["last_failure"];
    assert_eq!(failure["operation"], "install");
    let text = context.run(["status", "web"]).success().stdout();
    assert!(text.contains("failed:    install at "), "{text}");
    let _removed = context.run(["remove", "web"]).success();
}

#[test]
fn prune_takes_what_nobody_used_and_shows_it_before() {
    let context = TestContext::new();
    for name in ["old", "busy"] {
        let _made = context.run(["create", name, "--no-pip"]).success();
    }
    let _active = context.run(["activate", "busy"]).success();
    let young = context.run(["prune"]).success();
    assert!(young.stderr().contains("no environment"), "{young}");
    let args = ["prune", "--older-than", "0s"];
    let shown = context.run([&args[..], &["--dry-run"]].concat()).success();
    assert!(shown.stderr().contains("Would remove old"), "{shown}");
    let report = context
        .run([&args[..], &["--format", "json"]].concat())
        .success()
        .json();
    assert_eq!(report["removed"], serde_json::json!(["old"]));
    let _removed = context.run(["remove", "busy"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn more_than_there_may_be_is_refused_with_what_to_do() {
    let mut context = TestContext::new();
    context.set("PTEST_MAX_ENVIRONMENTS", "1");
    let _made = context.run(["create", "one", "--no-pip"]).success();
    context.assert_refused(&["create", "two", "--no-pip"], 125, "--wait");
    let report = context.run(["create", "two", "--no-pip", "--format", "json"]);
    assert_eq!(report.json()["error"]["kind"], "no_room");
    context.assert_refused(
        &["create", "two", "--no-pip", "--wait", "10ms"],
        125,
        "1 is the most",
    );
    let _removed = context.run(["remove", "one"]).success();
    let _made = context.run(["create", "two", "--no-pip"]).success();
    let _removed = context.run(["remove", "two"]).success();
}
