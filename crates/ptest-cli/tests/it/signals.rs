//! What signals to ptest do: before, while and instead of a command.

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

use ptest_testkit::{require, requirement};

use crate::context::{TestContext, wait_until};

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

pub(crate) fn send(process: u32, signal: i32) {
    let status = Command::new("kill")
        .args([format!("-{signal}"), process.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}
