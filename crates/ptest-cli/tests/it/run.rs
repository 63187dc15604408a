//! `ptest run`: streams, codes, signals, and that nothing is left.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use insta::assert_snapshot;
use ptest_testkit::{require, requirement};

use crate::{
    context::{TestContext, wait_until},
    wheel,
};

#[test]
fn the_command_runs_in_an_environment_that_is_gone_afterwards() {
    require!(requirement::userns());
    let context = TestContext::new();
    let outcome = context
        .run(["run", "--", "python", "-c", "import sys; print(sys.prefix)"])
        .success();
    assert_eq!(outcome.stdout(), "/ptest/env\n");
    assert_eq!(outcome.stderr(), "");
    context.assert_nothing_is_left();
}

#[test]
fn the_exit_code_is_the_commands_own() {
    require!(requirement::userns());
    let context = TestContext::new();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 42", 42),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
    ] {
        let outcome = context.run(["run", "sh", "-c", script]);
        assert_eq!(outcome.code(), Some(code), "{script}\n{outcome}");
        assert_eq!(outcome.stderr(), "", "{script}");
    }
    context.assert_nothing_is_left();
}

#[test]
fn a_command_that_cannot_be_started_has_codes_of_its_own() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.write("project/data.txt", "not a program");
    let missing = context.run(["run", "no-such-program"]);
    assert_eq!(missing.code(), Some(127), "{missing}");
    assert!(missing.stderr().contains("no-such-program"), "{missing}");
    let not_executable = context.run(["run", "./data.txt"]);
    assert_eq!(not_executable.code(), Some(126), "{not_executable}");
    assert!(
        not_executable.stderr().contains("data.txt"),
        "{not_executable}"
    );
    context.assert_nothing_is_left();
}

#[test]
fn bytes_pass_as_they_are_in_both_directions() {
    require!(requirement::userns());
    let context = TestContext::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let outcome = context.run_with_input(["run", "cat"], &bytes).success();
    assert!(
        outcome.bytes() == bytes,
        "{} bytes came back",
        outcome.bytes().len()
    );
}

#[test]
fn the_commands_streams_stay_apart() {
    require!(requirement::userns());
    let context = TestContext::new();
    assert_snapshot!(context.run(["run", "sh", "-c", "echo data; echo people >&2; exit 3"]), @r"
    exit: 3
    ----- stdout -----
    data
    ----- stderr -----
    people
    ");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_as_it_would_without_ptest() {
    require!(requirement::userns());
    let context = TestContext::new();
    let mut child = context
        .command(["run", "yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let outcome = context.outcome(child.wait_with_output().unwrap());
    assert_eq!(
        (line.as_str(), outcome.code()),
        ("y\n", Some(141)),
        "{outcome}"
    );
}

#[test]
fn options_end_where_the_command_begins() {
    require!(requirement::userns());
    let context = TestContext::new();
    let outcome = context
        .run(["run", "echo", "-q", "--with", "--", "x"])
        .success();
    assert_eq!(outcome.stdout(), "-q --with -- x\n");
    let outcome = context
        .run(["run", "--env", "A=b", "--", "echo", "--env", "C=d"])
        .success();
    assert_eq!(outcome.stdout(), "--env C=d\n");
}

#[test]
fn the_callers_variables_reach_the_command_only_by_name() {
    require!(requirement::userns());
    let mut context = TestContext::new();
    context.write(
        "project/ptest.toml",
        "pass = ['FROM_FILE']\nenv = { SET = 'file', KEPT = 'file' }\n",
    );
    for name in [
        "PYTHONPATH",
        "PYTHONHOME",
        "PIP_TARGET",
        "VIRTUAL_ENV",
        "SECRET",
    ] {
        context.set(name, "/elsewhere");
    }
    context.set("FROM_FILE", "1");
    context.set("FROM_OPTION", "2");
    let script = r#"echo "$PYTHONPATH|$PYTHONHOME|$PIP_TARGET|$SECRET|$FROM_FILE|$FROM_OPTION|$SET|$KEPT|$ODD""#;
    let options = [
        "run",
        "--pass",
        "FROM_OPTION",
        "--env",
        "SET=option",
        "--env",
        "ODD=a=b c",
    ];
    let outcome = context
        .run(options.iter().chain(&["sh", "-c", script]))
        .success();
    assert_eq!(outcome.stdout(), "||||1|2|option|file|a=b c\n");
}

#[test]
fn a_malformed_variable_is_wrong_usage() {
    let context = TestContext::new();
    let outcome = context.run(["run", "--env", "NAME", "true"]);
    assert_eq!(outcome.code(), Some(2));
    assert!(outcome.stderr().contains("--pass NAME"), "{outcome}");
    assert_eq!(context.run(["run", "--env", "=x", "true"]).code(), Some(2));
}

#[test]
fn a_timeout_ends_the_command_and_keeps_what_it_said() {
    require!(requirement::userns());
    let context = TestContext::new();
    // The grandchild ignores SIGTERM and sits in a session of its own.
    let script = "echo partial; setsid sh -c 'trap \"\" TERM; sleep 3600' & sleep 3600";
    assert_snapshot!(context.run(["run", "--timeout", "300ms", "--grace", "100ms", "sh", "-c", script]), @r"
    exit: 124
    ----- stdout -----
    partial
    ----- stderr -----
    error: the command timed out after 300ms and was ended
    ");
    context.assert_nothing_is_left();
}

#[test]
fn a_timeout_of_zero_is_wrong_usage() {
    let context = TestContext::new();
    let outcome = context.run(["run", "--timeout", "0", "true"]);
    assert_eq!(outcome.code(), Some(2));
    assert!(
        outcome.stderr().contains("leave it out for no limit"),
        "{outcome}"
    );
}

#[test]
fn the_timeout_of_the_configuration_holds_too() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.write("project/ptest.toml", "timeout = '200ms'\ngrace = '1s'\n");
    assert_eq!(context.run(["run", "sleep", "3600"]).code(), Some(124));
    assert_eq!(
        context
            .run(["run", "--timeout", "1h", "sleep", "0.3"])
            .code(),
        Some(0)
    );
}

#[test]
fn without_a_command_nothing_is_made() {
    let context = TestContext::new();
    let outcome = context.run(["run", "--with", "x"]);
    assert_eq!(outcome.code(), Some(2));
    assert!(!context.path("store").exists());
}

#[test]
fn keep_leaves_the_environment_and_says_its_id() {
    require!(requirement::userns());
    let context = TestContext::new();
    let outcome = context
        .run(["run", "--keep", "sh", "-c", "echo kept > $VIRTUAL_ENV/note"])
        .success();
    let id = outcome
        .stderr()
        .trim()
        .strip_prefix("the environment is ")
        .unwrap()
        .to_owned();
    let read = context
        .run(["exec", &id, "sh", "-c", "cat $VIRTUAL_ENV/note"])
        .success();
    assert_eq!(read.stdout(), "kept\n");
    context.run(["remove", &id]).success();
    context.assert_nothing_is_left();
}

#[test]
fn the_project_is_writable_and_the_rest_of_the_machine_is_not() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.run(["run", "sh", "-c", "echo x > made"]).success();
    assert_eq!(
        fs::read_to_string(context.project().join("made")).unwrap(),
        "x\n"
    );
    let outside = context.path("outside");
    fs::create_dir(&outside).unwrap();
    let touch = [
        "touch".as_ref(),
        outside.join("f").into_os_string().leak() as &std::ffi::OsStr,
    ];
    assert_ne!(
        context.run(["run".as_ref()].iter().chain(&touch)).code(),
        Some(0)
    );
    let allowed = ["run".as_ref(), "--write".as_ref(), "../outside".as_ref()];
    context.run(allowed.iter().chain(&touch)).success();
    assert!(outside.join("f").exists());
}

#[test]
fn a_project_that_holds_the_store_is_seen_but_not_written() {
    require!(requirement::userns());
    let mut context = TestContext::new();
    // Below /tmp, which is private inside.
    let project = tempfile::tempdir().unwrap();
    fs::write(project.path().join("pyproject.toml"), "").unwrap();
    context.set("PTEST_HOME", project.path().join("store"));
    let mut command = context.command([
        "run",
        "sh",
        "-c",
        "ls; touch made 2>/dev/null || echo refused",
    ]);
    let outcome = context
        .outcome(command.current_dir(project.path()).output().unwrap())
        .success();
    assert!(outcome.stdout().contains("pyproject.toml\n"), "{outcome}");
    assert!(outcome.stdout().ends_with("refused\n"), "{outcome}");
    assert!(
        outcome
            .stderr()
            .contains("stays read-only, because it holds ptest's store"),
        "{outcome}"
    );
}

#[test]
fn a_deleted_working_directory_is_an_error_with_a_hint() {
    let context = TestContext::new();
    let gone = context.path("gone");
    fs::create_dir(&gone).unwrap();
    let script = format!("rmdir ../gone; exec '{}' run true", crate::context::PTEST);
    let output = context.command::<&str>([]);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).current_dir(&gone).env_clear();
    shell.envs(
        output
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    assert_snapshot!(context.outcome(shell.output().unwrap()), @r"
    exit: 125
    ----- stdout -----

    ----- stderr -----
    error: the working directory has been deleted
    hint: change to a directory that exists
    ");
}

#[test]
fn a_signal_is_the_commands_to_handle() {
    require!(requirement::userns());
    let context = TestContext::new();
    for (signal, name) in [(2, "INT"), (15, "TERM"), (10, "USR1")] {
        let script =
            format!("trap 'echo caught; exit 9' {name}; echo ready; while :; do sleep 0.05; done");
        let mut child = Started::new(&context, &["run", "sh", "-c", &script]);
        child.wait_for("ready");
        child.signal(signal);
        child.wait_for("caught");
        assert_eq!(child.end().code(), Some(9), "{name}");
    }
    context.assert_nothing_is_left();
}

#[test]
fn a_command_that_a_signal_ends_gives_128_and_its_number() {
    require!(requirement::userns());
    let context = TestContext::new();
    let mut child = Started::new(
        &context,
        &["run", "sh", "-c", "echo ready; exec sleep 3600"],
    );
    child.wait_for("ready");
    child.signal(15);
    assert_eq!(child.end().code(), Some(143));
    context.assert_nothing_is_left();
}

#[test]
fn a_second_interrupt_kills_what_ignores_the_first() {
    require!(requirement::userns());
    let context = TestContext::new();
    let script = "trap 'echo ignored' INT; echo ready; while :; do sleep 0.05; done";
    let mut child = Started::new(&context, &["run", "sh", "-c", script]);
    child.wait_for("ready");
    child.signal(2);
    child.wait_for("ignored");
    child.signal(2);
    assert_eq!(child.end().code(), Some(137));
    context.assert_nothing_is_left();
}

#[test]
fn an_interrupt_while_versions_are_chosen_stops_the_installer_and_leaves_nothing() {
    require!(requirement::userns());
    let mut context = TestContext::new();
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) echo 'uv 0.13.9';; *) echo $$ > '{}'; exec sleep 3600;; esac\n",
        context.path("installer").display()
    );
    context.write("uv", &script);
    fs::set_permissions(context.path("uv"), fs::Permissions::from_mode(0o755)).unwrap();
    context.set("PTEST_UV", context.path("uv"));
    for (signal, code) in [(2, 130), (15, 143)] {
        let child = context
            .command(["run", "--with", "alpha", "true"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        wait_until("the installer runs", || {
            pid = fs::read_to_string(context.path("installer")).unwrap_or_default();
            pid.ends_with('\n')
        });
        send(child.id(), signal);
        let outcome = context.outcome(child.wait_with_output().unwrap());
        assert_eq!(outcome.code(), Some(code), "{outcome}");
        assert_eq!(
            outcome.stderr(),
            "error: interrupted; what was begun has been undone\n"
        );
        let installer = PathBuf::from("/proc").join(pid.trim());
        wait_until("the installer is gone", || !installer.exists());
        fs::remove_file(context.path("installer")).unwrap();
        context.assert_nothing_is_left();
    }
}

#[test]
fn thirty_two_at_once_of_one_recipe_give_thirty_two_right_results() {
    require!(requirement::userns());
    let context = TestContext::new();
    let wheel = wheel::make(context.project(), "alpha", "1.0", "");
    let wheel = wheel
        .file_name()
        .and_then(|name| name.to_str())
        .map(|name| format!("./{name}"))
        .unwrap();
    let started: Vec<Child> = (0..32)
        .map(|_| {
            let mut command = context.command(["run", "--with", &wheel, "alpha"]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in started {
        let outcome = context.outcome(child.wait_with_output().unwrap());
        assert_eq!(
            (outcome.stdout().as_str(), outcome.code()),
            ("alpha 1.0\n", Some(0)),
            "{outcome}"
        );
    }
    context.assert_nothing_is_left();
}

#[test]
fn a_command_on_a_terminal_has_one_of_its_own() {
    require!(requirement::userns());
    require!(requirement::program("script"));
    let context = TestContext::new();
    let inside = "test -t 0 && test -t 1 && test -t 2 && test /dev/tty -ef /dev/tty && echo on a terminal; exit 7";
    let mut script = Command::new("script");
    let run = format!("'{}' run sh -c '{inside}'", crate::context::PTEST);
    script
        .args(["-qec", &run, "/dev/null"])
        .current_dir(context.project())
        .env_clear();
    let command = context.command::<&str>([]);
    script.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let outcome = context.outcome(script.stdin(Stdio::null()).output().unwrap());
    assert_eq!(outcome.code(), Some(7), "{outcome}");
    assert!(outcome.stdout().contains("on a terminal"), "{outcome}");
    context.assert_nothing_is_left();
}

#[test]
fn what_a_killed_ptest_leaves_the_next_one_cleans_up() {
    require!(requirement::userns());
    let context = TestContext::new();
    let script = "setsid sleep 3600 & echo ready; exec sleep 3600";
    let mut child = Started::new(&context, &["run", "sh", "-c", script]);
    child.wait_for("ready");
    child.signal(9);
    // The kernel ends what ran in the environment as soon as ptest is dead: then nobody holds the pipe any more.
    let (mut stdout, status) = child.into_parts();
    assert_eq!(status.signal(), Some(9));
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(stdout.read_to_end(&mut Vec::new()).is_ok()));
    assert_eq!(end.recv_timeout(Duration::from_secs(30)), Ok(true));
    context.assert_nothing_is_left();
}

/// A `ptest` that goes on while the test does something.
struct Started {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Started {
    fn new(context: &TestContext, arguments: &[&str]) -> Self {
        let mut child = context
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// Waits for a line of the command's output; its end fails the test.
    fn wait_for(&mut self, expected: &str) {
        let mut line = String::new();
        while line.trim_end() != expected {
            line.clear();
            assert_ne!(
                self.stdout.read_line(&mut line).unwrap(),
                0,
                "{expected} never came"
            );
        }
    }

    fn signal(&self, number: i32) {
        send(self.child.id(), number);
    }

    fn end(self) -> ExitStatus {
        self.into_parts().1
    }

    /// The output that is still to come, and how ptest ended.
    fn into_parts(mut self) -> (BufReader<ChildStdout>, ExitStatus) {
        let status = self.child.wait().unwrap();
        (self.stdout, status)
    }
}

fn send(process: u32, signal: i32) {
    let status = Command::new("kill")
        .args([format!("-{signal}"), process.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}
