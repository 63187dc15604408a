//! Runs one command in an environment, with the caller's terminal or streams, and tells how it ended.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use ptest::{
    Environment,
    config::{Config, format_duration},
    engine::{self, Command, ExitStatus, Process, Stdio, TerminalSize},
    settings,
};

use crate::{
    background, error::CliError, exit_code::Exit, host::Host, options::LogOptions, refusals::Watch,
    signals::Signals, ui::Ui,
};

/// A command to run.
pub(crate) struct Execution {
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: BTreeMap<OsString, OsString>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) output: Output,
}

/// What becomes of what the command writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// It goes to the caller's streams or terminal, and ptest has nothing to do with it.
    Passed,
    /// It is kept, up to so many bytes, and passed on there.
    Logged(u64),
    /// It is kept, up to so many bytes, and nobody is there: the caller is told the id of the run, and is left.
    Detached(u64),
}

impl Output {
    pub(crate) fn of(options: LogOptions, config: &Config) -> Self {
        let most = config.keep_output.bytes();
        match options {
            LogOptions { detached: true, .. } => Self::Detached(most),
            LogOptions { log: true, .. } => Self::Logged(most),
            _ => Self::Passed,
        }
    }
}

/// Runs the command to its end. Signals are the command's meanwhile, and held afterwards.
pub(crate) fn execute(
    ui: &Ui,
    host: &Host,
    signals: &Signals,
    environment: &Environment,
    execution: Execution,
) -> Result<Exit, CliError> {
    let is_detached = matches!(execution.output, Output::Detached(_));
    let is_terminal = !is_detached && host.terminals.stdin && host.terminals.stdout;
    let timeout = execution.timeout;
    let command = Command {
        arguments: execution.arguments,
        working_directory: host.working_directory.clone(),
        caller: host.variables.clone(),
        variables: execution.variables,
        stdio: if is_terminal {
            Stdio::Terminal(terminal_size())
        } else if is_detached {
            no_streams()?
        } else {
            streams()?
        },
        timeout,
        grace: execution.grace,
    };
    if let Some(signal) = signals.stopped_by() {
        return Err(CliError::Interrupted { signal });
    }
    let watch = Watch::begin(environment)?;
    let run = match execution.output {
        Output::Passed => environment.spawn(command),
        Output::Logged(most) | Output::Detached(most) => environment.spawn_logged(command, most),
    }?;
    warn_of_what_was_given_up(ui, environment)?;
    if is_detached {
        background::leave(ui, run.id())?;
    }
    let process: Arc<dyn Process> = Arc::new(run);
    let signalled = Arc::clone(&process);
    // A command that has ended meanwhile needs no signal; any other trouble shows when it is waited for.
    signals.pass_on(move |signal| drop(block_on(signalled.signal(signal))));
    let ended = if is_terminal {
        block_on(process.relay(io::stdin().as_fd(), io::stdout().as_fd()))
    } else {
        block_on(process.wait())
    };
    signals.hold();
    if let Some(watch) = watch {
        watch.tell(ui, environment);
    }
    Ok(exit(ui, ended??, timeout))
}

/// Engines need no driver of a runtime, so that any will do.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|source| CliError::Process {
            what: "start a runtime",
            source,
        })?;
    Ok(runtime.block_on(future))
}

fn exit(ui: &Ui, ended: engine::Exit, timeout: Option<Duration>) -> Exit {
    if ended.timed_out {
        let after = timeout.map_or_else(String::new, |timeout| {
            format!(" after {}", format_duration(timeout))
        });
        ui.error(format_args!("the command timed out{after} and was ended"));
        return Exit::TimedOut;
    }
    if let Some(struck) = ended.struck {
        ui.error(settings::tell(&struck));
    }
    match ended.status {
        // The kernel keeps eight bits of a code.
        ExitStatus::Code(code) => Exit::Command(code as u8),
        ExitStatus::Signal(signal) => Exit::Signal(signal),
    }
}

fn warn_of_what_was_given_up(ui: &Ui, environment: &Environment) -> Result<(), CliError> {
    for sentence in environment
        .record()?
        .achieved
        .map(|achieved| achieved.degraded.clone())
        .unwrap_or_default()
    {
        ui.warning(sentence);
    }
    Ok(())
}

fn streams() -> Result<Stdio, CliError> {
    let duplicate = |stream: BorrowedFd<'_>| {
        stream
            .try_clone_to_owned()
            .map_err(|source| CliError::Process {
                what: "pass the standard streams on",
                source,
            })
    };
    Ok(Stdio::Descriptors {
        stdin: duplicate(io::stdin().as_fd())?,
        stdout: duplicate(io::stdout().as_fd())?,
        stderr: duplicate(io::stderr().as_fd())?,
    })
}

fn no_streams() -> Result<Stdio, CliError> {
    let null = || {
        let opened = File::options().read(true).write(true).open("/dev/null");
        opened
            .map(OwnedFd::from)
            .map_err(|source| CliError::Process {
                what: "open /dev/null",
                source,
            })
    };
    Ok(Stdio::Descriptors {
        stdin: null()?,
        stdout: null()?,
        stderr: null()?,
    })
}

fn terminal_size() -> TerminalSize {
    // A terminal that does not know its size is what a serial line is.
    rustix::termios::tcgetwinsize(io::stdout()).map_or(
        TerminalSize {
            rows: 24,
            columns: 80,
        },
        |size| TerminalSize {
            rows: size.ws_row,
            columns: size.ws_col,
        },
    )
}
