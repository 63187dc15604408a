//! Running one command to its end and keeping what it wrote, for the cases.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use ptest::engine::{Command, Exit, Instance, Process, Stdio};
use ptest::error::Result;
use ptest::runs::RunId;
use ptest::variables::Variables;

use super::{Subject, Task};

/// What a command wrote to standard output, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
}

/// Runs `task` in an active instance with `input` as its standard input.
pub fn output_of(
    subject: &dyn Subject,
    instance: &Instance,
    task: Task<'_>,
    input: &[u8],
) -> Result<Output> {
    let started = start(subject, instance, task, input, |_| {})?;
    // Read before waiting: a command that fills the pipe ends only when it is read.
    let (process, stdout) = started.into_output();
    let exit = block_on(process.wait())?;
    Ok(Output { exit, stdout })
}

/// A command that runs, its output being collected.
pub(super) struct Started {
    pub(super) process: Box<dyn Process>,
    stdout: File,
}

impl Started {
    /// All that it wrote; returns when its last holder has closed the pipe.
    pub(super) fn output(self) -> Vec<u8> {
        self.into_output().1
    }

    fn into_output(mut self) -> (Box<dyn Process>, Vec<u8>) {
        let mut bytes = Vec::new();
        self.stdout.read_to_end(&mut bytes).unwrap();
        (self.process, bytes)
    }

    /// How many bytes it wrote, none of them kept.
    pub(super) fn count(&mut self) -> usize {
        std::io::copy(&mut self.stdout, &mut std::io::sink()).unwrap() as usize
    }

    /// Waits for the first byte of output.
    pub(super) fn first_byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stdout.read_exact(&mut byte).unwrap();
        byte[0]
    }
}

/// Starts `task` as a run.
pub(super) fn start_run(
    subject: &dyn Subject,
    instance: &Instance,
    run: RunId,
    task: Task<'_>,
) -> Result<Started> {
    start_as(subject, instance, Some(run), task, b"", |_| {})
}

/// Starts `task`, adjusted by `adjust`, with `input` as its standard input.
pub(super) fn start(
    subject: &dyn Subject,
    instance: &Instance,
    task: Task<'_>,
    input: &[u8],
    adjust: impl FnOnce(&mut Command),
) -> Result<Started> {
    start_as(subject, instance, None, task, input, adjust)
}

fn start_as(
    subject: &dyn Subject,
    instance: &Instance,
    run: Option<RunId>,
    task: Task<'_>,
    input: &[u8],
    adjust: impl FnOnce(&mut Command),
) -> Result<Started> {
    let (stdin_reader, mut stdin_writer) = std::io::pipe().unwrap();
    let (stdout_reader, stdout_writer) = std::io::pipe().unwrap();
    let input = input.to_owned();
    // A thread of its own: input larger than a pipe waits for its reader.
    thread::spawn(move || stdin_writer.write_all(&input));
    let mut command = Command {
        arguments: subject.command(task),
        working_directory: None,
        caller: Variables::from([
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("SECRET".into(), "leaked".into()),
        ]),
        variables: Variables::new(),
        stdio: Stdio::Descriptors {
            stdin: stdin_reader.into(),
            stdout: stdout_writer.into(),
            stderr: OwnedFd::from(File::options().write(true).open("/dev/null").unwrap()),
        },
        timeout: None,
        grace: Duration::from_millis(50),
    };
    adjust(&mut command);
    let process = block_on(subject.engine().spawn(instance, run, command))?;
    Ok(Started {
        process,
        stdout: File::from(OwnedFd::from(stdout_reader)),
    })
}

/// Runs a future to its end on a runtime of its own.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}
