//! What the options of isolation do: profiles, networks, sockets, scratch, limits, and going on with less.

use std::{
    fs,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::Command,
};

use ptest_testkit::{require, requirement};
use serde_json::json;

use crate::{
    context::{TestContext, wait_until},
    reference::assert_conforms,
};

#[test]
fn untrusted_code_sees_the_project_and_not_the_home() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    context.write("home/secret", "secret");
    context.write("project/given", "given");
    let secret = context.path("home/secret");
    let secret = secret.to_str().unwrap();
    let see = |profile: &str, words: &[&str]| {
        let mut arguments = vec!["run", "--profile", profile, "--"];
        arguments.extend(words);
        context.run(arguments)
    };
    assert_eq!(
        see("standard", &["cat", secret]).success().stdout(),
        "secret"
    );
    assert_ne!(see("strict", &["cat", secret]).code(), Some(0));
    assert_eq!(see("strict", &["cat", "given"]).success().stdout(), "given");
    see("strict", &["sh", "-c", "echo new > written"]).success();
    assert_eq!(
        fs::read_to_string(context.path("project/written")).unwrap(),
        "new\n"
    );
    context.assert_nothing_is_left();
}

#[test]
fn status_says_network_and_limits_that_hold() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    context
        .run(["create", "web", "--profile", "strict", "--memory", "1G"])
        .success();
    context.run(["activate", "web"]).success();
    let report = context
        .run(["status", "web", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.environment", &report);
    let environment = &report["environment"];
    assert_eq!(environment["network"], "private");
    let limit = |name: &str| {
        let limits = environment["limits"].as_array().unwrap();
        limits
            .iter()
            .find(|limit| limit["limit"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(limit("memory")["value"], 1 << 30);
    // Not asked for, but this profile always has them.
    for (name, strength) in [("open-files", "enforced"), ("disk", "watched")] {
        assert_eq!(limit(name)["strength"], strength);
    }
    assert_eq!(limit("pids")["value"], 1024);
    let text = context.run(["status", "web"]).success().columns();
    assert!(
        text.contains("limit: open-files 4096 (enforced)\n"),
        "{text}"
    );
    context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn a_limit_that_strikes_is_named_with_what_was_reached() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    let hungry = "x = bytearray(300 << 20); print('survived')";
    let outcome = context.run(["run", "--memory", "100M", "--", "python", "-c", hungry]);
    assert_eq!(outcome.code(), Some(137), "{outcome}");
    assert_eq!(outcome.stdout(), "");
    let said = outcome.stderr();
    assert!(
        said.contains("error: the limit `memory` of 100 MiB ended the command, which reached "),
        "{said}"
    );
    let endless = "while True: pass";
    let outcome = context.run(["run", "--cpu-time", "200ms", "--", "python", "-c", endless]);
    assert_eq!(outcome.code(), Some(137), "{outcome}");
    assert!(
        outcome.stderr().contains("the limit `cpu-time` of 200ms"),
        "{outcome}"
    );
    for (option, value) in [
        ("--memory", "0"),
        ("--cpus", "none"),
        ("--disk", "much"),
        ("--cpu-time", "0"),
    ] {
        context.assert_refused(&["run", option, value, "--", "true"], 2, option);
    }
    context.assert_nothing_is_left();
}

#[test]
fn what_is_written_under_scratch_is_listed_and_leaves_the_project_as_it_was() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    context.write("project/changed", "before");
    context.write("project/removed", "before");
    context.run(["create", "web", "--scratch"]).success();
    let script =
        "echo after > changed; rm removed; mkdir -p deep; echo > deep/added; cat changed; ls";
    let seen = context
        .run(["exec", "web", "--", "sh", "-c", script])
        .success();
    assert_eq!(seen.stdout(), "after\nchanged\ndeep\npyproject.toml\n");
    assert_eq!(
        fs::read_to_string(context.path("project/changed")).unwrap(),
        "before"
    );
    assert!(context.path("project/removed").exists());
    assert!(!context.path("project/deep").exists());
    // The next command sees what the one before did.
    let again = context
        .run(["exec", "web", "--", "cat", "changed"])
        .success();
    assert_eq!(again.stdout(), "after\n");

    let project = context.project().display().to_string();
    let listed = context.run(["diff", "web"]).success().stdout();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    assert!(
        listed.contains("/project/deep/added\n") && lines[1].starts_with("+ "),
        "{listed}"
    );
    let report = context
        .run(["diff", "web", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.scratch", &report);
    let removed = json!({"path": format!("{project}/removed"), "change": "removed"});
    assert!(
        report["changes"].as_array().unwrap().contains(&removed),
        "{report}"
    );
    context.run(["remove", "web"]).success();

    context.run(["create", "plain"]).success();
    context.assert_refused(&["diff", "plain"], 2, "--scratch");
    context.assert_refused(&["diff", "absent"], 125, "absent");
    context.run(["remove", "plain"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn a_socket_that_is_named_can_be_connected_to_and_nothing_else_is_one() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    let place = tempfile::tempdir_in("/tmp").unwrap();
    let socket = place.path().join("agent");
    let _listener = UnixListener::bind(&socket).unwrap();
    let socket = socket.to_str().unwrap();
    let connect = format!("import socket; socket.socket(socket.AF_UNIX).connect({socket:?})");
    let run = |options: &[&str]| {
        let mut arguments = vec!["run"];
        arguments.extend(options);
        arguments.extend(["--", "python", "-c", &connect]);
        context.run(arguments)
    };
    assert_eq!(run(&[]).code(), Some(1));
    run(&["--bind-socket", socket]).success();
    run(&["--bind-socket", socket, "--profile", "strict"]).success();
    let file = context.path("project/pyproject.toml");
    let file = file.to_str().unwrap();
    context.assert_refused(
        &["run", "--bind-socket", file, "--", "true"],
        125,
        "is no socket",
    );
    context.assert_nothing_is_left();
}

#[test]
fn what_is_not_to_be_had_is_an_error_or_with_degrade_a_warning() {
    let context = TestContext::new();
    let isolated = [
        "run",
        "--profile",
        "none",
        "--network",
        "none",
        "--",
        "true",
    ];
    context.assert_refused(&isolated, 125, "the network `none` is not to be had");
    let degrade = [&["run", "--degrade"], &isolated[1..]].concat();
    let outcome = context.run(&degrade).success();
    assert!(
        outcome.stderr().contains("warning: the network `none`"),
        "{outcome}"
    );
    require!(requirement::userns());
    require!(requirement::overlay());
    let host = [
        "run",
        "--profile",
        "strict",
        "--network",
        "host",
        "--",
        "true",
    ];
    context.assert_refused(&host, 125, "does not have the machine's network");
    context.assert_nothing_is_left();
}

#[test]
fn a_ptest_inside_an_environment_works_or_says_what_it_goes_without() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    let program = crate::context::PTEST;
    for profile in ["standard", "strict"] {
        let words = [
            "run",
            "--profile",
            profile,
            "--read",
            program,
            "--",
            program,
            "run",
            "--",
            "python",
            "-c",
            "print(1)",
        ];
        let outcome = context.run(words).success();
        assert_eq!(outcome.stdout(), "1\n", "{outcome}");
        let is_whole = profile == "standard" && !is_root();
        assert_eq!(
            outcome.stderr().contains("nothing is isolated"),
            !is_whole,
            "{outcome}"
        );
    }
    context.assert_nothing_is_left();
}

fn is_root() -> bool {
    requirement::root().into_result().is_ok()
}

/// Killing commands frees no file; so the environment ends, and the next command has a new one.
#[test]
fn files_in_memory_that_fill_it_end_the_environment_and_it_can_be_used_again() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    context.run(["create", "web", "--memory", "64M"]).success();
    let fill = "head -c 200000000 /dev/zero > /tmp/file; sleep 100";
    let full = context.run(["exec", "web", "--", "sh", "-c", fill]);
    assert_eq!(full.code(), Some(137), "{full}");
    assert!(
        full.stderr().contains("the limit `memory` of 64.0 MiB"),
        "{full}"
    );
    let again = context.run([
        "exec",
        "web",
        "--",
        "sh",
        "-c",
        "ls /tmp | wc -l; head -c 9 /dev/zero > /tmp/x",
    ]);
    assert_eq!(again.success().stdout(), "0\n");
    context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();
}

/// The group of a memory hierarchy of version 1 that this process is in.
fn memory_group() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups
        .lines()
        .find_map(|line| line.split_once(":memory:"))?
        .1;
    let path = Path::new("/sys/fs/cgroup/memory").join(own.trim_start_matches('/'));
    path.is_dir().then_some(path)
}

/// Who comes after a ptest that was killed need not be in the group that the killed one was in.
#[test]
fn the_groups_of_a_killed_ptest_are_found_wherever_they_are() {
    require!(requirement::root());
    require!(requirement::userns());
    require!(requirement::overlay());
    let group = memory_group().ok_or("no memory groups of version 1".to_owned());
    let group = require!(requirement::Requirement::new("cgroup-v1", group));
    let context = TestContext::new();
    let elsewhere = group.join(format!("elsewhere-{}", std::process::id()));
    fs::create_dir(&elsewhere).unwrap();
    let made = || {
        let mut entries = fs::read_dir(&elsewhere).unwrap();
        entries.any(|entry| entry.unwrap().file_type().unwrap().is_dir())
    };
    let mut command = Command::new("sh");
    let enter = format!(
        "echo $$ > {}/cgroup.procs; exec \"$0\" \"$@\"",
        elsewhere.display()
    );
    command.args([
        "-c",
        &enter,
        crate::context::PTEST,
        "run",
        "--memory",
        "1G",
        "--",
        "sleep",
        "100",
    ]);
    let like = context.command::<&str>([]);
    command.env_clear().current_dir(context.project());
    command.envs(
        like.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let mut killed = command.spawn().unwrap();
    wait_until("its group is made", made);
    wait_until("it runs", || {
        let report = context.run(["list", "--format", "json"]).success().json();
        report["environments"][0]["usage"]["processes"] == 1
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    context.assert_nothing_is_left();
    assert!(!made());
    fs::remove_dir(elsewhere).unwrap();
}
