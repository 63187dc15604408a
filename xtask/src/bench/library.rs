//! A library without the start of a process: a small program of crate `ptest`, or a script of the Python package, that takes
//! its own times.
//!
//! It reads one work a line on standard input, does it once and answers `<nanoseconds>` or `error <words>`, so that its rounds
//! take turns with everybody else's.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::program::Program;
use super::sets::Set;
use crate::process::Result;

/// How many mounts a machine has more that has many.
pub(crate) const MOUNTS: usize = 600;

/// The running program.
pub(crate) struct Library {
    state: RefCell<State>,
}

struct State {
    name: String,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Library {
    /// Starts it on the program's store and lets it learn every set.
    ///
    /// # Errors
    ///
    /// When it does not start or a set cannot be prepared.
    pub(crate) fn start(program: &Path, ptest: &Program, sets: &[Set]) -> Result<Self> {
        Self::start_with(Command::new(program), ptest, sets)
    }

    /// The same where the machine seems to have [`MOUNTS`] mounts more; `place` is an empty directory for them.
    ///
    /// # Errors
    ///
    /// When it does not start, or mounts cannot be made.
    pub(crate) fn start_among_mounts(
        program: &Path,
        ptest: &Program,
        sets: &[Set],
        place: &Path,
    ) -> Result<Self> {
        const SCRIPT: &str = "number=0; while [ $number -lt $1 ]; do number=$((number + 1)); \
                              mkdir -p \"$2/$number\" && mount --bind \"$2/$number\" \"$2/$number\" || exit 1; done; \
                              shift 2; exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--", "sh", "-c", SCRIPT, "sh"])
            .arg(MOUNTS.to_string())
            .arg(place)
            .arg(program);
        Self::start_with(command, ptest, sets)
    }

    fn start_with(mut command: Command, ptest: &Program, sets: &[Set]) -> Result<Self> {
        let (python, uv) = ptest.tools();
        command.arg(ptest.home()).arg(python).arg(uv);
        for set in sets {
            command.arg(set.name);
            command.arg(set.lock.as_deref().unwrap_or(Path::new("")));
        }
        Self::start_by(&mut command)
    }

    /// Starts another that answers likewise.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn start_by(command: &mut Command) -> Result<Self> {
        let name = Path::new(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(requests), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{name} has no pipes").into());
        };
        let state = State {
            name,
            child,
            requests,
            answers: BufReader::new(stdout),
        };
        Ok(Self {
            state: RefCell::new(state),
        })
    }

    /// Does one work, such as `create web`, and gives the time it took.
    ///
    /// # Errors
    ///
    /// What the library said.
    pub(crate) fn time(&self, work: &str) -> Result<Duration> {
        let mut state = self.state.borrow_mut();
        writeln!(state.requests, "{work}")?;
        let mut answer = String::new();
        state.answers.read_line(&mut answer)?;
        match answer.trim().parse() {
            Ok(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
            Err(_) if answer.is_empty() => Err(format!("{} ended at {work}", state.name).into()),
            Err(_) => Err(format!("{work}: {}", answer.trim()).into()),
        }
    }

    /// Lets it clean up and end.
    pub(crate) fn end(self) {
        let State {
            name,
            mut child,
            requests,
            ..
        } = self.state.into_inner();
        drop(requests);
        if let Err(error) = child.wait() {
            eprintln!("note: {name}: {error}");
        }
    }
}
