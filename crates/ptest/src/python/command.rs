//! Runs one tool (an interpreter, uv, pip, git, a hook's command) and keeps what it said.
//!
//! A tool gets exactly the variables it is given, what it may read (nothing, as a rule), its own
//! process group, and a deadline. Its output is drained without end but kept only in part (the head and the tail),
//! as bytes. What a tool means by its output is its caller's business.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ptest_sandbox::init::ATTEND;
use ptest_sandbox::{Captured, Collector, Keep};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use tracing::{info, trace, warn};

/// How often a running tool's cancellation is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How much of the beginning of each stream is kept, and of its end.
const KEPT: usize = 128 << 10;
/// How long ending a tool in an orderly way may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells running tools to stop. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    own: Arc<AtomicBool>,
    parents: Vec<Arc<AtomicBool>>,
    limit: Option<TimeLimit>,
}

/// A time that is over at some moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimit {
    pub(crate) time: Duration,
    end: Instant,
}

impl TimeLimit {
    /// What is left of it.
    pub(crate) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

impl Cancel {
    /// Stops every tool that was given this value or a child of it, now and later.
    pub fn cancel(&self) {
        self.own.store(true, Ordering::Relaxed);
    }

    /// Whether [`Cancel::cancel`] was called, on this value or on one it is a child of, or the time of either is over.
    pub fn is_cancelled(&self) -> bool {
        let is_late = self.limit.as_ref().is_some_and(TimeLimit::is_over);
        let mut flags = [&self.own].into_iter().chain(&self.parents);
        is_late || flags.any(|flag| flag.load(Ordering::Relaxed))
    }

    /// The same, which besides is cancelled when this time is over, counted from now.
    ///
    /// What fails then is told as a [`Timeout`](crate::ErrorKind::Timeout), and has changed nothing.
    #[must_use]
    pub fn after(&self, time: Duration) -> Self {
        let end = Instant::now().checked_add(time);
        Self {
            limit: end.map(|end| TimeLimit { time, end }).or(self.limit),
            ..self.clone()
        }
    }

    /// The time that there is, if it is limited.
    pub(crate) fn limit(&self) -> Option<TimeLimit> {
        self.limit
    }

    /// A value that is cancelled with this one, and can be cancelled alone.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut parents = self.parents.clone();
        parents.push(Arc::clone(&self.own));
        Self {
            own: Arc::default(),
            parents,
            limit: self.limit,
        }
    }
}

/// How tools are started and stopped: the same for every tool of one operation.
#[derive(Debug, Clone, Default)]
pub struct Supervision {
    /// The program `ptest-init`, which runs every tool and sees to it that nothing of a tool
    /// outlives this process, however this process ends. Without it a tool's descendants may.
    pub attendant: Option<PathBuf>,
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
    pub(crate) input: Vec<u8>,
    pub(crate) deadline: Duration,
}

impl Tool {
    pub(crate) fn new(program: impl Into<PathBuf>, cwd: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: cwd.into(),
            input: Vec::new(),
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

    pub(crate) fn cwd(mut self, cwd: &Path) -> Self {
        cwd.clone_into(&mut self.cwd);
        self
    }

    pub(crate) fn envs(mut self, env: BTreeMap<OsString, OsString>) -> Self {
        self.env.extend(env);
        self
    }

    pub(crate) fn input(mut self, input: Vec<u8>) -> Self {
        self.input = input;
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
        let began = Instant::now();
        let program = self.program.display();
        trace!(%program, arguments = ?self.args, "starting");
        let result = self.run_now(supervision);
        let seconds = began.elapsed().as_secs_f64();
        match &result {
            Ok(output) => info!(%program, seconds, status = %output.status, "ran"),
            Err(error) => warn!(%program, seconds, %error, "did not end by itself"),
        }
        result
    }

    fn run_now(&self, supervision: &Supervision) -> Result<ToolOutput, ToolError> {
        let mut command = match &supervision.attendant {
            Some(attendant) => {
                let mut command = Command::new(attendant);
                command
                    .arg(ATTEND)
                    .arg(std::process::id().to_string())
                    .arg("--")
                    .arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        let start = |source| ToolError::Start {
            program: self.program.clone(),
            source,
        };
        command
            .args(&self.args)
            .env_clear()
            .envs(&self.env)
            .current_dir(&self.cwd)
            .stdin(self.stdin().map_err(start)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = command.spawn().map_err(start)?;
        let running = Running {
            child,
            attended: supervision.attendant.is_some(),
        };
        running
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

    /// A file in memory, so that nobody has to feed a tool that does not read.
    fn stdin(&self) -> io::Result<Stdio> {
        if self.input.is_empty() {
            return Ok(Stdio::null());
        }
        let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
        file.write_all(&self.input)?;
        file.rewind()?;
        Ok(file.into())
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

/// A started tool; ended with all that came from it when dropped.
struct Running {
    child: Child,
    attended: bool,
}

enum End {
    Io(io::Error),
    Cancelled,
    Deadline(Box<ToolOutput>),
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
        let keep = || Keep {
            head: KEPT,
            tail: KEPT,
            spill: None,
        };
        let pipes = [
            self.child.stdout.take().map(OwnedFd::from),
            self.child.stderr.take().map(OwnedFd::from),
        ];
        let mut collector = Collector::new(pipes.map(|pipe| pipe.map(|pipe| (pipe, keep()))))?;
        let pidfd = pidfd_open(self.pid()?, PidfdFlags::empty()).map_err(io::Error::from)?;
        let mut left = deadline;
        while !left.is_zero() && !collector.turn(pidfd.as_fd(), Some(left.min(TICK)))? {
            if cancel.is_cancelled() {
                return Err(End::Cancelled);
            }
            left = deadline.saturating_sub(started.elapsed());
        }
        let timed_out = left.is_zero();
        if timed_out {
            self.end();
        }
        let status = self.child.wait()?;
        let [stdout, stderr] = collector.finish(Duration::ZERO)?;
        let output = ToolOutput {
            status,
            stdout,
            stderr,
        };
        if timed_out {
            Err(End::Deadline(Box::new(output)))
        } else {
            Ok(output)
        }
    }

    fn pid(&self) -> io::Result<Pid> {
        i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the process id is out of range"))
    }

    /// Ends everything: in an orderly way where somebody sees to it, in any case the group.
    fn end(&mut self) {
        let Ok(pid) = self.pid() else { return };
        // Errors mean that it has ended, which is what is wanted.
        if self.attended && matches!(self.child.try_wait(), Ok(None)) {
            let _gone = kill_process(pid, Signal::TERM);
            if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
                let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
                let _late = wait(&mut watched, PATIENCE);
            }
        }
        let _gone = kill_process_group(pid, Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Also after a normal end: what the tool left running is of no use to anyone.
        self.end();
        let _ended = self.child.wait();
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
    fn endless_output_is_drained() {
        let output = shell("echo first; head -c 3000000 /dev/zero; echo last")
            .run(&Supervision::default())
            .unwrap();
        let text = output.stdout.text();
        assert!(text.starts_with("first\n") && text.ends_with("last\n"));
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

    /// As `Ptest` supervises; the directory holds the attendant.
    fn attended() -> (tempfile::TempDir, Supervision) {
        let directory = tempfile::tempdir().unwrap();
        let program = crate::init_program::InitProgram::install(directory.path()).unwrap();
        let supervision = Supervision {
            attendant: Some(program.path().to_owned()),
            ..Supervision::default()
        };
        (directory, supervision)
    }

    /// Leaves processes behind that are in no group, session or family of the tool.
    fn scatter(marker: &str) -> String {
        format!("(setsid sh -c 'sleep {marker} & sleep {marker}' &); echo there >&2")
    }

    fn marker(kind: u32) -> String {
        format!("{kind}{}", 200_000_000 + std::process::id())
    }

    fn processes_with(marker: &str) -> usize {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .filter(|line| String::from_utf8_lossy(line).contains(marker))
            .count()
    }

    fn eventually(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !condition() {
            assert!(Instant::now() < deadline, "never happened: {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_attended_tool_is_as_any_other() {
        let (_directory, supervision) = attended();
        let output = shell("echo out; echo err >&2; exit 3")
            .run(&supervision)
            .unwrap();
        assert_eq!(output.stdout.text(), "out\n");
        assert_eq!(output.stderr.text(), "err\n");
        assert_eq!(output.status.code(), Some(3));
        let output = Tool::new("/usr/bin/env", "/").run(&supervision).unwrap();
        assert_eq!(output.stdout.text(), "");
    }

    #[test]
    fn nothing_of_an_attended_tool_outlives_its_deadline_or_its_end() {
        let (_directory, supervision) = attended();
        let late = marker(1);
        let error = shell(&format!("{}; sleep {late}", scatter(&late)))
            .deadline(Duration::from_millis(300))
            .run(&supervision)
            .unwrap_err();
        assert!(matches!(error, ToolError::Deadline { words, .. } if words == "there\n"));
        assert_eq!(processes_with(&late), 0);
        let left = marker(2);
        shell(&scatter(&left)).run(&supervision).unwrap();
        assert_eq!(processes_with(&left), 0);
    }

    #[test]
    fn killing_this_process_leaves_nothing_of_an_attended_tool() {
        let (_directory, supervision) = attended();
        let marker = marker(3);
        let mut running = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact"])
            .arg("python::command::tests::helper_runs_a_tool")
            .env("PTEST_TEST_MARKER", &marker)
            .env("PTEST_TEST_INIT", supervision.attendant.unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the tool runs", || processes_with(&marker) >= 4);
        running.kill().unwrap();
        running.wait().unwrap();
        eventually("nothing is left", || processes_with(&marker) == 0);
    }

    #[test]
    #[ignore = "run by another test as a process of its own"]
    fn helper_runs_a_tool() {
        let Ok(marker) = std::env::var("PTEST_TEST_MARKER") else {
            return;
        };
        let supervision = Supervision {
            attendant: std::env::var_os("PTEST_TEST_INIT").map(PathBuf::from),
            ..Supervision::default()
        };
        let _ended = shell(&format!("{}; sleep {marker}", scatter(&marker)))
            .deadline(Duration::from_mins(1))
            .run(&supervision);
    }
}
