//! A complete engine without a kernel: for tests of what lies above engines.
//!
//! It runs no program. Its commands are `true`, `false`, `echo`, `cat`, `env`,
//! `sleep N`, `stubborn N` (writes a line, then
//! sleeps and ignores SIGTERM), `exit N`, `put NAME`
//! (stdin to a file of the instance) and `get NAME`, done by threads.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use ptest_store::{Stack, StackId};

use super::{
    Achieved, Capability, Change, ChangeKind, Command, Copied, Engine, Exit, ExitStatus, Instance,
    Listed, Process, Processes, RunUsage, Stdio, Upper, Usage,
};
use crate::environment::EnvironmentId;
use crate::error::{Error, ErrorKind, Result};
use crate::runs::RunId;
use crate::settings::{Network, Profile};
use crate::variables::{self, Places, Variables};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

type Files = Arc<Mutex<BTreeMap<OsString, Vec<u8>>>>;

/// An engine whose instances are entries of a map.
#[derive(Debug, Default)]
pub struct Memory {
    instances: Mutex<HashMap<EnvironmentId, Entry>>,
    /// What a stack made by a snapshot shows.
    snapshots: Mutex<HashMap<StackId, BTreeMap<OsString, Vec<u8>>>>,
}

#[derive(Debug, Default)]
struct Entry {
    active: bool,
    /// By generation.
    files: BTreeMap<u32, Files>,
    runs: Vec<Arc<Run>>,
}

impl Entry {
    fn files(&self, generation: u32) -> Files {
        self.files.get(&generation).cloned().unwrap_or_default()
    }
}

impl Memory {
    /// An engine without instances.
    pub fn new() -> Self {
        Self::default()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<EnvironmentId, Entry>> {
        lock(&self.instances)
    }

    /// The files that a stack begins with.
    fn shown_by(&self, stack: &Stack) -> Files {
        let files = lock(&self.snapshots).get(&stack.id()).cloned();
        Arc::new(Mutex::new(files.unwrap_or_default()))
    }
}

#[async_trait]
impl Engine for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capability(&self) -> Capability {
        Capability {
            files: true,
            restack: true,
            snapshot: true,
            signal: true,
            timeout: true,
            usage: true,
            processes: true,
            ..Capability::default()
        }
    }

    async fn create(&self, instance: &Instance) -> Result<()> {
        let mut instances = self.entries();
        if instances.contains_key(&instance.id) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("instance {} exists", instance.id),
            ));
        }
        let entry = Entry {
            files: BTreeMap::from([(0, self.shown_by(&instance.stack))]),
            ..Entry::default()
        };
        instances.insert(instance.id.clone(), entry);
        Ok(())
    }

    async fn activate(&self, instance: &Instance) -> Result<Achieved> {
        let mut instances = self.entries();
        let entry = instances
            .get_mut(&instance.id)
            .ok_or_else(|| unknown(&instance.id))?;
        if entry.active {
            return Err(Error::new(
                ErrorKind::IllegalState,
                format!("instance {} is active", instance.id),
            ));
        }
        entry.active = true;
        Ok(Achieved {
            profile: Profile::None,
            network: Network::Host,
            limits: Vec::new(),
            degraded: Vec::new(),
        })
    }

    async fn instances(&self) -> Result<Vec<EnvironmentId>> {
        Ok(self.entries().keys().cloned().collect())
    }

    async fn is_active(&self, id: &EnvironmentId) -> Result<bool> {
        Ok(self.entries().get(id).is_some_and(|entry| entry.active))
    }

    async fn deactivate(&self, id: &EnvironmentId, grace: Duration) -> Result<()> {
        let runs = match self.entries().get_mut(id) {
            Some(entry) => {
                entry.active = false;
                std::mem::take(&mut entry.runs)
            }
            None => return Ok(()),
        };
        for run in runs {
            run.signal(SIGTERM);
            if run.wait_for(Some(grace)).is_none() {
                run.signal(SIGKILL);
            }
            run.wait_for(None);
        }
        Ok(())
    }

    async fn spawn(
        &self,
        instance: &Instance,
        run: Option<RunId>,
        command: Command,
    ) -> Result<Box<dyn Process>> {
        let mut instances = self.entries();
        let entry = instances
            .get_mut(&instance.id)
            .ok_or_else(|| unknown(&instance.id))?;
        if !entry.active {
            return Err(Error::new(
                ErrorKind::IllegalState,
                format!("instance {} is not active", instance.id),
            ));
        }
        let program = Program::parse(&command.arguments)?;
        let variables = variables_for(instance, &command);
        let Stdio::Descriptors { stdin, stdout, .. } = command.stdio else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the memory engine has no terminals",
            ));
        };
        let words = command.arguments.join(OsStr::new(" "));
        let run = Arc::new(Run {
            id: run,
            command: words.to_string_lossy().into_owned(),
            ..Run::default()
        });
        entry.runs.push(Arc::clone(&run));
        let context = Context {
            stdin: stdin.into(),
            stdout: stdout.into(),
            variables,
            files: entry.files(instance.generation),
            run: Arc::clone(&run),
        };
        thread::spawn(move || {
            let status = program.run(
                context.stdin,
                context.stdout,
                &context.variables,
                &context.files,
                &context.run,
            );
            context.run.end(status);
        });
        Ok(Box::new(Started {
            run,
            deadline: command.timeout.map(|timeout| Instant::now() + timeout),
            grace: command.grace,
        }))
    }

    async fn signal(&self, id: &EnvironmentId, run: RunId, signal: i32) -> Result<bool> {
        let found = self.entries().get(id).and_then(|entry| {
            let mut runs = entry.runs.iter();
            runs.find(|one| one.id == Some(run) && lock(&one.state).exit.is_none())
                .cloned()
        });
        if let Some(run) = &found {
            run.signal(signal);
        }
        Ok(found.is_some())
    }

    async fn scratch_changes(&self, _: &Instance) -> Result<Vec<Change>> {
        Ok(Vec::new())
    }

    async fn usage(&self, id: &EnvironmentId) -> Result<Usage> {
        let processes = self.entries().get(id).map_or(0, |entry| {
            entry
                .runs
                .iter()
                .filter(|run| lock(&run.state).exit.is_none())
                .count()
        });
        Ok(Usage {
            processes: processes as u32,
            ..Usage::default()
        })
    }

    async fn processes(&self, id: &EnvironmentId) -> Result<Processes> {
        let instances = self.entries();
        let runs = instances.get(id).into_iter().flat_map(|entry| &entry.runs);
        let listed = (1..)
            .zip(runs)
            .filter(|(_, run)| lock(&run.state).exit.is_none())
            .map(|(pid, run)| Listed {
                pid,
                parent: None,
                started: 0,
                state: 'S',
                threads: 1,
                cpu: Duration::ZERO,
                memory: 0,
                command: run.command.clone(),
            });
        Ok(Processes {
            processes: listed.collect(),
            left_out: 0,
        })
    }

    async fn signal_process(
        &self,
        id: &EnvironmentId,
        process: &Listed,
        signal: i32,
    ) -> Result<bool> {
        let instances = self.entries();
        let index = usize::try_from(process.pid - 1).ok();
        let run = instances
            .get(id)
            .zip(index)
            .and_then(|(entry, index)| entry.runs.get(index))
            .filter(|run| lock(&run.state).exit.is_none());
        if let Some(run) = run {
            run.signal(signal);
        }
        Ok(run.is_some())
    }

    async fn disk(&self, id: &EnvironmentId) -> Result<u64> {
        let instances = self.entries();
        let files = instances.get(id).into_iter().flat_map(|entry| &entry.files);
        Ok(files
            .flat_map(|(_, files)| lock(files).values().map(Vec::len).collect::<Vec<_>>())
            .sum::<usize>() as u64)
    }

    async fn changes(&self, instance: &Instance) -> Result<Vec<Change>> {
        let instances = self.entries();
        let entry = instances
            .get(&instance.id)
            .ok_or_else(|| unknown(&instance.id))?;
        let shown = self.shown_by(&instance.stack);
        let (shown, files) = (lock(&shown), entry.files(instance.generation));
        let files = lock(&files);
        Ok(files
            .iter()
            .filter(|(name, contents)| shown.get(*name) != Some(*contents))
            .map(|(name, _)| Change {
                path: name.into(),
                kind: ChangeKind::Written,
            })
            .collect())
    }

    async fn restack(&self, instance: &Instance, stack: &Stack, upper: Upper) -> Result<u32> {
        let mut instances = self.entries();
        let entry = instances
            .get_mut(&instance.id)
            .ok_or_else(|| unknown(&instance.id))?;
        if entry.active {
            return Err(Error::new(
                ErrorKind::IllegalState,
                format!("instance {} is active", instance.id),
            ));
        }
        let next = instance.generation + 1;
        let files = self.shown_by(stack);
        if upper == Upper::Keep {
            lock(&files).extend(lock(&entry.files(instance.generation)).clone());
        }
        entry.files.insert(next, files);
        Ok(next)
    }

    async fn settle(&self, id: &EnvironmentId, generation: u32) -> Result<()> {
        if let Some(entry) = self.entries().get_mut(id) {
            entry.files.retain(|other, _| *other == generation);
        }
        Ok(())
    }

    async fn snapshot(&self, instance: &Instance) -> Result<Copied> {
        let changed = !self.changes(instance).await?.is_empty();
        let mut copied = Copied {
            stack: instance.stack.clone(),
            left_out: Vec::new(),
        };
        if changed {
            let instances = self.entries();
            let entry = instances
                .get(&instance.id)
                .ok_or_else(|| unknown(&instance.id))?;
            let files = lock(&entry.files(instance.generation)).clone();
            let mut hasher = blake3::Hasher::new();
            hasher.update(format!("{files:?}").as_bytes());
            copied.stack = instance.stack.with_top(hasher.finalize().into());
            lock(&self.snapshots).insert(copied.stack.id(), files);
        }
        Ok(copied)
    }

    async fn remove(&self, id: &EnvironmentId) -> Result<()> {
        self.deactivate(id, Duration::ZERO).await?;
        self.entries().remove(id);
        Ok(())
    }
}

struct Context {
    stdin: File,
    stdout: File,
    variables: Variables,
    files: Files,
    run: Arc<Run>,
}

/// One command: a signal on its way to the thread, and the end on its way back.
#[derive(Debug, Default)]
struct Run {
    id: Option<RunId>,
    command: String,
    state: Mutex<RunState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct RunState {
    signal: Option<i32>,
    exit: Option<ExitStatus>,
}

impl Run {
    fn signal(&self, signal: i32) {
        lock(&self.state).signal = Some(signal);
        self.changed.notify_all();
    }

    fn end(&self, status: ExitStatus) {
        lock(&self.state).exit = Some(status);
        self.changed.notify_all();
    }

    /// The end of the command, if it comes within `patience`.
    fn wait_for(&self, patience: Option<Duration>) -> Option<ExitStatus> {
        self.wait_until(patience, |state| state.exit)
    }

    fn wait_until<T>(
        &self,
        patience: Option<Duration>,
        found: impl Fn(&RunState) -> Option<T>,
    ) -> Option<T> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut state = lock(&self.state);
        loop {
            if let Some(value) = found(&state) {
                return Some(value);
            }
            state =
                match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                    None => self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner),
                    Some(Duration::ZERO) => return None,
                    Some(left) => {
                        self.changed
                            .wait_timeout(state, left)
                            .unwrap_or_else(PoisonError::into_inner)
                            .0
                    }
                };
        }
    }
}

struct Started {
    run: Arc<Run>,
    deadline: Option<Instant>,
    grace: Duration,
}

fn exit(status: ExitStatus, timed_out: bool) -> Exit {
    Exit {
        status,
        timed_out,
        struck: None,
        leaked: 0,
        usage: RunUsage::default(),
    }
}

#[async_trait]
impl Process for Started {
    async fn signal(&self, signal: i32) -> Result<()> {
        self.run.signal(signal);
        Ok(())
    }

    async fn wait(&self) -> Result<Exit> {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if let Some(status) = self.run.wait_for(left) {
            return Ok(exit(status, false));
        }
        self.run.signal(SIGTERM);
        let status = self.run.wait_for(Some(self.grace)).or_else(|| {
            self.run.signal(SIGKILL);
            self.run.wait_for(None)
        });
        Ok(exit(status.unwrap_or(ExitStatus::Signal(SIGKILL)), true))
    }

    async fn relay(&self, _: BorrowedFd<'_>, _: BorrowedFd<'_>) -> Result<Exit> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "the memory engine has no terminals",
        ))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.run.signal(SIGKILL);
    }
}

enum Program {
    Exit(i32),
    Echo(Vec<u8>),
    Cat,
    Env,
    Sleep { time: Duration, stubborn: bool },
    Put(OsString),
    Get(OsString),
}

impl Program {
    fn parse(arguments: &[OsString]) -> Result<Self> {
        let argument = |index: usize| {
            arguments
                .get(index)
                .map_or(OsStr::new(""), OsString::as_os_str)
        };
        let number = |index: usize| {
            argument(index)
                .to_str()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0)
        };
        Ok(match argument(0).to_str().unwrap_or_default() {
            "true" => Self::Exit(0),
            "false" => Self::Exit(1),
            "exit" => Self::Exit(number(1)),
            "echo" => {
                let mut line = arguments[1..].join(OsStr::new(" ")).into_vec();
                line.push(b'\n');
                Self::Echo(line)
            }
            "cat" => Self::Cat,
            "env" => Self::Env,
            "sleep" => Self::Sleep {
                time: Duration::from_secs(u64::from(number(1).unsigned_abs())),
                stubborn: false,
            },
            "stubborn" => Self::Sleep {
                time: Duration::from_secs(u64::from(number(1).unsigned_abs())),
                stubborn: true,
            },
            "put" => Self::Put(argument(1).to_owned()),
            "get" => Self::Get(argument(1).to_owned()),
            "/dev/null" => {
                return Err(Error::new(
                    ErrorKind::CommandNotExecutable,
                    "`/dev/null` cannot be executed",
                ));
            }
            _ => {
                let name = argument(0).display();
                return Err(Error::new(
                    ErrorKind::CommandNotFound,
                    format!("there is no command `{name}`"),
                ));
            }
        })
    }

    fn run(
        self,
        mut stdin: File,
        mut stdout: File,
        variables: &Variables,
        files: &Files,
        run: &Run,
    ) -> ExitStatus {
        let done = match self {
            Self::Exit(code) => return ExitStatus::Code(code),
            Self::Sleep { time, stubborn } => {
                if stubborn && stdout.write_all(b"\n").is_err() {
                    return ExitStatus::Code(1);
                }
                let ends = |state: &RunState| {
                    state
                        .signal
                        .filter(|signal| !(stubborn && *signal == SIGTERM))
                };
                return run
                    .wait_until(Some(time), ends)
                    .map_or(ExitStatus::Code(0), ExitStatus::Signal);
            }
            Self::Echo(line) => stdout.write_all(&line),
            Self::Cat => std::io::copy(&mut stdin, &mut stdout).map(drop),
            Self::Env => {
                let mut text = Vec::new();
                for (name, value) in variables {
                    text.extend_from_slice(name.as_bytes());
                    text.push(b'=');
                    text.extend_from_slice(value.as_bytes());
                    text.push(b'\n');
                }
                stdout.write_all(&text)
            }
            Self::Put(name) => {
                let mut contents = Vec::new();
                stdin
                    .read_to_end(&mut contents)
                    .map(|_| drop(lock(files).insert(name, contents)))
            }
            Self::Get(name) => match lock(files).get(&name) {
                Some(contents) => stdout.write_all(contents),
                None => return ExitStatus::Code(1),
            },
        };
        ExitStatus::Code(i32::from(done.is_err()))
    }
}

fn variables_for(instance: &Instance, command: &Command) -> Variables {
    let places = Places {
        prefix: Path::new("/ptest/env"),
        home: Path::new("/ptest/home"),
        cache: Path::new("/ptest/cache"),
        temporary: Path::new("/tmp"),
        runtime: None,
        store: None,
        proxy: None,
    };
    let mut set: Variables = instance
        .settings
        .variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    set.extend(command.variables.clone());
    variables::for_command(&command.caller, places, &instance.settings.pass, &set)
}

fn unknown(id: &EnvironmentId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no instance {id}"))
}

/// A thread that panicked while it held the lock left nothing half done: each
/// critical section is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
