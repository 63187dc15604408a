//! Processes that nobody waits for: one that disturbs nobody, and a `ptest` that waits for a command which was left running,
//! and ends with it.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

use ptest::runs::RunId;

use crate::{context::Context, error::CliError, exit_code::Exit, ui::Ui};

/// What is added to the priority of background work: the least urgent that there is (nice(2)).
const NICE: i32 = 19;

/// Makes this process one that disturbs nobody.
pub(crate) fn enter() {
    // Where it is refused the work is done all the same.
    let _ = rustix::process::nice(NICE);
}

/// Does what this process was asked for in another one, which [leaves](leave) when the command runs. Says what that one says,
/// and if it ends before, ends as it did.
pub(crate) fn detach(ui: &Ui, context: &Context) -> Result<Exit, CliError> {
    let failed = |source| CliError::Process {
        what: "start a process that waits for the command",
        source,
    };
    let gone = || failed(io::ErrorKind::NotFound.into());
    let program = context.host().program.as_ref().ok_or_else(gone)?;
    let mut arguments = context.arguments().to_vec();
    // Options end where the command begins, so that this one is the first.
    if let Some(option) = arguments
        .iter_mut()
        .find(|argument| *argument == "--detach")
    {
        *option = "--detached".into();
    }
    let mut waiting = Command::new(program)
        .args(arguments.iter().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut said = Vec::new();
    if let Some(mut stdout) = waiting.stdout.take() {
        stdout.read_to_end(&mut said).map_err(failed)?;
    }
    if said.is_empty() {
        let status = waiting.wait().map_err(failed)?;
        return Ok(match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Command(code as u8),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Failed,
        });
    }
    ui.data(said)?;
    Ok(Exit::Success)
}

/// Says which run it is that the caller can leave now, and lets go of all that is the caller's: its session, its streams, its
/// directory.
pub(crate) fn leave(ui: &Ui, run: RunId) -> Result<(), CliError> {
    let failed = |source| CliError::Process {
        what: "leave the caller",
        source,
    };
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(failed)?;
    // Who leads a process group, because it was started so, stays in its session.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/").map_err(|errno| failed(errno.into()))?;
    ui.data(format!("{run}\n"))?;
    rustix::stdio::dup2_stdout(&null)
        .and_then(|()| rustix::stdio::dup2_stderr(&null))
        .map_err(|errno| failed(errno.into()))
}
