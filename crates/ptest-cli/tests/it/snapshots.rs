//! `snapshot`, `fork` and `create --from`.

use ptest_testkit::{require, requirement};
use serde_json::json;

use crate::{context::TestContext, packages::with_index, reference::assert_conforms};

/// A user with an environment `web` in which a command has written.
fn user() -> TestContext {
    let context = with_index();
    let create = ["create", "web", "--no-pip", "--with", "alpha==1.0"];
    context.run(create).success();
    write(&context, "web", "echo 1 > note");
    context
}

fn write(context: &TestContext, environment: &str, script: &str) {
    let script = format!("cd \"$VIRTUAL_ENV\" && {script}");
    context
        .run(["exec", environment, "--", "sh", "-euc", &script])
        .success();
}

#[test]
fn what_was_kept_can_be_gone_back_to_and_differences_are_shown() {
    require!(requirement::userns());
    let context = user();
    let kept = context.run(["snapshot", "create", "web"]).success();
    assert_eq!(kept.stderr(), "Kept web as web-1\n");
    context.run(["install", "web", "alpha==2.0"]).success();
    write(&context, "web", "echo 123 > note; printf x > \"a\nb\"");
    let differs = context
        .run(["snapshot", "diff", "web-1", "web"])
        .success()
        .stdout();
    let lines: Vec<&str> = differs.lines().collect();
    assert_eq!(lines[..2], ["~ alpha 1.0 -> 2.0", ""], "{differs}");
    for line in ["+ a\\nb 1 B", "~ note 2 B -> 4 B"] {
        assert!(lines.contains(&line), "{differs}");
    }
    assert!(differs.contains("- lib/"), "{differs}");

    let restored = context
        .run(["snapshot", "restore", "web", "web-1"])
        .success();
    assert_eq!(restored.stderr(), "Restored web to web-1\n");
    write(&context, "web", "test \"$(cat note)\" = 1");
    let code = "import alpha; assert alpha.version == '1.0'";
    context
        .run(["exec", "web", "python", "-Bc", code])
        .success();
    let same = context.run(["snapshot", "diff", "web-1", "web"]).success();
    let expected = (String::new(), "web-1 and web are the same\n".to_owned());
    assert_eq!((same.stdout(), same.stderr()), expected);

    let list = context.run(["snapshot", "list"]).success().columns();
    assert!(
        list.starts_with("NAME OF PYTHON BY CREATED\nweb-1 web 3."),
        "{list}"
    );
    context.run(["snapshot", "remove", "web-1"]).success();
    let list = context.run(["snapshot", "list"]).success();
    assert_eq!(list.stderr(), "there is no snapshot\n");
    context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn environments_are_made_of_a_snapshot_and_of_an_environment() {
    require!(requirement::userns());
    let mut context = user();
    context.run(["snapshot", "create", "web", "kept"]).success();
    context.run(["remove", "web"]).success();
    // What is there needs no index.
    context.set("PIP_FIND_LINKS", "/nowhere");
    let made = context
        .run(["fork", "kept", "many", "--count", "2"])
        .success();
    assert!(
        made.stderr().starts_with("Made 2 environments of kept in "),
        "{made}"
    );
    context.run(["fork", "many-1", "other"]).success();
    context
        .run(["create", "new", "--from", "kept", "--env", "WORD=hello"])
        .success();
    for name in ["many-1", "many-2", "other", "new"] {
        write(
            &context,
            name,
            "test \"$(cat note)\" = 1; python -c 'import alpha'",
        );
    }
    write(&context, "new", "test \"$WORD\" = hello");
    context.run(["remove", "--all"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn what_is_not_there_or_taken_or_contradictory_is_refused_with_what_to_do() {
    let context = with_index();
    let create = |name| ["create", name, "--no-pip", "--profile", "none"];
    context.run(create("web")).success();
    context.run(["snapshot", "create", "web", "kept"]).success();
    let refused = |arguments: &[&str], code, said| context.assert_refused(arguments, code, said);
    refused(&["fork", "webb", "new"], 125, "did you mean `web`?");
    refused(
        &["snapshot", "restore", "web", "kep"],
        125,
        "did you mean `kept`?",
    );
    refused(
        &["snapshot", "diff", "web", "no"],
        125,
        "no environment or snapshot `no`",
    );
    refused(
        &["snapshot", "create", "web", "kept"],
        125,
        "`ptest snapshot remove kept` first",
    );
    refused(
        &["fork", "web", "kept"],
        125,
        "a snapshot named `kept` exists",
    );
    refused(&create("kept"), 125, "a snapshot named `kept` exists");
    refused(&["fork", "web", "a/b"], 125, "cannot be a name");
    refused(&["fork", "web", "new", "--count", "0"], 2, "--count");
    refused(
        &["create", "new", "--from", "kept", "--with", "alpha"],
        2,
        "--with",
    );
    refused(
        &["create", "new", "--from", "kept", "--python", "3"],
        2,
        "--python",
    );
    refused(
        &["snapshot", "remove", "no", "kept"],
        125,
        "there is no snapshot `no`",
    );
    let list = context.run(["snapshot", "list"]).success();
    assert_eq!(list.stderr(), "there is no snapshot\n");
    context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn reports_are_as_their_schemas_say() {
    let context = with_index();
    let json = |arguments: &[&str]| {
        let arguments = arguments.iter().chain(&["--format", "json"]);
        context.run(arguments).success().json()
    };
    let create = [
        "create",
        "web",
        "--no-pip",
        "--with",
        "alpha",
        "--profile",
        "none",
    ];
    context.run(create).success();
    write(&context, "web", "mkfifo pipe; echo 1 > note");
    let created = json(&["snapshot", "create", "web"]);
    assert_conforms("ptest.snapshot", &created);
    assert_eq!(created["snapshot"]["name"], "web-1");
    assert_eq!(created["left_out"], json!(["pipe is left out: a FIFO"]));
    let distributions = created["snapshot"]["distributions"].as_array().unwrap();
    let alpha = &distributions[0];
    assert_eq!(
        (&alpha["name"], &alpha["version"]),
        (&json!("alpha"), &json!("2.0"))
    );
    assert_eq!(alpha["sha256"].as_str().unwrap().len(), 64);
    let found_at = alpha["found_at"].as_str().unwrap();
    assert!(
        found_at.ends_with("/index/alpha-2.0-py3-none-any.whl"),
        "{found_at}"
    );
    let list = json(&["snapshot", "list"]);
    assert_conforms("ptest.snapshots", &list);
    assert_eq!(list["snapshots"], json!([created["snapshot"]]));

    write(&context, "web", "echo 12 > note; echo > new");
    let difference = json(&["snapshot", "diff", "web-1", "web"]);
    assert_conforms("ptest.difference", &difference);
    let files = json!([
        {"path": "new", "change": "added", "before_bytes": null, "after_bytes": 1},
        {"path": "note", "change": "changed", "before_bytes": 2, "after_bytes": 3},
    ]);
    assert_eq!(difference["files"], files);
    assert_eq!(difference["packages"], json!([]));
    let restored = json(&["snapshot", "restore", "web", "web-1"]);
    assert_conforms("ptest.restored", &restored);
    let forked = json(&["fork", "web", "new", "--count", "2"]);
    assert_conforms("ptest.environments", &forked);
    assert_eq!(forked["environments"][1]["name"], "new-2");
    let from = json(&["create", "from", "--from", "web-1"]);
    assert_conforms("ptest.environment", &from);

    let outcome = context.run(["snapshot", "remove", "web-1", "no", "--format", "json"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert_conforms("ptest.removed_snapshots", &outcome.json());
    assert_eq!(outcome.json()["removed"], json!(["web-1"]));
    let missing = context.run(["fork", "no", "new-3", "--format", "json"]);
    assert_conforms("ptest.error", &missing.json());
    context.run(["remove", "--all"]).success();
    context.assert_nothing_is_left();
}
