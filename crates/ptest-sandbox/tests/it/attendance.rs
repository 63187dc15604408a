//! Commands that are attended outside of a sandbox: they end with who asked for them, wholly.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use ptest_sandbox::init::ATTEND;

use crate::support::{eventually, helper, init_program, marker, processes_with, read_line};

fn attended(parent: u32, script: &str) -> Command {
    let mut command = Command::new(init_program());
    command
        .args([ATTEND, &parent.to_string(), "--", "/bin/sh", "-c", script])
        .stdin(Stdio::null());
    command
}

fn own(script: &str) -> Command {
    attended(std::process::id(), script)
}

/// Leaves a process in the command's group and one in a session of its own, without a parent.
fn scatter(marker: &str) -> String {
    format!("sleep {marker} & (setsid sh -c 'sleep {marker} & sleep {marker}' &)")
}

#[test]
fn an_attended_command_has_its_descriptors_and_its_end() {
    let output = own("cat; echo out; echo err >&2; exit 7").output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGSEGV, libc::SIGPIPE] {
        let status = own(&format!("kill -{signal} $$")).status().unwrap();
        assert_eq!(status.signal(), Some(signal), "{status:?}");
        assert!(!status.core_dumped() || signal == libc::SIGSEGV);
    }
}

#[test]
fn an_attended_command_that_cannot_be_run_says_so() {
    let run = |program: &str| {
        Command::new(init_program())
            .args([ATTEND, &std::process::id().to_string(), "--", program])
            .output()
            .unwrap()
    };
    let missing = run("/nonexistent");
    assert_eq!(missing.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nonexistent: No such file"));
    assert_eq!(run("/etc/passwd").status.code(), Some(126));
}

#[test]
fn what_an_attended_command_leaves_behind_ends_with_it() {
    let marker = marker();
    // The command ends only when its leftovers run.
    let script = format!(
        "{}; while [ $(grep -l {marker} /proc/[0-9]*/cmdline 2>/dev/null | wc -l) -lt 4 ]; do :; done; exit 3",
        scatter(&marker)
    );
    let status = own(&script).status().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(processes_with(&marker), []);
}

#[test]
fn an_attendant_that_is_told_to_end_ends_everything_first() {
    let marker = marker();
    let mut child = own(&format!("{}; echo there; sleep {marker}", scatter(&marker)))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(read_line(child.stdout.as_mut().unwrap()), "there");
    let attendant = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(attendant, rustix::process::Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(128 + libc::SIGTERM));
    assert_eq!(processes_with(&marker), []);
}

#[test]
fn killing_who_asked_ends_the_attended_command_and_all_it_started() {
    let marker = marker();
    let mut asking = helper("attendance::helper_asking")
        .env("PTEST_TEST_MARKER", &marker)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = asking.stdout.take().unwrap();
    while read_line(&mut output) != "there" {}
    assert!(processes_with(&marker).len() >= 2);
    asking.kill().unwrap();
    asking.wait().unwrap();
    eventually("all are gone", || processes_with(&marker).is_empty());
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn helper_asking() {
    let Ok(marker) = std::env::var("PTEST_TEST_MARKER") else {
        return;
    };
    let script = format!("{}; echo; echo there; sleep {marker}", scatter(&marker));
    own(&script).status().unwrap();
}

#[test]
fn who_is_already_gone_is_not_served() {
    let mut gone = Command::new("/bin/true").spawn().unwrap();
    gone.wait().unwrap();
    for parent in [gone.id(), 1] {
        let output = attended(parent, "echo ran").output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        assert_eq!(output.stdout, b"");
    }
    let nobody = Command::new(init_program())
        .args([ATTEND, "-1", "--", "/bin/true"])
        .status()
        .unwrap();
    assert_eq!(nobody.code(), Some(125));
}
