//! Ends: of commands, of sandboxes, of their owners. Afterwards nothing is left.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::time::Duration;

use ptest_sandbox::{
    Client, Command, Error, LaunchOptions, Leftovers, Listen, Owner, Plan, Sandbox, Shape, Status,
    Stdio, lock,
};

use crate::support::{
    LIMIT, eventually, helper, lacks_namespaces, launch, launcher, marker, mount_namespace, null,
    open_directory, processes_in, processes_with, read_line, run, shell, standard, start,
    start_piped, tempdir, try_run,
};
use rustix::event::{PollFd, PollFlags, Timespec};

fn with_each_isolation(test: impl Fn(&Sandbox)) {
    test(&launch(&Plan::bare()));
    if !lacks_namespaces() {
        test(&standard());
    }
}

/// Starts processes that leave the session and the parent, and says when they are there.
fn scatter(marker: &str) -> String {
    format!(
        "setsid sleep {marker} & (setsid sh -c 'sleep {marker} & sleep {marker}' &) ; echo there"
    )
}

#[test]
fn a_timeout_ends_everything_that_the_command_started_and_keeps_its_output() {
    with_each_isolation(|sandbox| {
        let marker = marker();
        let mut command = shell(format!("{}; sleep {marker}", scatter(&marker)));
        command.timeout = Some(Duration::from_millis(200));
        let output = run(sandbox, &command);
        assert!(output.exit.timed_out);
        assert_eq!(
            output.exit.status,
            Status::Signal {
                signal: libc::SIGTERM,
                core: false
            }
        );
        assert_eq!(output.stdout, "there\n");
        assert_eq!(processes_with(&marker), []);
    });
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_when_its_grace_is_over() {
    with_each_isolation(|sandbox| {
        let mut command = shell("trap '' TERM; while :; do sleep 0.01; done");
        command.timeout = Some(Duration::from_millis(100));
        command.grace = Duration::from_millis(100);
        let exit = run(sandbox, &command).exit;
        assert_eq!(
            exit.status,
            Status::Signal {
                signal: libc::SIGKILL,
                core: false
            }
        );
        assert!(exit.timed_out);
    });
}

#[test]
fn a_command_can_use_its_grace_to_end_in_its_own_way() {
    with_each_isolation(|sandbox| {
        let mut command = shell("trap 'echo bye; exit 9' TERM; while :; do sleep 0.01; done");
        command.timeout = Some(Duration::from_millis(100));
        command.grace = LIMIT;
        let output = run(sandbox, &command);
        assert_eq!((output.code(), output.stdout.as_str()), (9, "bye\n"));
        assert!(output.exit.timed_out);
    });
}

#[test]
fn a_timeout_of_zero_ends_the_command_at_once() {
    with_each_isolation(|sandbox| {
        let mut command = Command::new("/bin/sleep").arg("1000");
        command.timeout = Some(Duration::ZERO);
        assert!(run(sandbox, &command).exit.timed_out);
    });
}

#[test]
fn leftovers_are_counted_and_live_on() {
    with_each_isolation(|sandbox| {
        let marker = marker();
        let exit = start(sandbox, &shell(scatter(&marker))).wait().unwrap();
        assert_eq!(exit.status, Status::Code(0));
        assert!(exit.leaked >= 2, "{exit:?}");
        eventually("the leftovers run", || processes_with(&marker).len() >= 3);
    });
}

#[test]
fn leftovers_are_killed_before_the_end_is_told_if_the_command_says_so() {
    with_each_isolation(|sandbox| {
        let marker = marker();
        let mut command = shell(scatter(&marker));
        command.leftovers = Leftovers::Kill;
        // The pipes end, too, although the leftovers had them open.
        let output = run(sandbox, &command);
        assert!(output.exit.leaked >= 1, "{:?}", output.exit);
        assert_eq!(processes_with(&marker), []);
    });
}

#[test]
fn dropping_a_run_ends_the_command_and_everything_it_started() {
    with_each_isolation(|sandbox| {
        let marker = marker();
        let script = format!("{}; sleep {marker}", scatter(&marker));
        let (run, mut output) = start_piped(sandbox, &shell(script));
        read_line(&mut output);
        drop(run);
        eventually("all are gone", || processes_with(&marker).is_empty());
        // The sandbox is as good as before.
        assert_eq!(crate::support::sh(sandbox, "echo well"), "well");
    });
}

#[test]
fn dropping_a_sandbox_ends_everything_before_it_returns() {
    for plan in plans() {
        let sandbox = launch(&plan);
        let marker = marker();
        let (_run, mut output) =
            start_piped(&sandbox, &shell(format!("{}; wait", scatter(&marker))));
        read_line(&mut output);
        drop(sandbox);
        assert_eq!(processes_with(&marker), []);
    }
}

#[test]
fn stopping_asks_first_and_kills_what_is_left_after_the_grace() {
    for plan in plans() {
        let sandbox = launch(&plan);
        let polite = shell(
            "exec 2>&-; trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done",
        );
        let (polite, mut output) = start_piped(&sandbox, &polite);
        read_line(&mut output);
        let marker = marker();
        let stubborn = shell(format!(
            "trap '' TERM; echo ready; while :; do sleep 0.0{marker}; done"
        ));
        let (_stubborn, mut other) = start_piped(&sandbox, &stubborn);
        read_line(&mut other);

        sandbox.stop(Duration::from_millis(500)).unwrap();
        assert_eq!(read_line(&mut output), "bye");
        assert_eq!(
            polite.wait_for(LIMIT).unwrap().unwrap().status,
            Status::Code(0)
        );
        assert_eq!(processes_with(&marker), []);
        assert!(!sandbox.is_alive());
        // Once more is fine, and a command is not.
        sandbox.stop(Duration::ZERO).unwrap();
        let error = try_run(&sandbox, &Command::new("/bin/true"), "").unwrap_err();
        assert!(matches!(error, Error::Ended), "{error:?}");
    }
}

#[test]
fn killing_init_ends_every_process_and_is_told_to_whoever_waits() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    let marker = marker();
    let (run, mut output) = start_piped(&sandbox, &shell(format!("{}; wait", scatter(&marker))));
    read_line(&mut output);
    let init = rustix::process::Pid::from_raw(sandbox.pid()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    assert!(matches!(run.wait_for(LIMIT), Err(Error::Ended)));
    assert!(sandbox.wait_for_end(LIMIT).unwrap());
    assert_eq!(processes_with(&marker), []);
}

#[test]
fn nothing_inside_can_kill_init() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    crate::support::sh(&sandbox, "kill -9 1 || true");
    let exit = start(&sandbox, &shell("kill -9 -1")).wait().unwrap();
    assert_eq!(
        exit.status,
        Status::Signal {
            signal: libc::SIGKILL,
            core: false
        }
    );
    assert_eq!(crate::support::sh(&sandbox, "echo well"), "well");
}

#[test]
fn killing_the_owner_ends_the_sandbox() {
    if lacks_namespaces() {
        return;
    }
    let marker = marker();
    let mut owner = helper("endings::helper_owner")
        .env("PTEST_TEST_MARKER", &marker)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = owner.stdout.take().unwrap();
    let init: u32 = loop {
        let line = read_line(&mut output);
        if let Some(pid) = line.strip_prefix("init ") {
            break pid.parse().unwrap();
        }
    };
    eventually("the command runs", || !processes_with(&marker).is_empty());
    let namespace = mount_namespace(processes_with(&marker)[0]);
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("init is gone", || {
        !std::path::Path::new(&format!("/proc/{init}")).exists()
    });
    assert_eq!(processes_with(&format!("sleep {marker}")), []);
    if let Some(namespace) = namespace {
        eventually("nobody holds its mounts", || {
            processes_in(namespace).is_empty()
        });
    }
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn helper_owner() {
    let Ok(marker) = std::env::var("PTEST_TEST_MARKER") else {
        return;
    };
    let sandbox = standard();
    let _run = start(
        &sandbox,
        &shell(format!("setsid sleep {marker} & sleep {marker}")),
    );
    println!("\ninit {}", sandbox.pid());
    std::thread::park_timeout(LIMIT);
}

#[test]
fn a_sandbox_for_another_process_ends_with_that_and_not_with_its_launcher() {
    for plan in plans() {
        let mut other = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let start_time = ptest_sandbox::identity::start_time(other.id()).unwrap();
        let owned_by = |start_time| LaunchOptions {
            owner: Owner::Other {
                pid: other.id(),
                start_time,
            },
            ..LaunchOptions::default()
        };
        let refused = launcher().launch(&plan, owned_by(start_time + 1));
        assert!(
            refused.is_err(),
            "a process of the same number was taken for the owner"
        );
        let sandbox = launcher().launch(&plan, owned_by(start_time)).unwrap();
        let pid = rustix::process::Pid::from_raw(sandbox.pid()).unwrap();
        let _guard = Guard(pid);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        drop(sandbox);
        assert!(!has_ended(&pidfd, Duration::from_millis(50)));
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(has_ended(&pidfd, LIMIT));
    }
}

fn has_ended(pidfd: &std::os::fd::OwnedFd, limit: Duration) -> bool {
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    let limit = Timespec::try_from(limit).unwrap();
    rustix::event::poll(&mut polled, Some(&limit)).unwrap() == 1
}

#[test]
fn a_detached_sandbox_is_found_by_a_socket_however_long_its_path() {
    if lacks_namespaces() {
        return;
    }
    let directory = tempdir();
    let deep = directory.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let listen = Listen {
        directory: open_directory(&deep),
        name: "socket".into(),
    };
    let options = LaunchOptions {
        owner: Owner::Detached,
        listen: Some(listen),
        ..LaunchOptions::default()
    };
    let sandbox = launcher()
        .launch(&Shape::default().plan().unwrap(), options)
        .unwrap();
    let pid = sandbox.pid();
    // Should the test fail, this ends it nevertheless.
    let _guard = Guard(rustix::process::Pid::from_raw(pid).unwrap());
    drop(sandbox);

    let connect = || Client::connect(open_directory(&deep), OsStr::new("socket"));
    let client = connect().unwrap();
    assert_eq!(client.pid(), pid);
    let stdio = null();
    let stdio = Stdio::Descriptors([stdio.as_fd(); 3]);
    let run = client.spawn(&shell("exit 4"), stdio).unwrap();
    assert_eq!(
        run.wait_for(LIMIT).unwrap().unwrap().status,
        Status::Code(4)
    );
    connect().unwrap().stop(Duration::ZERO).unwrap();
    assert!(!client.is_alive());
    assert!(matches!(connect(), Err(Error::Ended)));
}

#[test]
fn init_keeps_nothing_open_that_its_launcher_had_open() {
    // A pipe that its reader waits to be closed, inherited by everything that this process starts.
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::io::fcntl_setfd(&writer, rustix::io::FdFlags::empty()).unwrap();
    let sandbox = launch(&Plan::bare());
    drop(writer);
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    assert!(sandbox.is_alive());
}

#[test]
fn init_holds_the_lock_of_its_environment_for_life() {
    for plan in plans() {
        let directory = tempdir();
        let held = lock::take(directory.path()).unwrap();
        let options = LaunchOptions {
            lock: Some(held),
            ..LaunchOptions::default()
        };
        let sandbox = launcher().launch(&plan, options).unwrap();
        let (_run, _output) = start_piped(&sandbox, &Command::new("/bin/sleep").arg("1000"));
        assert!(matches!(
            lock::take(directory.path()),
            Err(Error::Locked { .. })
        ));
        sandbox.stop(Duration::ZERO).unwrap();
        lock::take(directory.path()).unwrap();
    }
}

#[test]
fn the_lock_of_a_killed_init_is_not_to_be_had_while_anything_of_it_lives() {
    if lacks_namespaces() {
        return;
    }
    let directory = tempdir();
    for _ in 0..20 {
        let options = LaunchOptions {
            lock: Some(lock::take(directory.path()).unwrap()),
            ..LaunchOptions::default()
        };
        let plan = Shape::default().plan().unwrap();
        let sandbox = launcher().launch(&plan, options).unwrap();
        let marker = marker();
        let script = format!("for _ in $(seq 100); do sleep {marker} & done; echo ready; wait");
        let (_run, mut output) = start_piped(&sandbox, &shell(script));
        read_line(&mut output);
        eventually("all of them run", || processes_with(&marker).len() >= 100);
        let init = rustix::process::Pid::from_raw(sandbox.pid()).unwrap();
        rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
        lock::wait(directory.path()).unwrap();
        assert!(processes_with(&marker).is_empty());
    }
}

#[test]
fn a_command_that_writes_on_after_its_reader_left_is_ended_by_the_pipe() {
    with_each_isolation(|sandbox| {
        let (run, mut output) = start_piped(sandbox, &Command::new("/usr/bin/yes"));
        output.read_exact(&mut [0; 2]).unwrap();
        drop(output);
        let exit = run.wait_for(LIMIT).unwrap().unwrap();
        assert_eq!(
            exit.status,
            Status::Signal {
                signal: libc::SIGPIPE,
                core: false
            }
        );
    });
}

struct Guard(rustix::process::Pid);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _gone = rustix::process::kill_process(self.0, rustix::process::Signal::KILL);
        }
    }
}

fn plans() -> Vec<Plan> {
    let mut plans = vec![Plan::bare()];
    if !lacks_namespaces() {
        plans.push(Shape::default().plan().unwrap());
    }
    plans
}
