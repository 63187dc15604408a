//! A command in an instance of this machine.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use async_trait::async_trait;
use ptest_sandbox::{Client, Leftovers, Run, Status, cgroup, terminal};
use rustix::process::Signal;

use super::directory::Directory;
use super::limits;
use super::root::Inside;
use crate::engine::{Command, Exit, ExitStatus, Instance, Process, RunUsage, Stdio};
use crate::error::Result;
use crate::runs::RunId;
use crate::settings::{Limit, Struck};
use crate::variables::{self, Places, Variables};

/// Starts a command by an instance's init.
pub(super) fn spawn(
    client: &Client,
    directory: Directory,
    instance: &Instance,
    inside: &Inside,
    run: Option<RunId>,
    command: Command,
) -> Result<Box<dyn Process>> {
    let Command {
        arguments,
        working_directory,
        caller,
        variables,
        stdio,
        timeout,
        grace,
    } = command;
    let request = ptest_sandbox::Command {
        environment: environment(instance, inside, &caller, &variables),
        arguments,
        directory: working_directory.unwrap_or_else(|| instance.settings.project.root.clone()),
        timeout,
        grace,
        leftovers: Leftovers::default(),
        key: run.map(RunId::key),
    };
    let run = match &stdio {
        Stdio::Descriptors {
            stdin,
            stdout,
            stderr,
        } => {
            let descriptors = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
            client.spawn(&request, ptest_sandbox::Stdio::Descriptors(descriptors))
        }
        Stdio::Terminal(size) => {
            let size = ptest_sandbox::TerminalSize {
                rows: size.rows,
                columns: size.columns,
            };
            client.spawn(&request, ptest_sandbox::Stdio::Terminal(size))
        }
    }?;
    Ok(Box::new(Running {
        run: Arc::new(run),
        directory,
        memory: limits::of(instance).memory,
    }))
}

struct Running {
    run: Arc<Run>,
    directory: Directory,
    memory: Option<u64>,
}

impl Running {
    /// How it ended. When memory has run out the kernel may have chosen init, and then nobody says so.
    fn end(&self, ended: Result<ptest_sandbox::Exit, ptest_sandbox::Error>) -> Result<Exit> {
        let error = match ended {
            Ok(ended) => return Ok(exit(ended)),
            Err(error) => error,
        };
        if let (ptest_sandbox::Error::Ended, Some(configured)) = (&error, self.memory)
            && let Some(reached) = cgroup::memory_ran_out(&self.directory.group_places()?)
        {
            return Ok(Exit {
                status: ExitStatus::Signal(Signal::KILL.as_raw()),
                timed_out: false,
                struck: Some(Struck {
                    limit: Limit::Memory,
                    configured,
                    reached: reached.max(configured),
                    ended: true,
                }),
                leaked: 0,
                usage: RunUsage::default(),
            });
        }
        Err(error.into())
    }
}

#[async_trait]
impl Process for Running {
    async fn signal(&self, signal: i32) -> Result<()> {
        Ok(self.run.signal_group(signal)?)
    }

    async fn wait(&self) -> Result<Exit> {
        self.end(self.run.wait())
    }

    async fn relay(&self, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<Exit> {
        self.end(terminal::relay(&self.run, input, output))
    }
}

fn exit(exit: ptest_sandbox::Exit) -> Exit {
    Exit {
        status: match exit.status {
            Status::Code(code) => ExitStatus::Code(code),
            Status::Signal { signal, .. } => ExitStatus::Signal(signal),
        },
        timed_out: exit.timed_out,
        struck: exit.struck,
        leaked: exit.leaked,
        usage: RunUsage {
            elapsed: exit.elapsed,
            user: exit.user_time,
            system: exit.system_time,
            memory_peak: exit.peak_memory_bytes,
            read: exit.read_bytes,
            written: exit.written_bytes,
        },
    }
}

fn environment(
    instance: &Instance,
    inside: &Inside,
    caller: &Variables,
    variables: &Variables,
) -> Vec<(OsString, OsString)> {
    let settings = &instance.settings;
    let places = Places {
        prefix: &inside.prefix,
        home: &inside.home,
        cache: &inside.cache,
        temporary: &inside.temporary,
        runtime: inside.runtime.as_deref(),
        store: inside.store.as_deref(),
        proxy: inside.proxy,
    };
    let mut set: Variables = settings
        .variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    set.extend(
        variables
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    variables::for_command(caller, places, &settings.pass, &set)
        .into_iter()
        .collect()
}
