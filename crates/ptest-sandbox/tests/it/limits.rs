//! Limits, usage and freezing.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use ptest_sandbox::{
    Disk, Error, Kept, LaunchOptions, Level, Limit, Limits, Network, Sandbox, Shape, Status, Stdio,
    Strength, Struck, cgroup,
};

use crate::support::{
    eventually, is_root, lacks, lacks_namespaces, launcher, null, read_line, run, shell, standard,
    start_piped, tempdir,
};

fn limited(id: &str, limit: u64) -> Option<Sandbox> {
    if lacks_namespaces() {
        return None;
    }
    let options = || LaunchOptions {
        id: id.into(),
        limits: Limits {
            processes: Some(limit),
            ..Limits::default()
        },
        ..LaunchOptions::default()
    };
    let plan = Shape::default().plan().unwrap();
    match launcher().launch(&plan, options()) {
        Ok(sandbox) => Some(sandbox),
        Err(error) => {
            assert!(lacks("cgroup", false, &format!("{error:?}")));
            None
        }
    }
}

/// A sandbox with these limits, each held as strictly as it can be here.
fn with(limits: Limits) -> Option<Sandbox> {
    if lacks_namespaces() {
        return None;
    }
    let options = LaunchOptions {
        id: format!("test-{}", crate::support::marker()),
        limits,
        ..LaunchOptions::default()
    };
    let plan = Shape::default().plan().unwrap();
    Some(launcher().launch(&plan, options).unwrap())
}

fn struck(output: &crate::support::Output) -> Struck {
    output
        .exit
        .struck
        .unwrap_or_else(|| panic!("no limit struck: {output:?}"))
}

#[test]
fn more_processes_than_the_limit_cannot_be_started() {
    let id = format!("test-{}", crate::support::marker());
    let Some(sandbox) = limited(&id, 20) else {
        return;
    };
    assert_eq!(sandbox.limits()[0].strength, Strength::Enforced);
    let attempt = |count: u32| {
        let script =
            format!("exec 2>/dev/null; for i in $(seq {count}); do sleep 100 & echo started; done");
        let mut command = shell(script);
        command.leftovers = ptest_sandbox::Leftovers::Kill;
        run(&sandbox, &command).stdout.lines().count()
    };
    assert_eq!(attempt(10), 10);
    assert!(attempt(40) < 20);
    let is_there = || cgroup::places(&id).iter().any(|place| place.exists());
    assert_eq!(is_there(), is_root());
    sandbox.stop(Duration::ZERO).unwrap();
    assert!(!is_there());
}

/// Takes memory until it is ended: the shell keeps what it reads.
const GLUTTON: &str = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo survived";

#[test]
fn too_much_memory_ends_everything_and_is_named() {
    let Some(sandbox) = with(Limits {
        memory: Some(64 << 20),
        ..Limits::default()
    }) else {
        return;
    };
    let (bystander, mut output) = start_piped(&sandbox, &shell("echo ready; exec sleep 1000"));
    read_line(&mut output);
    let glutton = run(&sandbox, &shell(GLUTTON));
    assert!(!glutton.stdout.contains("survived"), "{glutton:?}");
    let found = struck(&glutton);
    assert_eq!((found.limit, found.configured), (Limit::Memory, 64 << 20));
    assert!(
        found.reached >= found.configured && found.ended,
        "{found:?}"
    );
    // All that uses the memory is ended together, and the sandbox lives on.
    let ended = bystander.wait().unwrap();
    assert_eq!(ended.status.code(), 128 + 9);
    assert_eq!(ended.struck.unwrap().limit, Limit::Memory);
    assert_eq!(run(&sandbox, &shell("echo on")).stdout, "on\n");
}

#[test]
fn files_in_memory_are_memory() {
    let Some(sandbox) = with(Limits {
        memory: Some(64 << 20),
        ..Limits::default()
    }) else {
        return;
    };
    let output = run(
        &sandbox,
        &shell("head -c 200000000 /dev/zero > /tmp/file; sleep 1000"),
    );
    assert_eq!(struck(&output).limit, Limit::Memory);
}

#[test]
fn when_memory_has_run_out_a_command_is_to_end_rather_than_init() {
    let Some(sandbox) = with(Limits {
        memory: Some(64 << 20),
        ..Limits::default()
    }) else {
        return;
    };
    let preference = |text: &str| text.trim().parse::<i32>().unwrap();
    let of_init = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let of_command = crate::support::sh(&sandbox, "cat /proc/self/oom_score_adj");
    assert!(preference(&of_command) > preference(&of_init) || preference(&of_command) == 1000);
}

#[test]
fn processors_are_shared_out() {
    if lacks_namespaces() {
        return;
    }
    let options = LaunchOptions {
        id: format!("test-{}", crate::support::marker()),
        limits: Limits {
            cpus: Some(200),
            ..Limits::default()
        },
        ..LaunchOptions::default()
    };
    let plan = Shape::default().plan().unwrap();
    let sandbox = match launcher().launch(&plan, options) {
        Ok(sandbox) => sandbox,
        Err(error) => {
            assert!(lacks("cgroup", false, &format!("{error:?}")));
            return;
        }
    };
    let output = run(
        &sandbox,
        &shell("timeout 1 sh -c 'while :; do :; done'; echo $?"),
    );
    assert_eq!(output.stdout, "124\n");
    let used = output.exit.user_time + output.exit.system_time;
    assert!(used < output.exit.elapsed / 2, "{output:?}");
    assert_eq!(output.exit.struck, None);
}

#[test]
fn too_much_processor_time_ends_the_command_and_no_other() {
    let Some(sandbox) = with(Limits {
        cpu_time: Some(Duration::from_millis(300)),
        ..Limits::default()
    }) else {
        return;
    };
    let (bystander, mut output) = start_piped(&sandbox, &shell("echo ready; exec sleep 1000"));
    read_line(&mut output);
    // Of many children together, each far below it.
    let busy = "while :; do sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'; done";
    let output = run(&sandbox, &shell(busy));
    let found = struck(&output);
    assert_eq!((found.limit, found.configured), (Limit::CpuTime, 300));
    assert_eq!(output.code(), 128 + 9);
    assert_eq!(bystander.event(Some(Duration::ZERO)).unwrap(), None);
}

#[test]
fn too_many_open_files_and_too_large_files_are_refused() {
    let Some(sandbox) = with(Limits {
        open_files: Some(16),
        file_size: Some(4096),
        ..Limits::default()
    }) else {
        return;
    };
    let output = run(&sandbox, &shell("ulimit -n"));
    assert_eq!(output.stdout, "16\n");
    let output = run(&sandbox, &shell("exec head -c 5000 /dev/zero > /tmp/file"));
    let found = struck(&output);
    assert_eq!((found.limit, found.configured), (Limit::FileSize, 4096));
    assert_eq!(sandbox.limits().len(), 2);
    let all = |kept: &Kept| kept.strength == Strength::Enforced;
    assert!(sandbox.limits().iter().all(all));
}

#[test]
fn too_much_on_the_disk_ends_everything_and_is_named() {
    too_much_on_the_disk(Level::Standard);
}

/// Init itself is kept from what it does not need, which must not be what it looks at.
#[test]
fn too_much_on_the_disk_is_noticed_under_the_strict_profile_too() {
    too_much_on_the_disk(Level::Strict);
}

fn too_much_on_the_disk(level: Level) {
    let directory = tempdir();
    let Some(sandbox) = (if lacks_namespaces() {
        None
    } else {
        let options = LaunchOptions {
            limits: Limits {
                disk: Some(Disk {
                    bytes: 8 << 20,
                    directories: vec![directory.path().into()],
                    project: None,
                }),
                ..Limits::default()
            },
            ..LaunchOptions::default()
        };
        let shape = Shape {
            level,
            write: vec![directory.path().into()],
            ..Shape::default()
        };
        Some(launcher().launch(&shape.plan().unwrap(), options).unwrap())
    }) else {
        return;
    };
    let place = directory.path().display();
    let within = run(
        &sandbox,
        &shell(format!("head -c 1000000 /dev/zero > {place}/small")),
    );
    assert_eq!(within.exit.struck, None);
    let beyond =
        format!("mkdir {place}/d; head -c 20000000 /dev/zero > {place}/d/large; sleep 1000");
    let output = run(&sandbox, &shell(beyond));
    let found = struck(&output);
    assert_eq!((found.limit, found.configured), (Limit::Disk, 8 << 20));
    assert!(found.reached > found.configured, "{found:?}");
    assert_eq!(sandbox.limits()[0].strength, Strength::Watched);
}

#[test]
fn a_fork_bomb_ends_and_the_sandbox_lives_on() {
    let _crowd = crate::support::crowd();
    let Some(sandbox) = with(Limits {
        processes: Some(50),
        ..Limits::default()
    }) else {
        return;
    };
    let mut bomb = shell("bomb() { bomb | bomb & }; (bomb) 2>/dev/null; exec sleep 1000");
    bomb.timeout = Some(Duration::from_millis(500));
    bomb.grace = Duration::ZERO;
    let output = run(&sandbox, &bomb);
    assert!(output.exit.timed_out, "{output:?}");
    if is_root() {
        let found = struck(&output);
        assert_eq!((found.limit, found.ended), (Limit::Pids, false));
    }
    assert_eq!(sandbox.usage().unwrap().processes, 0);
    assert_eq!(run(&sandbox, &shell("echo on")).stdout, "on\n");
}

#[test]
fn a_limit_that_nothing_can_hold_is_refused_unless_that_is_allowed() {
    if lacks_namespaces() {
        return;
    }
    let options = |allow_weaker_limits| LaunchOptions {
        // No group has such a name.
        id: "not/a name".into(),
        limits: Limits {
            cpus: Some(500),
            ..Limits::default()
        },
        allow_weaker_limits,
        ..LaunchOptions::default()
    };
    let plan = Shape::default().plan().unwrap();
    let refused = launcher().launch(&plan, options(false)).unwrap_err();
    assert!(
        matches!(
            refused,
            Error::Limit {
                limit: Limit::Cpus,
                ..
            }
        ),
        "{refused:?}"
    );
    let sandbox = launcher().launch(&plan, options(true)).unwrap();
    assert_eq!(sandbox.limits()[0].strength, Strength::None);
}

#[test]
fn usage_says_what_went_through_a_network_of_its_own() {
    if lacks_namespaces() {
        return;
    }
    assert_eq!(standard().usage().unwrap().traffic, None);
    let shape = Shape {
        network: Network::Private,
        ..Shape::default()
    };
    let sandbox = crate::support::launch(&shape.plan().unwrap());
    assert_eq!(sandbox.usage().unwrap().traffic.unwrap().sent_bytes, 0);
    if lacks(
        "python",
        Path::new("/usr/bin/python3").exists(),
        "there is no /usr/bin/python3",
    ) {
        return;
    }
    let talk = "import socket; a = socket.create_server(('127.0.0.1', 0)); \
                b = socket.create_connection(a.getsockname()); c, _ = a.accept(); \
                [(b.sendall(b'x' * 1000), c.recv(1000, socket.MSG_WAITALL)) for _ in range(101)]";
    let command = ptest_sandbox::Command::new("/usr/bin/python3").args(["-I", "-c", talk]);
    assert_eq!(run(&sandbox, &command).code(), 0);
    assert!(sandbox.usage().unwrap().traffic.unwrap().sent_bytes > 100_000);
}

#[test]
fn usage_counts_commands_and_their_time_and_memory() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    assert_eq!(sandbox.usage().unwrap().processes, 0);
    let (working, mut output) = start_piped(
        &sandbox,
        &shell("sleep 1000 & echo ready; while :; do :; done"),
    );
    read_line(&mut output);
    let usage = sandbox.usage().unwrap();
    assert_eq!(usage.processes, 2, "{usage:?}");
    assert!(usage.memory_bytes > 100_000, "{usage:?}");
    eventually("time passes", || {
        sandbox.usage().unwrap().cpu_time > usage.cpu_time
    });
    drop(working);
    eventually("all are gone", || sandbox.usage().unwrap().processes == 0);
    let after = sandbox.usage().unwrap();
    assert!(
        after.cpu_time > usage.cpu_time && after.peak_memory_bytes >= usage.memory_bytes,
        "{after:?}"
    );
}

#[test]
fn when_a_command_has_ended_nothing_of_it_counts() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    for _ in 0..300 {
        run(&sandbox, &shell("exit 0"));
        assert_eq!(sandbox.usage().unwrap().processes, 0);
    }
}

#[test]
fn frozen_processes_do_nothing_until_they_are_thawed() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    // One that starts others all the time.
    let script = "echo ready; while :; do /bin/true; done";
    let (run, mut output) = start_piped(&sandbox, &shell(script));
    read_line(&mut output);
    let frozen = sandbox.freeze().unwrap();
    let before = sandbox.usage().unwrap();
    for _ in 0..50 {
        assert_eq!(sandbox.usage().unwrap().cpu_time, before.cpu_time);
    }
    drop(frozen);
    eventually("it goes on", || {
        sandbox.usage().unwrap().cpu_time > before.cpu_time
    });
    assert_eq!(run.event(Some(Duration::ZERO)).unwrap(), None);
}

#[test]
fn what_was_stopped_before_stays_so_when_the_rest_goes_on() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    let script = "sleep 1000 & kill -STOP $!; until grep -q 'State:.T' /proc/$!/status; do :; done; echo; \
                  read line; grep State /proc/$!/status; kill -KILL $!";
    let (stdin, mut input) = std::io::pipe().unwrap();
    let (mut output, stdout) = std::io::pipe().unwrap();
    let null = null();
    let stdio = Stdio::Descriptors([stdin.as_fd(), stdout.as_fd(), null.as_fd()]);
    let run = sandbox.spawn(&shell(script), stdio).unwrap();
    read_line(&mut output);
    drop(sandbox.freeze().unwrap());
    input.write_all(b"go\n").unwrap();
    assert_eq!(read_line(&mut output), "State:\tT (stopped)");
    run.wait().unwrap();
}

#[test]
fn a_command_that_is_started_while_all_is_frozen_begins_when_it_is_not() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    let (first, second) = (sandbox.freeze().unwrap(), sandbox.freeze().unwrap());
    std::thread::scope(|scope| {
        let started = scope.spawn(|| run(&sandbox, &shell("exit 7")));
        drop(first);
        eventually("it is asked for", || sandbox.usage().is_ok());
        assert!(!started.is_finished());
        drop(second);
        assert_eq!(started.join().unwrap().exit.status, Status::Code(7));
    });
}
