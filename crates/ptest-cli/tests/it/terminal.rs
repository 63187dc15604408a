//! `run` on a terminal: what `script` gives to a shell with job control is a person's.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
};

use ptest_testkit::{require, requirement};

use crate::context::{PTEST, TestContext};

#[test]
fn a_stopped_command_goes_on_in_the_foreground_with_every_key_its_own() {
    require!(requirement::userns());
    require!(requirement::program("script"));
    let context = TestContext::new();
    let command = "echo ready; while read -r word; do echo \"got $word\"; done; echo end";
    for stop in ["\x1a", "kill"] {
        let job = format!(
            "set -m; '{PTEST}' run sh -c '{command}'; echo stopped $?; fg >/dev/null; echo ended $?"
        );
        let mut terminal = Terminal::new(&context, &job);
        terminal.until("ready\r\n");
        if stop == "kill" {
            // Of `timeout`, `script` and the shell that runs the job the only child is the next.
            let ptest = child(child(child(terminal.script.id())));
            let sent = Command::new("kill")
                .args(["-TSTP", &ptest.to_string()])
                .status();
            assert!(sent.unwrap().success());
        } else {
            terminal.types(stop);
        }
        terminal.until("stopped 148\r\n");
        terminal.types("after\r");
        // The caller's terminal adds nothing of its own to what the command's has sent.
        terminal.until("after\r\ngot after\r\n");
        terminal.types("\x04");
        terminal.until("end\r\nended 0\r\n");
        drop(terminal);
    }
    context.assert_nothing_is_left();
}

#[test]
fn a_command_in_the_background_runs_and_reads_when_it_comes_to_the_front() {
    require!(requirement::userns());
    require!(requirement::program("script"));
    let context = TestContext::new();
    let command = "echo running; read -r word; echo \"got $word\"";
    let job = format!(
        "set -m; '{PTEST}' run sh -c '{command}' & read -r go; fg >/dev/null; echo ended $?"
    );
    let mut terminal = Terminal::new(&context, &job);
    terminal.until("running\r");
    terminal.types("go\r");
    terminal.types("word\r");
    terminal.until("got word\r\n");
    terminal.until("ended 0\r\n");
    drop(terminal);
    context.assert_nothing_is_left();
}

/// The only child of a process.
pub(crate) fn child(process: u32) -> u32 {
    let children = format!("/proc/{process}/task/{process}/children");
    let child = std::fs::read_to_string(children).unwrap();
    child.trim().parse().unwrap()
}

/// A terminal in which a shell runs.
pub(crate) struct Terminal {
    pub(crate) script: Child,
}

impl Terminal {
    pub(crate) fn new(context: &TestContext, job: &str) -> Self {
        let known = context.command::<&str>([]);
        let variables = known
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        // What never comes fails the test and does not keep it.
        let script = Command::new("timeout")
            .args(["60", "script", "-qefc", job, "/dev/null"])
            .current_dir(context.project())
            .env_clear()
            .envs(variables)
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { script }
    }

    /// Reads until this has come; the end fails the test.
    pub(crate) fn until(&mut self, text: &str) {
        let output = self.script.stdout.as_mut().unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(text.as_bytes()) {
            let mut byte = [0];
            assert_eq!(
                output.read(&mut byte).unwrap(),
                1,
                "{text:?} never came: {:?}",
                String::from_utf8_lossy(&seen)
            );
            seen.push(byte[0]);
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        let input = self.script.stdin.as_mut().unwrap();
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _reaped = self.script.wait();
    }
}
