//! Hooks as a user has them: in a file of theirs, or in one that is applied.

use std::{ffi::OsStr, fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};

use crate::{
    context::{PTEST, TestContext, wait_until},
    reference::assert_conforms,
};

fn user_file(context: &TestContext, text: &str) {
    context.write("home/.config/ptest/config.toml", text);
}

fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A program that adds a line to the file `told`, and then does something more.
fn script(context: &TestContext, more: &str) -> String {
    let told = context.path("told");
    let text = format!(
        "#!/bin/sh\necho \"$PTEST_EVENT $PTEST_ENVIRONMENT\" >> '{}'\n{more}\n",
        told.display()
    );
    context.write("hook.sh", &text);
    let path = context.path("hook.sh");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Waits until nothing of the store runs any more.
fn wait_for_servers(context: &TestContext) {
    let store = context.path("store");
    let is_one = |words: &[u8]| {
        let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
        words.contains(&&b"hooks"[..]) && words.contains(&store.as_os_str().as_encoded_bytes())
    };
    wait_until("the hooks' server ends", || {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let mut lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        !lines.any(|words| is_one(&words))
    });
}

fn told(context: &TestContext, count: usize) -> Vec<String> {
    let file = context.path("told");
    wait_until("hooks are called", || lines(&file).len() >= count);
    wait_for_servers(context);
    lines(&file)
}

#[test]
fn a_users_hook_is_called_beside_the_command_which_says_nothing_of_it() {
    let context = TestContext::new();
    let hook = script(&context, "");
    user_file(
        &context,
        &format!("[[hooks]]\nevents = ['created', 'removed']\ncommand = ['{hook}']\n"),
    );
    let made = context.run(["create", "web", "--no-pip"]).success();
    assert!(!made.stderr().contains("hook"), "{made}");
    let _removed = context.run(["remove", "web"]).success();
    assert_eq!(told(&context, 2), ["created web", "removed web"]);

    let text = context.run(["hooks"]).success();
    assert!(text.stdout().contains("created, removed"), "{text}");
    let report = context.run(["hooks", "--format", "json"]).success().json();
    assert_conforms("ptest.hooks", &report);
    let status = &report["hooks"][0];
    assert_eq!(status["command"], json!([hook]));
    assert_eq!(status["timeout_seconds"], 10.0);
    assert_eq!(
        (&status["waiting"], &status["source"]),
        (&json!(0), &Value::Null)
    );
    wait_for_servers(&context);
}

#[test]
fn without_hooks_nothing_is_called_and_nothing_runs_on() {
    let context = TestContext::new();
    let none = context.run(["hooks"]).success();
    assert_eq!(none.stdout(), "");
    assert!(none.stderr().contains("nothing is called"), "{none}");
    let report = context
        .run(["hooks", "serve", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.served", &report);
    assert_eq!(
        (&report["called"], &report["failed"]),
        (&json!(0), &json!(0))
    );
    context.assert_refused(&["hooks", "list"], 2, "unrecognized");
}

#[test]
fn a_hook_that_uses_ptest_itself_does_not_call_itself() {
    let context = TestContext::new();
    let hook = script(
        &context,
        &format!("'{PTEST}' create --no-pip inner && '{PTEST}' remove inner"),
    );
    user_file(
        &context,
        &format!("[[hooks]]\nevents = ['*']\ncommand = ['{hook}']\n"),
    );
    let emitted = context
        .run(["events", "emit", "go", "--format", "json"])
        .success()
        .json();
    assert_eq!(told(&context, 1), ["go "]);
    let report = context
        .run(["events", "inner", "--format", "json"])
        .success()
        .json();
    let events = report["events"].as_array().unwrap();
    assert_eq!(events.len(), 4);
    for event in events {
        assert_eq!(event["caused_by"], emitted["event"]["sequence"]);
    }
    wait_for_servers(&context);
    assert_eq!(lines(&context.path("told")), ["go "]);
}

#[test]
fn a_hook_that_takes_itself_away_is_called_no_more() {
    let context = TestContext::new();
    let file = context.path("home/.config/ptest/config.toml");
    let hook = script(&context, &format!("rm '{}'", file.display()));
    user_file(
        &context,
        &format!("[[hooks]]\nevents = ['*']\ncommand = ['{hook}']\n"),
    );
    let _one = context.run(["events", "emit", "one"]).success();
    assert_eq!(told(&context, 1), ["one "]);
    let _two = context.run(["events", "emit", "two"]).success();
    assert_eq!(told(&context, 1), ["one "]);
    let none = context.run(["hooks"]).success();
    assert!(none.stderr().contains("nothing is called"), "{none}");
}

#[test]
fn a_hook_that_fails_or_hangs_harms_no_command_and_is_told_of() {
    let context = TestContext::new();
    user_file(
        &context,
        "[[hooks]]\nevents = ['created']\ncommand = ['sh', '-c', 'echo too bad >&2; exit 1']\n\
         [[hooks]]\nevents = ['created']\ncommand = ['sleep', '1000']\ntimeout = '100ms'\n",
    );
    let _made = context.run(["create", "web", "--no-pip"]).success();
    let failures = || {
        let report = context
            .run(["events", "--kind", "hook_failed", "--format", "json"])
            .success()
            .json();
        report["events"].as_array().unwrap().clone()
    };
    wait_until("both failures are told of", || failures().len() == 2);
    let messages: Vec<String> = failures()
        .iter()
        .map(|event| event["payload"]["message"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        messages.iter().any(|it| it.contains("too bad")),
        "{messages:?}"
    );
    assert!(
        messages
            .iter()
            .any(|it| it.contains("did not end within 100ms")),
        "{messages:?}"
    );
    wait_for_servers(&context);
}

#[test]
fn a_project_cannot_have_hooks() {
    let context = TestContext::new();
    let hook = script(&context, "");
    let text = format!("[[hooks]]\nevents = ['*']\ncommand = ['{hook}']\n");
    context.write("project/ptest.toml", &text);
    let emitted = context.run(["events", "emit", "one"]).success();
    assert!(
        emitted.stderr().contains("`hooks` of") && emitted.stderr().contains("does not count"),
        "{emitted}"
    );
    let none = context.run(["hooks"]).success();
    assert!(none.stderr().contains("nothing is called"), "{none}");
    assert_eq!(lines(&context.path("told")), [""; 0]);
}

#[test]
fn hooks_of_a_file_are_for_what_it_declares_for_as_long_as_it_names_them() {
    let context = TestContext::new();
    let hook = script(&context, "");
    let file = |hooks: &str| {
        let text =
            format!("{hooks}\n[environment.web]\npip = false\n[environment.db]\npip = false\n");
        context.write("project/environments.toml", &text);
    };
    file(&format!(
        "hooks = [{{ events = ['created', 'removed'], command = ['{hook}'] }}]"
    ));
    let apply = |more: &[&str]| {
        let arguments = ["apply", "environments.toml"].iter().chain(more);
        context.run(arguments.map(OsStr::new)).success()
    };
    let plan = apply(&["--plan"]);
    assert!(plan.stdout().contains("created, removed calls "), "{plan}");
    assert_eq!(lines(&context.path("told")), [""; 0]);
    let report = apply(&["--format", "json"]).json();
    assert_conforms("ptest.applied", &report);
    assert_eq!(report["hooks"][0]["action"], "create");
    assert_eq!(report["hooks"][0]["environments"], json!(["web", "db"]));
    let mut first = told(&context, 2);
    first.sort();
    assert_eq!(first, ["created db", "created web"]);

    let _other = context.run(["create", "other", "--no-pip"]).success();
    let _removed = context.run(["remove", "db"]).success();
    assert_eq!(told(&context, 3)[2..], ["removed db"]);

    file("");
    let applied = apply(&[]);
    assert!(applied.stderr().contains("Unhooked "), "{applied}");
    let _removed = context.run(["remove", "web"]).success();
    wait_for_servers(&context);
    assert_eq!(lines(&context.path("told")).len(), 3);
}

#[test]
fn a_hook_of_a_file_for_what_the_file_does_not_declare_is_refused() {
    let context = TestContext::new();
    context.write(
        "project/environments.toml",
        "[environment.web]\n[[hooks]]\nevents = ['*']\nenvironments = ['db']\ncommand = ['true']\n",
    );
    context.assert_refused(
        &["apply", "environments.toml"],
        125,
        "one for `db`, which the file does not declare",
    );
}
