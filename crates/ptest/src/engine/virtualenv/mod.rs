//! Environments on this machine: a stack mounted as an overlay in a sandbox, or
//! copied where that is not to be had.
//!
//! An instance is a directory `envs/<id>` of the store; while it is active, an
//! init holds the lock on that directory and listens on a socket in it. Nothing
//! else is remembered: any process of the same user can use an instance.

mod changes;
mod clone;
mod directory;
mod driver;
mod limits;
mod lowers;
mod monitoring;
mod root;
mod running;
mod snapshot;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ptest_sandbox::{
    Client, LaunchOptions, Launcher, Listen, Owner, Sandbox, Term, cgroup, lock, proxy,
};
use ptest_store::{Stack, Store};

use self::directory::Directory;
use self::driver::{Driver, Mounts};
use self::root::Inside;
use super::{
    Achieved, Capability, Change, Command, Copied, Engine, HandedOver, HostFiles, Instance, Listed,
    Process, Processes, Samples, Seen, Upper, Usage,
};
use crate::disk;
use crate::environment::{self, EnvironmentId};
use crate::error::{Error, ErrorKind, Result};
use crate::init_program::InitProgram;
use crate::refusals::Refusals;
use crate::runs::RunId;
use crate::settings::Network;
use crate::timestamp::Timestamp;

/// Keeps environments of this machine.
#[derive(Debug)]
pub struct Virtualenv {
    store: Store,
    /// The directory of the instances' directories.
    instances: PathBuf,
    launcher: Launcher,
    /// How long an init may take to answer, if not as long as usual.
    patience: Option<Duration>,
    /// Held as long as the launcher may start it.
    _program: InitProgram,
    mounts: Mounts,
    /// The sandboxes that this process launched: dropping one ends it.
    launched: Mutex<HashMap<EnvironmentId, Sandbox>>,
}

impl Virtualenv {
    /// The engine of a store.
    pub fn new(store: &Store) -> Result<Self> {
        store.database().migrate("virtualenv", &[driver::SCHEMA])?;
        let program = InitProgram::install(&store.dir("bin")?)?;
        Ok(Self {
            store: store.clone(),
            instances: store.dir("envs")?,
            launcher: Launcher::new(program.path().to_owned()),
            patience: None,
            _program: program,
            mounts: Mounts::default(),
            launched: Mutex::default(),
        })
    }

    /// Sets how long the init of an instance may take to answer before it is killed.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.launcher = self.launcher.with_patience(patience);
        self.patience = Some(patience);
        self
    }

    /// The launcher of this engine's sandboxes, for probes.
    pub fn launcher(&self) -> &Launcher {
        &self.launcher
    }

    fn directory(&self, id: &EnvironmentId) -> Directory {
        Directory::of(&self.instances, id)
    }

    fn launched(&self) -> MutexGuard<'_, HashMap<EnvironmentId, Sandbox>> {
        self.launched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory of an instance that is not active, and the lock that keeps it so.
    fn at_rest(&self, id: &EnvironmentId) -> Result<(Directory, OwnedFd)> {
        let directory = self.directory(id);
        if !directory.exists() {
            return Err(unknown(id));
        }
        // A process that another thread is just starting has a copy of what is held, until it is
        // executed: whoever is no init lets go by itself.
        let mut tries = 8;
        loop {
            match lock::take(directory.path()) {
                Ok(held) => return Ok((directory, held)),
                Err(ptest_sandbox::Error::Locked { .. }) if self.client(id)?.is_some() => {
                    return Err(Error::new(
                        ErrorKind::IllegalState,
                        format!("environment {id} is active"),
                    ));
                }
                Err(ptest_sandbox::Error::Locked { .. }) if tries > 0 => {
                    tries -= 1;
                    lock::wait(directory.path())?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A connection to the instance's init, if it lives.
    fn client(&self, id: &EnvironmentId) -> Result<Option<Client>> {
        let directory = self.directory(id);
        if !directory.was_active() {
            return Ok(None);
        }
        match Client::connect(directory.open()?, OsStr::new(Directory::SOCKET)) {
            Ok(client) => Ok(Some(match self.patience {
                Some(patience) => client.with_patience(patience),
                None => client,
            })),
            Err(ptest_sandbox::Error::Ended) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl Engine for Virtualenv {
    fn name(&self) -> &'static str {
        "virtualenv"
    }

    fn capability(&self) -> Capability {
        Capability {
            files: true,
            host_files: true,
            restack: true,
            snapshot: true,
            hand_over: true,
            terminal: true,
            signal: true,
            timeout: true,
            usage: true,
            processes: true,
            samples: true,
            pids_limit: true,
            isolation: matches!(self.mounts.work(&self.store, &self.launcher), Ok(Ok(()))),
        }
    }

    async fn create(&self, instance: &Instance) -> Result<()> {
        let driver = Driver::choose(
            &self.mounts,
            &self.store,
            &self.launcher,
            &instance.settings,
        )?;
        self.directory(&instance.id)
            .create(&self.store, instance, &driver)
    }

    async fn activate(&self, instance: &Instance) -> Result<Achieved> {
        let (directory, held) = self.at_rest(&instance.id)?;
        let driver = directory.driver()?;
        directory.prepare(instance, &driver)?;
        let plan = root::plan(&self.store, &directory, instance, &driver)?;
        let limits = limits::of(instance);
        if limits.disk.is_none() {
            directory.lift_quota();
        }
        if limits::need_groups(&limits) {
            directory.keep_groups(&cgroup::places(instance.id.as_str()))?;
        }
        let options = LaunchOptions {
            owner: owner(&instance.owner),
            id: instance.id.to_string(),
            lock: Some(held),
            listen: Some(Listen {
                directory: directory.open()?,
                name: Directory::SOCKET.into(),
            }),
            proxy: way_out(&directory, instance, plan.network)?,
            ring: Some(directory.begin_ring()?),
            limits: limits::for_sandbox(&limits, &directory, &driver, instance),
            term: Term {
                left: instance.ends_at.map(|end| Timestamp::now().until(end)),
                idle: instance.settings.idle,
            },
            allow_weaker_limits: instance.settings.degrade,
        };
        let sandbox = self.launcher.launch(&plan.plan, options)?;
        let achieved = Achieved {
            profile: plan.profile,
            network: plan.network,
            limits: sandbox.limits().to_vec(),
            degraded: driver
                .instead()
                .into_iter()
                .chain((plan.plan.privileges.landlock && sandbox.landlock() == 0).then(|| {
                    "Landlock is not there: the kernel is older than 5.13, or has it switched off"
                        .to_owned()
                }))
                .chain(plan.given_up)
                .chain(limits::given_up(sandbox.limits()))
                .chain(sandbox.left_out().iter().map(|left| {
                    let why = std::io::Error::from_raw_os_error(left.errno);
                    format!("{} cannot be seen inside: {why}", left.path.display())
                }))
                .collect(),
        };
        self.launched().insert(instance.id.clone(), sandbox);
        Ok(achieved)
    }

    async fn instances(&self) -> Result<Vec<EnvironmentId>> {
        Directory::all(&self.instances)
    }

    async fn is_active(&self, id: &EnvironmentId) -> Result<bool> {
        Ok(self.client(id)?.is_some())
    }

    async fn deactivate(&self, id: &EnvironmentId, grace: Duration) -> Result<()> {
        let launched = self.launched().remove(id);
        if let Some(sandbox) = &launched {
            sandbox.stop(grace)?;
        }
        let directory = self.directory(id);
        // Another process may have ended ours before, and launched the one that runs now.
        match self.client(id)? {
            Some(client) => client.stop(grace)?,
            None if launched.is_some() => return directory.remove_groups(),
            None => {}
        }
        // An init that was killed may not be gone yet, and its groups were made by whoever launched it, who may be dead.
        if directory.was_active() {
            lock::wait(directory.path())?;
            directory.remove_groups()?;
        }
        Ok(())
    }

    async fn spawn(
        &self,
        instance: &Instance,
        run: Option<RunId>,
        command: Command,
    ) -> Result<Box<dyn Process>> {
        let client = self.client(&instance.id)?.ok_or_else(|| {
            if self.directory(&instance.id).exists() {
                Error::new(
                    ErrorKind::IllegalState,
                    format!("environment {} is not active", instance.id),
                )
            } else {
                unknown(&instance.id)
            }
        })?;
        let directory = self.directory(&instance.id);
        let inside = Inside::of(&self.store, &directory, instance, &directory.driver()?)?;
        running::spawn(&client, directory, instance, &inside, run, command)
    }

    async fn signal(&self, id: &EnvironmentId, run: RunId, signal: i32) -> Result<bool> {
        match self.client(id)? {
            Some(client) => Ok(client.signal_run(run.key(), signal)?),
            None => Ok(false),
        }
    }

    async fn usage(&self, id: &EnvironmentId) -> Result<Usage> {
        let Some(client) = self.client(id)? else {
            return Ok(Usage::default());
        };
        Ok(monitoring::usage(client.usage()?))
    }

    async fn samples(&self, id: &EnvironmentId, seen: Option<Seen>) -> Result<Samples> {
        match self.directory(id).read_ring()? {
            Some(ring) => monitoring::samples(&ring, seen),
            None => Ok(Samples::default()),
        }
    }

    async fn processes(&self, id: &EnvironmentId) -> Result<Processes> {
        match self.client(id)? {
            Some(client) => Ok(monitoring::processes(client.processes()?)),
            None => Ok(Processes::default()),
        }
    }

    async fn signal_process(
        &self,
        id: &EnvironmentId,
        process: &Listed,
        signal: i32,
    ) -> Result<bool> {
        match self.client(id)? {
            Some(client) => Ok(client.signal(&monitoring::listed(process), signal)?),
            None => Ok(false),
        }
    }

    async fn refusals(&self, id: &EnvironmentId) -> Result<Refusals> {
        Refusals::read(&self.directory(id).path().join(proxy::REFUSALS))
    }

    async fn disk(&self, id: &EnvironmentId) -> Result<u64> {
        disk::allocated(self.directory(id).path())
    }

    async fn changes(&self, instance: &Instance) -> Result<Vec<Change>> {
        let directory = self.directory(&instance.id);
        if !directory.exists() {
            return Err(unknown(&instance.id));
        }
        match directory.driver()? {
            Driver::Overlay => changes::of_upper(&directory.upper(instance.generation)),
            Driver::Clone { .. } => clone::changes(&directory, instance.generation),
        }
    }

    async fn scratch_changes(&self, instance: &Instance) -> Result<Vec<Change>> {
        let directory = self.directory(&instance.id);
        if !directory.exists() {
            return Err(unknown(&instance.id));
        }
        let mut changes = Vec::new();
        for (number, path) in root::scratch(instance).into_iter().enumerate() {
            let upper = directory.scratch(number).directory;
            if !upper.exists() {
                continue;
            }
            for change in changes::of_upper(&upper)? {
                changes.push(Change {
                    path: path.join(&change.path),
                    ..change
                });
            }
        }
        Ok(changes)
    }

    async fn host_files(&self, instance: &Instance) -> Result<HostFiles> {
        let directory = self.directory(&instance.id);
        if !directory.exists() {
            return Err(unknown(&instance.id));
        }
        let view = directory.view();
        Ok(match directory.driver()? {
            Driver::Overlay => {
                let mut trees = self.store.stack_paths(&instance.stack)?;
                trees.push(directory.upper(instance.generation));
                HostFiles {
                    trees,
                    prefix: view.clone(),
                    view,
                }
            }
            Driver::Clone { .. } => HostFiles {
                trees: vec![directory.tree()],
                prefix: directory.tree(),
                view,
            },
        })
    }

    async fn restack(&self, instance: &Instance, stack: &Stack, upper: Upper) -> Result<u32> {
        // Held until it is made, so that nobody mounts meanwhile.
        let (directory, _held) = self.at_rest(&instance.id)?;
        let (now, next) = (instance.generation, instance.generation + 1);
        directory.settle(&self.store, now)?;
        match (directory.driver()?, upper) {
            (Driver::Overlay, Upper::Keep) => return Ok(now),
            (Driver::Overlay, Upper::Drop) => directory.make_upper(next)?,
            (Driver::Clone { .. }, upper) => {
                clone::restack(&self.store, &directory, instance, next, stack, upper)?;
            }
        }
        Ok(next)
    }

    async fn settle(&self, id: &EnvironmentId, generation: u32) -> Result<()> {
        if !self.directory(id).exists() {
            return Ok(());
        }
        let (directory, _held) = self.at_rest(id)?;
        if matches!(directory.driver()?, Driver::Clone { .. }) {
            clone::point_at(&directory, generation)?;
        }
        directory.settle(&self.store, generation)
    }

    async fn snapshot(&self, instance: &Instance) -> Result<Copied> {
        let directory = self.directory(&instance.id);
        if !directory.exists() {
            return Err(unknown(&instance.id));
        }
        snapshot::copy(
            &self.store,
            &directory,
            instance,
            self.client(&instance.id)?,
        )
    }

    async fn hand_over(&self, instance: &Instance) -> Result<Option<HandedOver>> {
        // Held until it is out of reach, so that nobody mounts it.
        let (directory, _held) = self.at_rest(&instance.id)?;
        snapshot::hand_over(&self.store, &directory, instance)
    }

    async fn remove(&self, id: &EnvironmentId) -> Result<()> {
        self.deactivate(id, Duration::ZERO).await?;
        let directory = self.directory(id);
        if directory.exists() {
            directory.lift_quota();
            self.store.trash(directory.path())?;
        }
        Ok(())
    }
}

/// The way out of a network of its own, if there is to be one.
fn way_out(
    directory: &Directory,
    instance: &Instance,
    network: Network,
) -> Result<Option<proxy::Options>> {
    let allow = &instance.settings.allow;
    // Without isolation the choice was given up.
    if allow.is_empty() || network != Network::Private {
        return Ok(None);
    }
    Ok(Some(proxy::Options {
        record: Some(directory.open()?),
        ..proxy::Options::new(allow.clone())
    }))
}

/// Who a sandbox lives for whose environment lives for this one. Whoever launches it for somebody else must not take it along.
fn owner(owner: &environment::Owner) -> Owner {
    match owner {
        environment::Owner::Process(process) if process.pid == std::process::id() => Owner::Process,
        environment::Owner::Process(process) => Owner::Other {
            pid: process.pid,
            start_time: process.start_time,
        },
        environment::Owner::Detached => Owner::Detached,
    }
}

fn unknown(id: &EnvironmentId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no instance {id}"))
}
