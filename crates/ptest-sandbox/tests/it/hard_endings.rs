//! Ends of what does not want to end, or looks as if it had: whatever a process does, nothing of it is left.
//!
//! A process is seen dead when a pipe that it had open has no writer any more.

use std::os::fd::AsFd as _;
use std::time::Duration;

use ptest_sandbox::{Command, LaunchOptions, Leftovers, Plan, Sandbox, Shape, Status, Stdio, lock};

use crate::support::{
    LIMIT, crowd, eventually, is_abandoned, lacks_namespaces, launch, launcher, null,
    processes_with, python, read_line, run, shell, standard, start_piped, tempdir,
};

/// Processes that are hard to end, each of which writes a line when it has become that.
const STUBBORN: &str = r#"
def say(words):
    os.write(1, words.encode() + b"\n")

def wait():
    while True:
        signal.pause()

def child(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid

def deaf():
    for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)

def daemon():
    deaf()
    os.setsid()
    if os.fork():
        os._exit(0)
    os.setsid() if os.getpid() != os.getsid(0) else None
    say("daemon")
    wait()

def stopped():
    deaf()
    pid = child(lambda: (os.setsid(), os.kill(os.getpid(), signal.SIGSTOP), wait()))
    os.waitpid(pid, os.WUNTRACED)
    say("stopped")
    wait()

def traced():
    deaf()
    pid = child(lambda: (deaf(), wait()))
    # PTRACE_ATTACH, without PTRACE_O_EXITKILL: the tracee is to stay should its tracer go.
    lib.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if lib.ptrace(16, pid, None, None) != 0:
        say("untraced %s" % os.strerror(ctypes.get_errno()))
        os._exit(1)
    os.waitpid(pid, 0)
    say("traced")
    wait()

def terminal():
    out = os.dup(1)
    pid, side = os.forkpty()
    if pid == 0:
        deaf()
        os.dup2(out, 9)
        os.write(9, b"terminal\n")
    wait()

def headless():
    def work():
        say("headless")
        while True:
            time.sleep(1000)
    threading.Thread(target=work).start()
    # exit, not exit_group: the first thread ends, and with it what the process table shows.
    lib.syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)

for work in (daemon, stopped, traced, terminal, headless):
    child(work)
"#;
const KINDS: usize = 5;

/// A thousand processes of which many are stopped, many deaf, many both, and many in sessions of their own.
const THOUSAND: &str = r#"
lib.prctl(15, b"thousand", 0, 0, 0)
ready, ring = os.pipe()
for number in range(1000):
    if os.fork() == 0:
        if number % 2:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if number % 3 == 0:
            os.setsid()
        os.write(ring, b".")
        if number % 5 == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            signal.pause()
for _ in range(1000):
    os.read(ready, 1)
os.write(1, b"all\n")
signal.pause()
"#;

fn plans() -> Vec<Plan> {
    let mut plans = vec![Plan::bare()];
    if !lacks_namespaces() {
        plans.push(Shape::default().plan().unwrap());
    }
    plans
}

/// Starts a command that makes stubborn processes, then does what `last` says; returns when all of them are there.
fn start_stubborn(
    sandbox: &Sandbox,
    last: &str,
    adjust: impl FnOnce(&mut Command),
) -> Option<(ptest_sandbox::Run, std::io::PipeReader)> {
    let mut command = python(&format!("{STUBBORN}\n{last}"))?;
    adjust(&mut command);
    let (run, mut output) = start_piped(sandbox, &command);
    let mut kinds: Vec<String> = (0..KINDS).map(|_| read_line(&mut output)).collect();
    kinds.sort();
    assert_eq!(
        kinds,
        ["daemon", "headless", "stopped", "terminal", "traced"]
    );
    Some((run, output))
}

#[test]
fn nothing_of_a_command_survives_its_timeout_however_it_hid() {
    let _crowd = crowd();
    for plan in plans() {
        let sandbox = launch(&plan);
        let adjust = |command: &mut Command| {
            command.timeout = Some(Duration::from_secs(3));
            command.grace = Duration::from_millis(50);
        };
        let Some((run, output)) = start_stubborn(&sandbox, "deaf(); wait()", adjust) else {
            return;
        };
        let exit = run.wait_for(LIMIT).unwrap().unwrap();
        assert!(exit.timed_out);
        assert!(is_abandoned(&output));
    }
}

#[test]
fn nothing_of_a_command_survives_its_own_end_if_it_says_so() {
    let _crowd = crowd();
    for plan in plans() {
        let sandbox = launch(&plan);
        let adjust = |command: &mut Command| command.leftovers = Leftovers::Kill;
        let Some((run, output)) = start_stubborn(&sandbox, "wait()", adjust) else {
            return;
        };
        run.signal(libc::SIGTERM).unwrap();
        let exit = run.wait_for(LIMIT).unwrap().unwrap();
        assert_eq!(exit.status.code(), 128 + libc::SIGTERM);
        // The daemon, one who is stopped and one who is traced with those who hold them, one on a terminal and one whose
        // first thread has ended.
        assert!(exit.leaked >= 7, "{exit:?}");
        assert!(is_abandoned(&output));
    }
}

#[test]
fn nothing_of_a_command_survives_its_client() {
    let _crowd = crowd();
    for plan in plans() {
        let sandbox = launch(&plan);
        let Some((run, output)) = start_stubborn(&sandbox, "deaf(); wait()", |_| {}) else {
            return;
        };
        drop(run);
        eventually("all are dead", || is_abandoned(&output));
    }
}

#[test]
fn nothing_of_a_sandbox_survives_its_stop() {
    let _crowd = crowd();
    for plan in plans() {
        for grace in [Duration::ZERO, Duration::from_millis(50)] {
            let sandbox = launch(&plan);
            let Some((_run, output)) = start_stubborn(&sandbox, "deaf(); wait()", |_| {}) else {
                return;
            };
            sandbox.stop(grace).unwrap();
            assert!(is_abandoned(&output));
        }
    }
}

#[test]
fn nothing_of_a_sandbox_survives_its_init() {
    let _crowd = crowd();
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    let Some((_run, output)) = start_stubborn(&sandbox, "deaf(); wait()", |_| {}) else {
        return;
    };
    let init = rustix::process::Pid::from_raw(sandbox.pid()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    assert!(sandbox.wait_for_end(LIMIT).unwrap());
    assert!(is_abandoned(&output));
}

#[test]
fn a_thousand_die_with_the_command_that_made_them() {
    let _crowd = crowd();
    for plan in plans() {
        let sandbox = launch(&plan);
        let Some(mut command) = python(THOUSAND) else {
            return;
        };
        command.timeout = Some(Duration::from_secs(2));
        command.grace = Duration::from_millis(10);
        let (run, output) = start_piped(&sandbox, &command);
        let exit = run.wait_for(LIMIT).unwrap().unwrap();
        assert!(exit.timed_out);
        assert!(is_abandoned(&output));
    }
}

#[test]
fn a_thousand_die_with_their_sandbox() {
    let _crowd = crowd();
    for plan in plans() {
        let sandbox = launch(&plan);
        let Some(command) = python(THOUSAND) else {
            return;
        };
        let (_run, mut output) = start_piped(&sandbox, &command);
        assert_eq!(read_line(&mut output), "all");
        sandbox.stop(Duration::from_millis(10)).unwrap();
        assert!(is_abandoned(&output));
    }
}

#[test]
fn a_thousand_are_dead_when_the_lock_of_their_killed_init_is_to_be_had() {
    let _crowd = crowd();
    if lacks_namespaces() {
        return;
    }
    let directory = tempdir();
    let options = LaunchOptions {
        lock: Some(lock::take(directory.path()).unwrap()),
        ..LaunchOptions::default()
    };
    let plan = Shape::default().plan().unwrap();
    let sandbox = launcher().launch(&plan, options).unwrap();
    let Some(command) = python(THOUSAND) else {
        return;
    };
    let (_run, mut output) = start_piped(&sandbox, &command);
    assert_eq!(read_line(&mut output), "all");
    let init = rustix::process::Pid::from_raw(sandbox.pid()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    lock::wait(directory.path()).unwrap();
    assert!(is_abandoned(&output));
}

#[test]
fn a_command_that_stops_its_leader_is_ended_and_told_of_as_any_other() {
    for plan in plans() {
        let sandbox = launch(&plan);
        let mut command = shell("kill -STOP $PPID; echo well");
        command.timeout = Some(LIMIT);
        let output = run(&sandbox, &command);
        assert_eq!((output.code(), output.stdout.as_str()), (0, "well\n"));
        assert!(!output.exit.timed_out);

        let mut command = shell("while :; do kill -STOP $PPID; done");
        command.timeout = Some(Duration::from_millis(200));
        command.grace = Duration::ZERO;
        assert!(run(&sandbox, &command).exit.timed_out);
    }
}

#[test]
fn who_is_in_the_group_of_a_command_has_the_grace_too_when_that_ends_at_once() {
    for plan in plans() {
        let sandbox = launch(&plan);
        // The shell ends by the signal; who it started says good-bye, takes a moment for it, and is not killed meanwhile.
        let marker = crate::support::marker();
        let polite =
            "trap 'sleep 0.3; echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done";
        let script = format!("(setsid sleep {marker} &) ; sh -c \"{polite}\" & wait");
        let mut command = shell(script);
        command.timeout = Some(Duration::from_millis(500));
        command.grace = LIMIT;
        let output = run(&sandbox, &command);
        assert!(output.exit.timed_out);
        assert_eq!(output.stdout, "ready\nbye\n");
        // Who left the group was asked nothing, and does not use the grace up.
        assert_eq!(processes_with(&marker), []);
    }
}

#[test]
fn a_grace_longer_than_any_clock_is_a_grace() {
    for plan in plans() {
        let sandbox = launch(&plan);
        let polite =
            "exec 2>&-; trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done";
        let (_run, mut output) = start_piped(&sandbox, &shell(polite));
        read_line(&mut output);
        sandbox.stop(Duration::MAX).unwrap();
        assert_eq!(read_line(&mut output), "bye");

        let sandbox = launch(&plan);
        let mut command = shell("exit 3");
        command.timeout = Some(Duration::MAX);
        command.grace = Duration::MAX;
        let null = null();
        let started = sandbox.spawn(&command, Stdio::Descriptors([null.as_fd(); 3]));
        let exit = started.unwrap().wait().unwrap();
        assert_eq!(exit.status, Status::Code(3));
    }
}
