//! Running one command: what it gets, and what is told of it.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;

use ptest_sandbox::protocol::Stage;
use ptest_sandbox::{Command, Error, Plan, Sandbox, Shape, Status, Stdio};

use crate::support::{
    LIMIT, lacks_namespaces, launch, null, read_line, run, sh, shell, standard, start_piped,
    tempdir, try_run,
};

/// The same tests with and without namespaces: there is one way of running commands.
fn with_each_isolation(test: impl Fn(&Sandbox)) {
    test(&launch(&Plan::bare()));
    if !lacks_namespaces() {
        test(&standard());
    }
}

#[test]
fn output_goes_to_the_given_descriptors_and_the_code_comes_back() {
    with_each_isolation(|sandbox| {
        let command = shell("cat; echo error >&2; exit 7");
        let output = try_run(sandbox, &command, "input").unwrap();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("input", "error\n")
        );
        assert_eq!(output.exit.status, Status::Code(7));
        assert!(!output.exit.timed_out);
    });
}

#[test]
fn a_command_that_does_not_exist_gives_127() {
    with_each_isolation(|sandbox| {
        for name in ["no-such-program", "/no/such/program", "", "./none"] {
            let command = Command::new(name).env("PATH", "/usr/bin:/bin");
            let error = try_run(sandbox, &command, "").unwrap_err();
            assert_eq!(error.exit_code(), Some(127), "{name:?}: {error:?}");
        }
    });
}

#[test]
fn a_file_that_cannot_be_executed_gives_126() {
    let directory = tempdir();
    let program = directory.path().join("program");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    let error = try_run(&launch(&Plan::bare()), &Command::new(&program), "").unwrap_err();
    assert_eq!(error.exit_code(), Some(126));
    assert_eq!(
        error.to_string(),
        format!("failed to execute {}", program.display())
    );

    let error = try_run(&launch(&Plan::bare()), &Command::new("/etc"), "").unwrap_err();
    assert_eq!(error.exit_code(), Some(126));
}

#[test]
fn a_script_whose_interpreter_is_missing_is_found_but_not_executable() {
    let directory = tempdir();
    let program = directory.path().join("script");
    fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let error = try_run(&launch(&Plan::bare()), &Command::new(&program), "").unwrap_err();
    assert_eq!(
        error.failure().map(|failure| failure.stage),
        Some(Stage::Interpreter)
    );
    assert_eq!(error.exit_code(), Some(126));
    assert!(error.hint().is_some());
}

#[test]
fn a_script_that_names_no_interpreter_is_run_by_the_shell() {
    let directory = tempdir();
    fs::write(directory.path().join("script"), "echo \"$0 $1\"\n").unwrap();
    fs::set_permissions(
        directory.path().join("script"),
        Permissions::from_mode(0o755),
    )
    .unwrap();
    let command = Command::new("script")
        .arg("argument")
        .env("PATH", directory.path());
    let output = run(&launch(&Plan::bare()), &command);
    assert_eq!(
        output.stdout,
        format!("{}/script argument\n", directory.path().display())
    );
}

#[test]
fn a_program_is_looked_for_on_the_path_of_the_commands_own_environment() {
    let directory = tempdir();
    fs::write(
        directory.path().join("only-here"),
        "#!/bin/sh\necho found\n",
    )
    .unwrap();
    fs::set_permissions(
        directory.path().join("only-here"),
        Permissions::from_mode(0o755),
    )
    .unwrap();
    let sandbox = launch(&Plan::bare());
    let path = format!("/nonexistent:{}", directory.path().display());
    let output = run(&sandbox, &Command::new("only-here").env("PATH", path));
    assert_eq!(output.stdout, "found\n");
    let error = try_run(&sandbox, &Command::new("only-here").env("PATH", "/bin"), "").unwrap_err();
    assert_eq!(error.exit_code(), Some(127));
}

#[test]
fn a_command_that_a_signal_ends_is_reported_with_the_signal() {
    with_each_isolation(|sandbox| {
        let output = run(sandbox, &shell("kill -SEGV $$"));
        assert!(matches!(
            output.exit.status,
            Status::Signal {
                signal: libc::SIGSEGV,
                ..
            }
        ));
        assert_eq!(output.code(), 139);
    });
}

#[test]
fn a_command_sees_the_given_variables_and_no_others() {
    with_each_isolation(|sandbox| {
        let command = Command::new("/usr/bin/env")
            .env("ONE", "1")
            .env("TWO", "a b=c");
        let output = run(sandbox, &command);
        assert_eq!(output.stdout, "ONE=1\nTWO=a b=c\n");
    });
}

#[test]
fn arguments_that_are_not_utf8_pass_unchanged() {
    with_each_isolation(|sandbox| {
        let bytes = OsString::from_vec(vec![b'x', 0xff, 0xfe, b'y']);
        let command = shell("printf %s \"$1\" | od -An -tx1").arg("sh").arg(bytes);
        assert_eq!(run(sandbox, &command).stdout.trim(), "78 ff fe 79");
    });
}

#[test]
fn a_string_with_a_null_byte_is_an_error_and_not_a_shorter_string() {
    let command = Command::new("/bin/echo").arg("a\0b");
    let error = try_run(&launch(&Plan::bare()), &command, "").unwrap_err();
    assert_eq!(
        error.failure().map(|failure| failure.stage),
        Some(Stage::Request)
    );
}

#[test]
fn a_working_directory_that_is_gone_is_named() {
    with_each_isolation(|sandbox| {
        let command = Command::new("/bin/true").current_dir("/gone/away");
        let error = try_run(sandbox, &command, "").unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to enter the working directory /gone/away"
        );
        assert_eq!(error.exit_code(), None);
    });
}

#[test]
fn a_gigabyte_of_output_passes_through_a_pipe() {
    with_each_isolation(|sandbox| {
        let (run, mut reader) = start_piped(sandbox, &shell("head -c 1073741824 /dev/zero"));
        let mut total = 0;
        let mut buffer = vec![0; 1 << 20];
        while total < 1 << 30 {
            let count = reader.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "only {total} bytes came");
            total += count;
        }
        assert_eq!(
            run.wait_for(LIMIT).unwrap().unwrap().status,
            Status::Code(0)
        );
    });
}

#[test]
fn a_command_that_closes_its_output_is_still_waited_for() {
    with_each_isolation(|sandbox| {
        let script = "exec >&- 2>&- <&-; while [ ! -e /dev/null/x ] && [ $((n += 1)) -lt 1000 ]; do :; done; exit 3";
        assert_eq!(run(sandbox, &shell(script)).code(), 3);
    });
}

#[test]
fn the_descriptor_of_a_directory_is_refused() {
    with_each_isolation(|sandbox| {
        let directory = File::open("/").unwrap();
        let null = null();
        let stdio = Stdio::Descriptors([null.as_fd(), directory.as_fd(), null.as_fd()]);
        let error = sandbox
            .spawn(&Command::new("/bin/true"), stdio)
            .unwrap_err();
        assert_eq!(
            error.failure().map(|failure| failure.errno),
            Some(libc::EISDIR)
        );
        assert!(error.to_string().contains("standard output"));
    });
}

#[test]
fn a_command_inherits_its_three_descriptors_and_nothing_else() {
    with_each_isolation(|sandbox| {
        let _mine = rustix::io::dup(null()).unwrap();
        // The fourth is the one that the listing itself has open.
        assert_eq!(
            sh(sandbox, "ls /proc/self/fd").split_whitespace().count(),
            4
        );
    });
}

#[test]
fn a_command_starts_with_no_signal_ignored_or_blocked() {
    with_each_isolation(|sandbox| {
        let command = Command::new("/bin/cat").arg("/proc/self/status");
        let status = run(sandbox, &command).stdout;
        for field in ["SigBlk", "SigIgn"] {
            assert!(
                status.contains(&format!("{field}:\t0000000000000000")),
                "{status}"
            );
        }
    });
}

#[test]
fn a_signal_reaches_the_command() {
    with_each_isolation(|sandbox| {
        let script = "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.01; done";
        let (run, mut output) = start_piped(sandbox, &shell(script));
        assert_eq!(read_line(&mut output), "ready");
        run.signal(libc::SIGUSR1).unwrap();
        assert_eq!(read_line(&mut output), "caught");
        assert_eq!(run.wait_for(LIMIT).unwrap().unwrap().status.code(), 5);
        // One that has ended does not mind.
        run.signal(libc::SIGUSR1).unwrap();
    });
}

#[test]
fn many_commands_run_side_by_side() {
    with_each_isolation(|sandbox| {
        std::thread::scope(|scope| {
            for number in 0..16 {
                scope.spawn(move || {
                    let output = run(sandbox, &shell(format!("echo {number}; exit {number}")));
                    assert_eq!(
                        (output.stdout, output.exit.status.code()),
                        (format!("{number}\n"), number)
                    );
                });
            }
        });
    });
}

#[test]
fn an_init_program_that_is_none_is_an_error() {
    let launcher = ptest_sandbox::Launcher::new("/nonexistent/ptest-init");
    let options = ptest_sandbox::LaunchOptions::default();
    let error = launcher.launch(&Plan::bare(), options).unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error:?}");

    let launcher = ptest_sandbox::Launcher::new("/bin/true");
    let options = ptest_sandbox::LaunchOptions::default();
    let error = launcher.launch(&Plan::bare(), options).unwrap_err();
    assert!(
        matches!(error, Error::Start { .. } | Error::Ended),
        "{error:?}"
    );
}

#[test]
fn a_mount_that_fails_is_named_and_leaves_nothing() {
    if lacks_namespaces() {
        return;
    }
    let plan = Shape {
        write: vec!["/nonexistent/project".into()],
        ..Shape::default()
    }
    .plan();
    assert!(matches!(plan, Err(Error::Io { .. })));

    let extra = vec![ptest_sandbox::Mount::bind(
        "/nonexistent",
        "/x",
        ptest_sandbox::Access::ReadOnly,
    )];
    let plan = Shape {
        extra,
        ..Shape::default()
    }
    .plan()
    .unwrap();
    let options = ptest_sandbox::LaunchOptions::default();
    let error = crate::support::launcher()
        .launch(&plan, options)
        .unwrap_err();
    assert_eq!(error.to_string(), "failed to open /nonexistent");
}
