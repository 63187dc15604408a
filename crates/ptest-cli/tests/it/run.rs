//! `ptest run`: streams, codes, variables, time, and that nothing is left.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    process::{Command, Stdio},
};

use insta::assert_snapshot;
use ptest_testkit::{require, requirement};

use crate::{
    context::TestContext,
    prove::{NOBODY, as_nobody, for_nobody},
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
fn a_working_directory_that_is_the_root_or_the_home_is_where_the_command_is_and_not_written() {
    require!(requirement::userns());
    let context = TestContext::new();
    let home = context.path("home");
    let script = "pwd -P; touch made 2>/dev/null || echo refused";
    for (directory, why) in [
        (Path::new("/"), "the root of the file system"),
        (&home, "the home directory"),
    ] {
        let mut command = context.command(["run", "sh", "-c", script]);
        let outcome = context.outcome(command.current_dir(directory).output().unwrap());
        let outcome = outcome.success();
        let place = directory.display().to_string();
        let place = place.replace(context.path("").to_str().unwrap(), "[ROOT]/");
        assert_eq!(outcome.stdout(), format!("{place}\nrefused\n"));
        assert!(outcome.stderr().contains(why), "{outcome}");
        assert!(!directory.join("made").exists());
    }
    context.assert_nothing_is_left();
}

#[test]
fn a_working_directory_of_another_user_is_what_the_system_lets_it_be() {
    require!(requirement::root());
    require!(requirement::userns());
    let script = "pwd; touch made 2>/dev/null || echo refused";
    // Root may write everywhere, and does so as root.
    let context = TestContext::new();
    chown(context.project(), Some(NOBODY), Some(NOBODY)).unwrap();
    let outcome = context.run(["run", "sh", "-c", script]).success();
    assert_eq!(outcome.stdout(), "[ROOT]/project\n");
    let made = context.project().join("made");
    assert_eq!(fs::metadata(made).unwrap().uid(), 0);
    // An ordinary user only sees it.
    let place = for_nobody();
    let project = place.path().join("project");
    chown(&project, Some(0), Some(0)).unwrap();
    let outcome = as_nobody(&context, place.path(), &["run", "sh", "-c", script]).success();
    assert_eq!(
        outcome.stdout(),
        format!("{}\nrefused\n", project.display())
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
fn a_working_directory_that_is_not_inside_is_named_with_what_to_do() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.run(["create", "web"]).success();
    // That of the machine, which is another one inside.
    let elsewhere = tempfile::tempdir_in("/tmp").unwrap();
    let mut command = context.command(["exec", "web", "--", "true"]);
    let outcome = context.outcome(command.current_dir(&elsewhere).output().unwrap());
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    let place = elsewhere.path().display();
    let told = format!(
        "error: failed to enter the working directory {place}\n  because: No such file or directory (os error 2)\n\
         hint: inside, directories such as /tmp are private: go where the project is, or name the directory with \
         --read or --write when the environment is made\n"
    );
    assert_eq!(outcome.stderr(), told);
    context.run(["remove", "web"]).success();
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
