//! Runs one tool (an interpreter, uv, pip, git) and keeps what it said.
//!
//! A tool gets exactly the variables it is given, no input, its own process group, and a
//! deadline. Its output is drained without end but kept only in part (the head and the tail),
//! as bytes. What a tool means by its output is its caller's business.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// Bytes kept from the beginning of a stream, and as many from its end.
const KEPT: usize = 128 * 1024;
/// How often a running tool's cancellation is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Tells running tools to stop. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    own: Arc<AtomicBool>,
    parents: Vec<Arc<AtomicBool>>,
}

impl Cancel {
    /// Stops every tool that was given this value or a child of it, now and later.
    pub fn cancel(&self) {
        self.own.store(true, Ordering::Relaxed);
    }

    /// Whether [`Cancel::cancel`] was called, on this value or on one it is a child of.
    pub fn is_cancelled(&self) -> bool {
        [&self.own]
            .into_iter()
            .chain(&self.parents)
            .any(|flag| flag.load(Ordering::Relaxed))
    }

    /// A value that is cancelled with this one, and can be cancelled alone.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut parents = self.parents.clone();
        parents.push(Arc::clone(&self.own));
        Self {
            own: Arc::default(),
            parents,
        }
    }
}

/// How tools are started and stopped: the same for every tool of one operation.
#[derive(Debug, Clone, Default)]
pub struct Supervision {
    /// Words put before every command, for a launcher that makes the tool die with its parent.
    pub launcher: Vec<OsString>,
    /// Stops the running tool, and keeps the next one from starting.
    pub cancel: Cancel,
}

/// A command to run once.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) cwd: PathBuf,
    pub(crate) deadline: Duration,
}

impl Tool {
    pub(crate) fn new(program: impl Into<PathBuf>, cwd: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: cwd.into(),
            deadline: Duration::from_secs(30),
        }
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    pub(crate) fn envs(mut self, env: BTreeMap<OsString, OsString>) -> Self {
        self.env.extend(env);
        self
    }

    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs the tool to its end. An exit status other than zero is not an error here.
    pub(crate) fn run(&self, supervision: &Supervision) -> Result<ToolOutput, ToolError> {
        if supervision.cancel.is_cancelled() {
            return Err(ToolError::Cancelled);
        }
        let mut words = supervision
            .launcher
            .iter()
            .map(OsString::as_os_str)
            .chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or(self.program.as_os_str()));
        command
            .args(words)
            .args(&self.args)
            .env_clear()
            .envs(&self.env)
            .current_dir(&self.cwd)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = command.spawn().map_err(|source| ToolError::Start {
            program: self.program.clone(),
            source,
        })?;
        Running(child)
            .finish(self.deadline, &supervision.cancel)
            .map_err(|end| match end {
                End::Io(source) => ToolError::Watch {
                    program: self.program.clone(),
                    source,
                },
                End::Cancelled => ToolError::Cancelled,
                End::Deadline(output) => ToolError::Deadline {
                    program: self.program.clone(),
                    seconds: self.deadline.as_secs(),
                    words: output.stderr.text(),
                },
            })
    }
}

/// What a finished tool left behind.
#[derive(Debug)]
pub(crate) struct ToolOutput {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
}

/// Why a tool has no exit status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error("failed to start {program}", program = .program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("failed to watch {program}", program = .program.display())]
    Watch { program: PathBuf, source: io::Error },
    #[error("{program} did not finish within {seconds} s", program = .program.display())]
    Deadline {
        program: PathBuf,
        seconds: u64,
        words: String,
    },
    #[error("cancelled")]
    Cancelled,
}

/// The head and the tail of a stream.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    omitted: u64,
}

impl Captured {
    fn push(&mut self, mut bytes: &[u8]) {
        let room = KEPT - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        bytes = rest;
        self.tail.extend(bytes);
        let excess = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..excess);
        self.omitted += excess as u64;
    }

    /// Everything that was kept, as text; says how much is missing in between.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.omitted > 0 {
            text.push_str(&format!("\n[… {} bytes left out …]\n", self.omitted));
        }
        let (front, back) = self.tail.as_slices();
        text.push_str(&String::from_utf8_lossy(&[front, back].concat()));
        text
    }
}

/// A started tool; killed with its process group when dropped.
struct Running(Child);

enum End {
    Io(io::Error),
    Cancelled,
    Deadline(ToolOutput),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Running {
    /// Drains both streams until the tool has ended, then takes what is still in the pipes:
    /// a process it left behind may hold them open for ever.
    fn finish(mut self, deadline: Duration, cancel: &Cancel) -> Result<ToolOutput, End> {
        let started = Instant::now();
        let mut stdout = Stream::new(self.0.stdout.take())?;
        let mut stderr = Stream::new(self.0.stderr.take())?;
        let pidfd = pidfd_open(self.pid()?, PidfdFlags::empty()).map_err(io::Error::from)?;
        let mut timed_out = false;
        loop {
            let left = deadline.saturating_sub(started.elapsed());
            if cancel.is_cancelled() {
                return Err(End::Cancelled);
            }
            if left.is_zero() {
                timed_out = true;
                break;
            }
            let ended = {
                let mut watched = vec![PollFd::new(&pidfd, PollFlags::IN)];
                for stream in [&stdout, &stderr] {
                    if let Some(pipe) = &stream.pipe {
                        watched.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
                    }
                }
                wait(&mut watched, left.min(TICK))?;
                !watched[0].revents().is_empty()
            };
            stdout.drain()?;
            stderr.drain()?;
            if ended {
                break;
            }
        }
        if timed_out {
            self.kill_group();
        }
        let status = self.0.wait()?;
        let output = ToolOutput {
            status,
            stdout: stdout.kept,
            stderr: stderr.kept,
        };
        if timed_out {
            Err(End::Deadline(output))
        } else {
            Ok(output)
        }
    }

    fn pid(&self) -> io::Result<Pid> {
        i32::try_from(self.0.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the process id is out of range"))
    }

    fn kill_group(&self) {
        if let Ok(pid) = self.pid() {
            // The group may already be empty, which is what is wanted.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Also after a normal end: what the tool left running in its group is of no use to anyone.
        self.kill_group();
        let _ = self.0.wait();
    }
}

struct Stream {
    pipe: Option<File>,
    kept: Captured,
}

impl Stream {
    fn new<P: Into<OwnedFd>>(pipe: Option<P>) -> io::Result<Self> {
        let pipe = pipe.map(|pipe| File::from(pipe.into()));
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            pipe,
            kept: Captured::default(),
        })
    }

    /// Takes what is there now, without waiting; at the end of the stream lets go of the pipe.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.kept.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn wait(watched: &mut [PollFd<'_>], timeout: Duration) -> io::Result<()> {
    let timeout = Timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match poll(watched, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tool {
        Tool::new("/bin/sh", "/").args(["-c", script])
    }

    #[test]
    fn output_and_status_are_kept_apart() {
        let output = shell("echo out; echo err >&2; exit 3")
            .run(&Supervision::default())
            .unwrap();
        assert_eq!(output.stdout.text(), "out\n");
        assert_eq!(output.stderr.text(), "err\n");
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn endless_output_is_drained_and_only_its_ends_are_kept() {
        let output = shell("echo first; head -c 3000000 /dev/zero; echo last")
            .run(&Supervision::default())
            .unwrap();
        let text = output.stdout.text();
        assert!(text.starts_with("first\n"));
        assert!(text.ends_with("last\n"));
        assert!(text.len() < 3 * KEPT);
        assert!(text.contains("bytes left out"));
    }

    #[test]
    fn a_deadline_ends_the_whole_group_and_keeps_the_words() {
        let error = shell("echo working >&2; sleep 600 & sleep 600")
            .deadline(Duration::from_millis(300))
            .run(&Supervision::default())
            .unwrap_err();
        match error {
            ToolError::Deadline { words, .. } => assert_eq!(words, "working\n"),
            other => panic!("unexpected: {other:?}"),
        }
    }

    #[test]
    fn a_process_left_behind_does_not_keep_the_caller_waiting() {
        let started = Instant::now();
        let output = shell("setsid sleep 5 & echo done")
            .run(&Supervision::default())
            .unwrap();
        assert_eq!(output.stdout.text(), "done\n");
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_cancelled_operation_starts_nothing() {
        let supervision = Supervision::default();
        supervision.cancel.cancel();
        assert!(matches!(
            shell("true").run(&supervision),
            Err(ToolError::Cancelled)
        ));
    }

    #[test]
    fn only_the_given_variables_are_seen() {
        let output = Tool::new("/usr/bin/env", "/")
            .envs(BTreeMap::from([("ONE".into(), "1".into())]))
            .run(&Supervision::default())
            .unwrap();
        assert_eq!(output.stdout.text(), "ONE=1\n");
    }

    #[test]
    fn a_launcher_comes_before_the_program() {
        let supervision = Supervision {
            launcher: vec!["/usr/bin/env".into(), "LAUNCHED=1".into()],
            ..Supervision::default()
        };
        let output = Tool::new("/usr/bin/env", "/").run(&supervision).unwrap();
        assert_eq!(output.stdout.text(), "LAUNCHED=1\n");
    }
}
