//! The handle to one environment: everything that is done with it.
//!
//! Not for packages: see `packages`.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use ptest_store::Stack;

use super::table::{self, Change, Record};
use super::{EnvironmentId, State};
use crate::collect::reserve;
use crate::engine::{Command, Listed, Process, Processes, Usage};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Cause, Event};
use crate::improve;
use crate::improve::table::Use;
use crate::lock::Lock;
use crate::operation;
use crate::ports::PortLease;
use crate::ptest::Ptest;
use crate::refusals::Refusals;
use crate::runs::{ActiveRun, Streams};
use crate::settings::Profile;
use crate::spec::Lifetime;
use crate::steps::reach;
use crate::timestamp::Timestamp;

/// One environment of an open store.
///
/// A handle made by [`Ptest::create`] for the calling process takes the
/// environment away when it is dropped; in a forked child it does not.
#[derive(Debug)]
pub struct Environment {
    pub(crate) ptest: Ptest,
    id: EnvironmentId,
    /// The process whose drop of this handle removes the environment.
    removed_by: Option<u32>,
}

/// What an environment is doing now.
#[derive(Clone, Debug)]
pub struct Status {
    /// What is recorded of it, its state being true now.
    pub record: Record,
    /// What it uses now.
    pub usage: Usage,
    /// Where its [view](Environment::view) is, once that was made.
    pub path: PathBuf,
    /// The ports that are leased to it.
    pub ports: Vec<PortLease>,
}

/// What an environment takes on disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What it alone takes, and what goes with it.
    pub private: u64,
    /// The files of its layers, which it may have in common with others.
    pub shared: u64,
}

impl Environment {
    pub(crate) fn new(ptest: Ptest, id: EnvironmentId, lifetime: Lifetime) -> Self {
        let removed_by = (lifetime == Lifetime::Process).then(std::process::id);
        Self {
            ptest,
            id,
            removed_by,
        }
    }

    /// Its identity.
    pub fn id(&self) -> &EnvironmentId {
        &self.id
    }

    /// What is recorded of it.
    pub fn record(&self) -> Result<Record> {
        table::by_id(self.ptest.store().database(), &self.id)?.ok_or_else(|| self.removed())
    }

    /// What it is doing now.
    pub fn status(&self) -> Result<Status> {
        let record = self.record()?;
        let ports = self.ports()?;
        self.ptest.status_of(record, ports)
    }

    /// The ports that are leased to it, by port. Commands see those with a name as variables
    /// ([`PortName::variable`](crate::PortName::variable)); in a network of the environment's own they have all ports.
    pub fn ports(&self) -> Result<Vec<PortLease>> {
        self.ptest.ports_of(&self.id)
    }

    /// What it takes on disk. Looks at everything that was written in it.
    pub fn disk(&self) -> Result<Disk> {
        let record = self.record()?;
        let engine = self.ptest.engine(&record.engine)?;
        let store = self.ptest.store();
        let stack = match store.stack(&record.stack) {
            // What is gone takes nothing; `verify` says that it is gone.
            Err(ptest_store::Error::StackMissing { .. }) => Stack::default(),
            stack => stack?,
        };
        Ok(Disk {
            private: self.ptest.block_on(engine.disk(&record.id))?,
            shared: store.stack_bytes(&stack)?,
        })
    }

    /// The processes of its commands; none where its engine shows none.
    pub fn processes(&self) -> Result<Processes> {
        let record = self.record()?;
        let engine = self.ptest.engine(&record.engine)?;
        match self.ptest.block_on(engine.processes(&record.id)) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Processes::default()),
            processes => processes,
        }
    }

    /// Sends a signal to one of its processes; `false` if that has ended.
    pub fn signal(&self, process: &Listed, signal: i32) -> Result<bool> {
        let record = self.record()?;
        let engine = self.ptest.engine(&record.engine)?;
        let sent = engine.signal_process(&record.id, process, signal);
        self.ptest.block_on(sent)
    }

    /// What its commands were refused beyond the hosts that they are allowed. What is new of it is recorded as events.
    pub fn refusals(&self) -> Result<Refusals> {
        let record = self.record()?;
        self.ptest.refusals_of(&record)
    }

    /// Starts its init; `false` when it was active already.
    pub fn activate(&self) -> Result<bool> {
        self.operation("activate", || self.ptest.with_room(|| self.activate_now()))
    }

    fn activate_now(&self) -> Result<bool> {
        let (lock, record) = self.operate()?;
        let changed = self.activate_locked(record)?;
        drop(lock);
        Ok(changed)
    }

    /// Ends all that runs in it, then its init; `false` when it was at rest already.
    pub fn deactivate(&self, grace: Duration) -> Result<bool> {
        self.operation("deactivate", || self.deactivate_now(grace))
    }

    fn deactivate_now(&self, grace: Duration) -> Result<bool> {
        let (lock, record) = self.operate()?;
        let changed = record.state == State::Active;
        if changed {
            self.deactivate_locked(record, grace)?;
        }
        drop(lock);
        Ok(changed)
    }

    /// Starts a command in it; one at rest is activated first. From here on the command is on [record](crate::runs).
    pub fn spawn(&self, command: Command) -> Result<ActiveRun> {
        let streams = Streams::of(&command.stdio);
        self.spawn_with(command, streams, None)
    }

    /// The same for a command whose output is kept in the log of the run, up to so many bytes, and passed on to its streams or
    /// its terminal by this process.
    ///
    /// Both streams are taken all the time, each is passed on unchanged and in order, and no faster than it is taken. The
    /// end of the command is the end of the log: what a process writes that it left behind is lost.
    pub fn spawn_logged(&self, command: Command, most: u64) -> Result<ActiveRun> {
        let streams = Streams::of(&command.stdio);
        self.spawn_with(command, streams, Some(most))
    }

    /// The same, for whoever knows better where the streams lead.
    pub(crate) fn spawn_with(
        &self,
        command: Command,
        streams: Streams,
        log: Option<u64>,
    ) -> Result<ActiveRun> {
        let mut record = self.record()?;
        if record.state != State::Active || !self.ptest.is_active(&record)? {
            self.activate()?;
            record = self.record()?;
        }
        match ActiveRun::begin(&self.ptest, &record, command, streams, log) {
            // Another ended it as the command was about to start. Whether it is there at all is known when that one is done.
            // Not tried again: the command may have begun.
            Err(error) if error.kind() == ErrorKind::IllegalState => {
                self.operate()?;
                Err(error.with_hint("another process ended it meanwhile; run the command again"))
            }
            begun => begun,
        }
    }

    /// Waits for a command: [`Process::wait`] for callers that are not async.
    pub fn wait(&self, process: &dyn Process) -> Result<crate::engine::Exit> {
        self.ptest.block_on(process.wait())
    }

    /// Connects a terminal with that of a command until it ends: [`Process::relay`] for callers that are not async.
    pub fn relay(
        &self,
        process: &dyn Process,
        input: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
    ) -> Result<crate::engine::Exit> {
        self.ptest.block_on(process.relay(input, output))
    }

    /// Signals a command: [`Process::signal`] for callers that are not async.
    pub fn signal_command(&self, process: &dyn Process, signal: i32) -> Result<()> {
        self.ptest.block_on(process.signal(signal))
    }

    /// Takes it away: when this returns, its processes, mounts and files are gone. On a full disk it uses room that was kept
    /// for it.
    pub fn remove(mut self) -> Result<()> {
        self.removed_by = None;
        self.remove_now()
    }

    /// Leaves it to live on without this handle.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.removed_by = None;
        self
    }

    /// Takes the lock of the environment and brings its record to the truth. One that was being made or removed by a process
    /// that died is taken away.
    pub(crate) fn operate(&self) -> Result<(Lock, Record)> {
        let (lock, record) = self.hold()?;
        if matches!(record.state, State::Creating | State::Removing) {
            self.ptest.take_away(&record, Cause::CutOff, lock)?;
            return Err(self.removed());
        }
        Ok((lock, record))
    }

    /// The same, whatever is to become of it.
    fn hold(&self) -> Result<(Lock, Record)> {
        let lock = self.ptest.lock(&self.record()?)?;
        let Some(record) = table::by_id(self.ptest.store().database(), &self.id)? else {
            return Err(self.removed());
        };
        operation::concerns(&record);
        if record.ends_at().is_some_and(|end| end <= Timestamp::now()) {
            self.ptest.take_away(&record, Cause::Expired, lock)?;
            return Err(self.removed());
        }
        let record = self.ptest.settle(record)?;
        if record.state != State::Active
            && table::swapping(self.ptest.store().database())?.contains(&self.id)
        {
            self.ptest.finish_swap(&self.id)?;
        }
        Ok((lock, record))
    }

    pub(crate) fn activate_locked(&self, record: Record) -> Result<bool> {
        if record.state == State::Active {
            return Ok(false);
        }
        let activating = self
            .ptest
            .step(&record, &Event::Activating {}, Change::default())?;
        self.ptest.touch(&record)?;
        let engine = self.ptest.engine(&record.engine)?;
        let instance = self.ptest.instance(&record)?;
        let activated =
            reach("activate.row").and_then(|()| self.ptest.block_on(engine.activate(&instance)));
        match activated {
            Ok(achieved) => {
                reach("activate.init")?;
                let change = Change {
                    achieved: Some(&achieved),
                    activated_at: Some(Timestamp::now()),
                    ..Change::default()
                };
                let event = Event::Activated {
                    profile: achieved.profile.as_str().to_owned(),
                    network: achieved.network.as_str().to_owned(),
                    degraded: achieved.degraded.clone(),
                };
                let record = self.ptest.step(&activating, &event, change)?;
                // What is copied is not mounted, and what starts slower than it could is no failure.
                if achieved.profile != Profile::None {
                    let noted = improve::table::used(
                        self.ptest.store().database(),
                        &record.stack,
                        &record.python,
                        Use::Mounted,
                    );
                    operation::passed_over("note that a stack is used", noted);
                }
                Ok(true)
            }
            Err(error) => {
                let event = Event::Deactivated {
                    cause: Cause::ActivationFailed,
                };
                self.ptest.step(&activating, &event, Change::default())?;
                Err(error)
            }
        }
    }

    pub(crate) fn deactivate_locked(&self, record: Record, grace: Duration) -> Result<Record> {
        let deactivating = self
            .ptest
            .step(&record, &Event::Deactivating {}, Change::default())?;
        let engine = self.ptest.engine(&record.engine)?;
        reach("deactivate.row")?;
        self.ptest.block_on(engine.deactivate(&self.id, grace))?;
        self.ptest.note_refusals(&record);
        let folded = self.ptest.fold_to_the_end(&record);
        operation::passed_over("keep its history", folded);
        reach("deactivate.init")?;
        let change = Change {
            deactivated_at: Some(Timestamp::now()),
            ..Change::default()
        };
        let event = Event::Deactivated {
            cause: Cause::Asked,
        };
        self.ptest.step(&deactivating, &event, change)
    }

    fn remove_now(&self) -> Result<()> {
        self.operation("remove", || {
            reserve::with_room(self.ptest.store(), || {
                let (lock, record) = self.hold()?;
                self.ptest.take_away(&record, Cause::Asked, lock).map(drop)
            })
        })
    }

    fn removed(&self) -> Error {
        Error::new(
            ErrorKind::NotFound,
            format!("environment {} has been removed", self.id),
        )
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        if self.removed_by == Some(std::process::id()) {
            // What could not be taken away now is recorded as failed, and is
            // taken away by the next opening once this process is gone.
            operation::passed_over("remove what nobody holds", self.remove_now());
        }
    }
}
