//! Terminals: the one that a command gets inside, and the caller's, which is relayed to it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Stdio as ProcessStdio;
use std::time::Duration;

use ptest_sandbox::run::Event;
use ptest_sandbox::{Plan, Run, Sandbox, Status, Stdio, TerminalSize, terminal};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::{LIMIT, helper, lacks_namespaces, launch, read_line, shell, standard};

const SIZE: TerminalSize = TerminalSize {
    rows: 31,
    columns: 97,
};

fn with_each_isolation(test: impl Fn(&Sandbox)) {
    test(&launch(&Plan::bare()));
    if !lacks_namespaces() {
        test(&standard());
    }
}

fn on_terminal(sandbox: &Sandbox, script: &str) -> (Run, File) {
    let run = sandbox
        .spawn(&shell(script), Stdio::Terminal(SIZE))
        .unwrap();
    let controller = run.terminal().unwrap().try_clone_to_owned().unwrap();
    (run, controller.into())
}

fn line(reader: &mut File) -> String {
    read_line(reader).trim_end_matches('\r').to_owned()
}

fn end(run: &Run) -> Status {
    run.wait_for(LIMIT)
        .unwrap()
        .expect("the command does not end")
        .status
}

#[test]
fn a_command_gets_a_terminal_of_the_given_size_that_controls_it() {
    with_each_isolation(|sandbox| {
        let script =
            "test -t 0 && test -t 1 && test -t 2 && stty size && : > /dev/tty && echo controlled";
        let (run, mut terminal) = on_terminal(sandbox, script);
        assert_eq!(line(&mut terminal), "31 97");
        assert_eq!(line(&mut terminal), "controlled");
        assert_eq!(end(&run), Status::Code(0));
    });
}

#[test]
fn a_change_of_size_is_told_to_the_command() {
    with_each_isolation(|sandbox| {
        let script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done";
        let (run, mut terminal) = on_terminal(sandbox, script);
        assert_eq!(line(&mut terminal), "ready");
        let size = Winsize {
            ws_row: 11,
            ws_col: 22,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        assert_eq!(line(&mut terminal), "11 22");
        end(&run);
    });
}

#[test]
fn ctrl_c_interrupts_the_command() {
    with_each_isolation(|sandbox| {
        let (run, mut terminal) = on_terminal(sandbox, "echo ready; exec sleep 1000");
        assert_eq!(line(&mut terminal), "ready");
        terminal.write_all(b"\x03").unwrap();
        assert_eq!(
            end(&run),
            Status::Signal {
                signal: libc::SIGINT,
                core: false
            }
        );
    });
}

#[test]
fn ctrl_z_stops_the_command_until_it_is_continued() {
    with_each_isolation(|sandbox| {
        let (run, mut terminal) = on_terminal(sandbox, "echo ready; read line; echo got $line");
        assert_eq!(line(&mut terminal), "ready");
        terminal.write_all(b"\x1a").unwrap();
        assert_eq!(
            run.event(Some(LIMIT)).unwrap(),
            Some(Event::Stopped(libc::SIGTSTP))
        );
        run.signal_group(libc::SIGCONT).unwrap();
        terminal.write_all(b"more\n").unwrap();
        while line(&mut terminal) != "got more" {}
        assert_eq!(end(&run), Status::Code(0));
    });
}

#[test]
fn output_that_nobody_has_read_when_the_command_ends_is_not_lost() {
    with_each_isolation(|sandbox| {
        for _ in 0..20 {
            let (run, mut terminal) = on_terminal(sandbox, "seq 200");
            assert_eq!(end(&run), Status::Code(0));
            let mut text = Vec::new();
            // The end of a terminal whose other side is closed is an error.
            let _end = terminal.read_to_end(&mut text);
            assert!(String::from_utf8(text).unwrap().ends_with("\n200\r\n"));
        }
    });
}

#[test]
fn a_terminal_that_is_hung_up_ends_the_command() {
    with_each_isolation(|sandbox| {
        let (run, mut terminal) = on_terminal(sandbox, "echo ready; exec sleep 1000");
        assert_eq!(line(&mut terminal), "ready");
        drop(terminal);
        drop(run);
        crate::support::eventually("it is gone", || sandbox.usage().unwrap().processes == 0);
    });
}

/// A terminal of the host, as a terminal emulator has it, with a shell that runs the helper below.
struct Emulator {
    controller: File,
    side: OwnedFd,
    shell: std::process::Child,
}

impl Emulator {
    fn start(script: &str) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).unwrap();
        unlockpt(&controller).unwrap();
        let size = Winsize {
            ws_row: 44,
            ws_col: 55,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&controller, size).unwrap();
        let side = ioctl_tiocgptpeer(&controller, flags).unwrap();
        let relay = helper("terminals::helper_relay");
        let words = [relay.get_program()].into_iter().chain(relay.get_args());
        let line: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
        let job = format!(
            "set -m; {}; echo shell sees $?; fg >/dev/null; echo then $?",
            line.join(" ")
        );
        let stdio = || ProcessStdio::from(side.try_clone().unwrap());
        let shell = std::process::Command::new("setsid")
            .args(["--ctty", "--wait", "/bin/sh", "-c", &job])
            .env("PTEST_TEST_SCRIPT", script)
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        Self {
            controller: controller.into(),
            side,
            shell,
        }
    }

    fn until(&mut self, text: &str) {
        let mut seen = String::new();
        while !seen.contains(text) {
            let mut byte = [0];
            assert_eq!(
                self.controller.read(&mut byte).unwrap(),
                1,
                "{text:?} never came: {seen}"
            );
            seen.push(byte[0].into());
        }
    }

    fn types(&mut self, keys: &[u8]) {
        self.controller.write_all(keys).unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.side)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ended = self.shell.kill();
        let _reaped = self.shell.wait();
    }
}

#[test]
fn a_relayed_terminal_passes_keys_size_and_job_control_and_is_given_back() {
    if lacks_namespaces() {
        return;
    }
    let script = "stty size; read word; echo got $word; trap 'stty size' WINCH; echo again; \
                  while read word; do echo more $word; test $word = end && exit 3; done";
    let mut emulator = Emulator::start(script);
    emulator.until("44 55");
    assert!(emulator.is_raw());
    emulator.types(b"key\r");
    emulator.until("got key");
    emulator.until("again");

    emulator.types(b"\x1a");
    emulator.until("shell sees 148");
    // The shell has put the job into the foreground again.
    emulator.types(b"after\r");
    emulator.until("more after");
    assert!(emulator.is_raw());
    emulator.types(b"end\r");
    emulator.until("relayed 3");
    emulator.until("then 0");
    assert!(!emulator.is_raw());
}

#[test]
fn a_terminal_is_given_back_when_the_relaying_process_is_told_to_end() {
    if lacks_namespaces() {
        return;
    }
    let mut emulator = Emulator::start("echo ready $PPID; exec sleep 1000");
    emulator.until("relaying as ");
    let mut pid = String::new();
    loop {
        let mut byte = [0];
        emulator.controller.read_exact(&mut byte).unwrap();
        if !byte[0].is_ascii_digit() {
            break;
        }
        pid.push(byte[0].into());
    }
    emulator.until("ready");
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    emulator.until("relayed 143");
    emulator.until("shell sees 0");
    assert!(!emulator.is_raw());
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn helper_relay() {
    let Ok(script) = std::env::var("PTEST_TEST_SCRIPT") else {
        return;
    };
    let sandbox = standard();
    let (input, output) = (std::io::stdin(), std::io::stdout());
    println!("relaying as {}", std::process::id());
    let size = terminal::size(input.as_fd());
    let run = sandbox
        .spawn(&shell(script), Stdio::Terminal(size))
        .unwrap();
    let exit = terminal::relay(&run, input.as_fd(), output.as_fd()).unwrap();
    println!("relayed {}", exit.status.code());
    sandbox.stop(Duration::ZERO).unwrap();
}
