//! What an environment runs on: one trait, one file for each engine.
//!
//! An engine keeps instances: it makes them, starts and stops their init, runs
//! commands in them and takes them away. It knows nothing of names, owners,
//! recipes, states or the database: those are written once, above this trait,
//! and so are package operations (they compute a new stack and call
//! [`Engine::restack`]).
//!
//! # How other engines map on it
//!
//! | here | a Docker container | a Kubernetes pod |
//! |---|---|---|
//! | [`Engine::create`] | `POST /containers/create`, the stack as read-only volumes or image layers, labelled with the id | the pod's manifest is recorded; nothing runs |
//! | [`Engine::activate`] | `POST /containers/ID/start`; ptest-init is the entry point and mounts the stack | the pod is created, ready when its init container has unpacked the stack |
//! | [`Engine::instances`] | `GET /containers/json?all=1` with the label of this store | a list by label |
//! | [`Engine::is_active`] | `State.Running` of inspect | phase `Running` and the container ready |
//! | [`Engine::deactivate`] | `POST /containers/ID/stop?t=GRACE` | the pod is deleted with `gracePeriodSeconds`; its volume claim stays |
//! | [`Engine::spawn`] | exec create and start; the hijacked stream is copied to and from the descriptors, exit code from exec inspect | `pods/exec` over a WebSocket, likewise; exit status from channel 3 |
//! | [`Process::signal`], [`Engine::signal`] | a second exec of `kill`, for Docker has no signal for an exec | the same |
//! | [`Process::relay`] | `Tty: true`, resize by `POST /exec/ID/resize` | `tty=true`, resize by channel 4 |
//! | [`Engine::usage`] | one frame of the stats stream | `metrics.k8s.io`, else the kubelet's summary |
//! | [`Engine::samples`] | the ring of ptest-init, by the archive API | the same, by an exec |
//! | [`Engine::processes`] | `GET /containers/ID/top` | an exec of `ps` |
//! | [`Engine::signal_process`] | an exec of `kill` | the same |
//! | [`Engine::changes`] | `GET /containers/ID/changes` | an exec that lists the upper directory |
//! | [`Engine::scratch_changes`] | none: a volume is written or not | none |
//! | [`Engine::host_files`] | none: the files are the daemon's | none |
//! | [`Engine::restack`] | another container on the new stack, its writable layer copied or empty; the generation is in its name | another volume claim, copied or empty; the generation is in its name |
//! | [`Engine::settle`] | containers of other generations are deleted | claims of other generations are deleted |
//! | [`Engine::snapshot`] | `POST /containers/ID/pause`, the archive of the changed paths, unpause | an exec that writes the upper directory as a tar, its processes stopped |
//! | [`Engine::hand_over`] | not to be had | not to be had |
//! | [`Engine::remove`] | `DELETE /containers/ID?force=1&v=1`, then seen gone | pod and claim deleted, then seen gone |
//!
//! Hence: commands get descriptors, not streams of a type of ours; everything
//! is async; an instance's place inside is asked of the engine, never assumed;
//! and no method needs the engine to be on this machine.

pub mod activity;
pub mod capability;
pub mod memory;
pub mod process;
pub mod virtualenv;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ptest_store::{Prepared, Stack, Store};
use serde::{Deserialize, Serialize};

pub use self::activity::{Listed, Meter, Processes, Sample, Samples, Seen, Traffic, Usage};
pub use self::capability::Capability;
pub use self::process::{Command, Exit, ExitStatus, Process, RunUsage, Stdio, TerminalSize};
use crate::environment::{EnvironmentId, Owner};
use crate::error::{Error, ErrorKind, Result};
use crate::refusals::Refusals;
use crate::runs::RunId;
use crate::settings::{Kept, Network, Profile, Settings};
use crate::timestamp::Timestamp;

/// What an engine is told of an environment.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The environment's identity.
    pub id: EnvironmentId,
    /// Its layers, bottom first.
    pub stack: Stack,
    /// What instances that may share caches have in common; without it the caches are its own.
    pub cache: Option<String>,
    /// What it is to be like.
    pub settings: Settings,
    /// Host directories that the interpreter needs, which must be readable inside.
    pub interpreter: Vec<PathBuf>,
    /// Who it lives for: it must end with that process, whichever activates it.
    pub owner: Owner,
    /// Which of the written parts that [`Engine::restack`] has made for it is its own; 0 at first.
    pub generation: u32,
    /// When its time is over, if that is limited: it ends by itself then.
    pub ends_at: Option<Timestamp>,
}

/// What became of the settings when an instance was activated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Achieved {
    /// The profile that holds.
    pub profile: Profile,
    /// What of the network is to be had.
    #[serde(default)]
    pub network: Network,
    /// How each limit is kept.
    #[serde(default)]
    pub limits: Vec<Kept>,
    /// What had to be given up, each a sentence for people.
    pub degraded: Vec<String>,
}

/// What happens to the upper when a stack is swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// What was written in the environment stays on top of the new stack.
    Keep,
    /// What was written in the environment is dropped.
    Drop,
}

/// A copy of what an instance shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The stack that shows it.
    pub stack: Stack,
    /// What a layer cannot hold and the copy lacks, each a sentence for people.
    pub left_out: Vec<String>,
}

/// What was written in an instance, to become a layer.
#[derive(Debug)]
pub struct HandedOver {
    /// What it is, in the instance's own place until it is published.
    pub written: Prepared,
    /// The generation in which nothing is written.
    pub generation: u32,
}

/// A path that is not as the stack has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path, relative to the environment's prefix.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// Where an instance's files are on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFiles {
    /// Directories that overlayfs would merge, bottom first.
    pub trees: Vec<PathBuf>,
    /// Where a view of them can be kept: it goes with the instance.
    pub view: PathBuf,
    /// A path at which commands in the instance see its tree: the view's own, if they can.
    pub prefix: PathBuf,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was made, replaced or changed.
    Written,
    /// It was deleted.
    Deleted,
}

/// Keeps instances of environments.
///
/// Each method says under *Behaviour* what every engine does; the suite in
/// ptest-testkit tests exactly those lines. An engine may be called from many
/// threads; calls for different instances never wait for each other. Calls for
/// one instance are serialised by the caller.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    /// The engine's name, as on the command line.
    fn name(&self) -> &'static str;

    /// What this engine can do on this machine.
    fn capability(&self) -> Capability;

    /// Makes an instance, at rest.
    ///
    /// *Behaviour*
    /// - A created instance is not active.
    /// - Creating an id that exists is `AlreadyExists` and leaves the instance as it was.
    /// - An instance that could not be made leaves nothing behind.
    async fn create(&self, instance: &Instance) -> Result<()>;

    /// Starts the instance's init on its stack.
    ///
    /// *Behaviour*
    /// - When it returns, commands can be run.
    /// - Activating an active instance is `IllegalState`.
    /// - Activating an unknown instance is `NotFound`.
    /// - What was written before deactivation is there again.
    async fn activate(&self, instance: &Instance) -> Result<Achieved>;

    /// Every instance that there is, known to anyone or not.
    ///
    /// *Behaviour*
    /// - A created instance is among them until it is removed.
    async fn instances(&self) -> Result<Vec<EnvironmentId>>;

    /// Whether the instance's init runs.
    ///
    /// *Behaviour*
    /// - An unknown instance is not active.
    async fn is_active(&self, id: &EnvironmentId) -> Result<bool>;

    /// Ends everything that runs in the instance, then its init.
    ///
    /// *Behaviour*
    /// - When it returns, nothing of the instance runs, however it hid.
    /// - Commands get SIGTERM first and `grace` to end.
    /// - Deactivating an instance that is not active changes nothing.
    async fn deactivate(&self, id: &EnvironmentId, grace: Duration) -> Result<()>;

    /// Starts a command in an active instance, which [`Engine::signal`] finds if it is a run.
    ///
    /// *Behaviour*
    /// - The command's streams are the descriptors given, as they are.
    /// - Its first directory of `PATH` is the environment's `bin`.
    /// - It sees a variable that was set, and none that was not passed.
    /// - A command that does not exist is `CommandNotFound`.
    /// - A command that cannot be executed is `CommandNotExecutable`.
    /// - Spawning in an instance that is not active is `IllegalState`.
    async fn spawn(
        &self,
        instance: &Instance,
        run: Option<RunId>,
        command: Command,
    ) -> Result<Box<dyn Process>>;

    /// Sends a signal to the command of a run and to the process group that it leads, whichever process started it. Gives
    /// whether there is one that has not ended.
    ///
    /// Requires [`Capability::signal`].
    ///
    /// *Behaviour*
    /// - The command of that run ends by a signal that it does not handle, and no other does.
    /// - A run that has ended, and one that is not of the instance, is not there.
    /// - In an instance that is not active there is none.
    async fn signal(&self, id: &EnvironmentId, run: RunId, signal: i32) -> Result<bool>;

    /// What the instance uses now.
    ///
    /// Requires [`Capability::usage`].
    ///
    /// *Behaviour*
    /// - A running command is counted among the processes.
    /// - An instance that is not active uses nothing.
    async fn usage(&self, id: &EnvironmentId) -> Result<Usage>;

    /// What was sampled of the instance's use since it was last activated, after what was seen.
    ///
    /// Samples are taken once a second while something is done, and one when nothing runs any more; they stay when it is
    /// deactivated, until it is activated again. How many are kept is the engine's choice. An engine that takes none gives
    /// none.
    ///
    /// *Behaviour*
    /// - What was seen is not given again.
    /// - The last sample of an instance that was deactivated has no processes.
    async fn samples(&self, id: &EnvironmentId, seen: Option<Seen>) -> Result<Samples> {
        let _ = (id, seen);
        Ok(Samples::default())
    }

    /// The processes of the instance's commands.
    ///
    /// Requires [`Capability::processes`].
    ///
    /// *Behaviour*
    /// - A running command is among them, and not when it has ended.
    /// - An instance that is not active has none.
    async fn processes(&self, id: &EnvironmentId) -> Result<Processes> {
        Err(self.lacks_processes(id))
    }

    /// Sends a signal to a process that was listed; `false` if it has ended.
    ///
    /// Requires [`Capability::processes`].
    ///
    /// *Behaviour*
    /// - A command that is killed ends.
    /// - A process that has ended is not signalled, whoever has its id now.
    async fn signal_process(
        &self,
        id: &EnvironmentId,
        process: &Listed,
        signal: i32,
    ) -> Result<bool> {
        let _ = (process, signal);
        Err(self.lacks_processes(id))
    }

    /// What an engine says that shows no processes.
    fn lacks_processes(&self, id: &EnvironmentId) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "the engine `{}` shows no processes of environment {id}",
                self.name()
            ),
        )
    }

    /// What was refused to the instance's commands beyond the hosts that its settings allow.
    ///
    /// An engine without a proxy of its own has refused nothing.
    ///
    /// *Behaviour*
    /// - An instance that asked for nothing was refused nothing.
    async fn refusals(&self, id: &EnvironmentId) -> Result<Refusals> {
        let _ = id;
        Ok(Refusals::default())
    }

    /// The bytes that the instance alone takes on disk: what the stack shows without being changed
    /// is everybody's.
    ///
    /// Requires [`Capability::files`].
    ///
    /// *Behaviour*
    /// - What was written in the instance counts.
    /// - An unknown instance takes nothing.
    async fn disk(&self, id: &EnvironmentId) -> Result<u64>;

    /// What was written in the instance, on top of its stack.
    ///
    /// Requires [`Capability::files`].
    ///
    /// *Behaviour*
    /// - A file that was written is among them, the instance being active or not.
    /// - An instance in which nothing was written has none.
    async fn changes(&self, instance: &Instance) -> Result<Vec<Change>>;

    /// What commands changed in the project, if that is kept apart: paths are the host's.
    ///
    /// *Behaviour*
    /// - Without [`Settings::scratch`] there is nothing.
    async fn scratch_changes(&self, instance: &Instance) -> Result<Vec<Change>>;

    /// Where the instance's files are on this machine.
    ///
    /// Requires [`Capability::host_files`].
    ///
    /// *Behaviour*
    /// - A file that was written is in the last of the trees.
    async fn host_files(&self, instance: &Instance) -> Result<HostFiles> {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the engine `{}` keeps no files of environment {} on this machine",
                self.name(),
                instance.id
            ),
        ))
    }

    /// Makes what an instance that is not active will be on another stack, beside what it is, and
    /// gives the generation that this is known by.
    ///
    /// Nothing has happened to the instance until its caller goes on with that stack and that
    /// generation; [`Engine::settle`] drops what is of no other use then. So the caller's own
    /// record decides, in one step, which of them is true.
    ///
    /// Requires [`Capability::restack`].
    ///
    /// *Behaviour*
    /// - The generation that was made sees the new stack when it is activated.
    /// - With [`Upper::Keep`] what was written stays, with [`Upper::Drop`] it is gone.
    /// - The generation before is as it was until it is settled otherwise.
    /// - Restacking an active instance is `IllegalState` and changes nothing.
    async fn restack(&self, instance: &Instance, stack: &Stack, upper: Upper) -> Result<u32>;

    /// Drops every generation of an instance that is not active but this one.
    ///
    /// Requires [`Capability::restack`].
    ///
    /// *Behaviour*
    /// - What the instance is stays as it is.
    /// - Settling an unknown instance changes nothing.
    async fn settle(&self, id: &EnvironmentId, generation: u32) -> Result<()>;

    /// Copies what was written in the instance into a layer: gives the stack that shows what the
    /// instance shows.
    ///
    /// An active instance is stopped while its files are copied, and goes on. The layer is nobody's
    /// yet: the caller holds a lease.
    ///
    /// Requires [`Capability::snapshot`].
    ///
    /// *Behaviour*
    /// - An instance of the stack shows what this one showed.
    /// - What is written afterwards is not in it.
    /// - An instance in which nothing was written gives its own stack.
    /// - What runs in an active instance goes on.
    async fn snapshot(&self, instance: &Instance) -> Result<Copied>;

    /// Lets what was written in an instance that is not active become a layer itself, without a
    /// copy, and makes a generation in which nothing is written. `None` where that is not to be had:
    /// of what a layer cannot hold, or a process can still write to. Then it can be copied
    /// ([`Engine::snapshot`]).
    ///
    /// As with [`Engine::restack`], nothing has happened to the instance until its caller goes on:
    /// with that generation once the layer is published and in the stack, else with the one before,
    /// settled.
    ///
    /// Requires [`Capability::hand_over`].
    ///
    /// *Behaviour*
    /// - The new generation on the stack with that layer shows what the instance showed.
    /// - Settled as it was, the instance shows what it showed.
    /// - An instance in which nothing was written hands nothing over.
    async fn hand_over(&self, _instance: &Instance) -> Result<Option<HandedOver>> {
        Ok(None)
    }

    /// Takes an instance away, active or not.
    ///
    /// *Behaviour*
    /// - When it returns, its processes, mounts and files are gone.
    /// - Removing an unknown instance changes nothing: recovery removes what may be half gone.
    async fn remove(&self, id: &EnvironmentId) -> Result<()>;
}

/// The engines that come with the library.
pub(crate) fn all(store: &Store) -> Result<Vec<Arc<dyn Engine>>> {
    Ok(vec![Arc::new(virtualenv::Virtualenv::new(store)?)])
}
