//! Putting right what dead processes left: every opening does, and whoever works on an environment does for that one.
//!
//! What is to be done is read off what is there: the state of the row, a note of a swap, who holds the lock. Not for what
//! nobody waits for, such as deleting what was thrown away: that is `tidy`'s.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::environment::table::{self, Change, Record};
use crate::environment::{EnvironmentId, Owner, State, Transition};
use crate::error::{Error, Result};
use crate::events::{Cause, Event};
use crate::lock::Lock;
use crate::operation;
use crate::ptest::Ptest;
use crate::runs::RunId;
use crate::steps::reach;
use crate::timestamp::Timestamp;

/// How long an opening goes on with what it cannot put right.
const PATIENCE: Duration = Duration::from_secs(5);

/// What recovery did.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Environments taken away: their owner had died, or their making was cut off.
    pub removed: Vec<EnvironmentId>,
    /// Environments brought to rest: their init or an operation had died.
    pub settled: Vec<EnvironmentId>,
    /// Ports that were leased to dead processes, or longer than was agreed.
    pub released_ports: Vec<u16>,
    /// Runs that are over though nobody has said how they ended: who waited for them had died.
    pub lost: Vec<RunId>,
    /// Environments that could not be put right, and why. They do not keep the others.
    pub failed: Vec<(EnvironmentId, Error)>,
}

impl Ptest {
    /// What opening the store put right; given once.
    pub fn recovered(&self) -> Recovery {
        let recovered = self.opening().lock();
        std::mem::take(&mut *recovered.unwrap_or_else(PoisonError::into_inner))
    }

    /// Finishes or undoes what dead processes left.
    ///
    /// Where that fails and takes long, as with a database that somebody holds, the rest is left to the next opening: whoever
    /// only wants to look is not kept from that.
    pub fn recover(&self) -> Result<Recovery> {
        let mut recovery = Recovery::default();
        let end = Instant::now() + PATIENCE;
        let is_hopeless = |recovery: &Recovery| !recovery.failed.is_empty() && Instant::now() > end;
        for record in table::unsettled(self.store().database())? {
            if is_hopeless(&recovery) {
                return Ok(recovery);
            }
            let id = record.id.clone();
            match self.recover_one(record) {
                Ok(Some(State::Removed)) => recovery.removed.push(id),
                Ok(Some(_)) => recovery.settled.push(id),
                Ok(None) => {}
                Err(error) => recovery.failed.push((id, error)),
            }
        }
        for id in self.expired()? {
            if is_hopeless(&recovery) {
                return Ok(recovery);
            }
            match operation::run("recover", id.as_str(), || self.expire(&id)) {
                Ok(true) => recovery.removed.push(id),
                Ok(false) => {}
                Err(error) => recovery.failed.push((id, error)),
            }
        }
        for id in table::swapping(self.store().database())? {
            if is_hopeless(&recovery) {
                return Ok(recovery);
            }
            match self.recover_swap(&id) {
                Ok(true) => recovery.settled.push(id),
                Ok(false) => {}
                Err(error) => recovery.failed.push((id, error)),
            }
        }
        // On a full disk, say: what is not recorded now the next opening records.
        if let Ok(ports) = self.release_dead_ports() {
            recovery.released_ports = ports;
            recovery.lost = self.lose_runs().unwrap_or_default();
        }
        Ok(recovery)
    }

    /// Whether a swap that was cut off is finished or undone now.
    fn recover_swap(&self, id: &EnvironmentId) -> Result<bool> {
        // Whoever holds the lock is alive and will put it right itself.
        let Some(_lock) = self.locks().try_acquire(id.as_str())? else {
            return Ok(false);
        };
        match table::by_id(self.store().database(), id)? {
            // It is put right when it is at rest.
            Some(record) if record.state == State::Active => Ok(false),
            Some(record) => operation::run("recover", record.label(), || {
                operation::concerns(&record);
                self.finish_swap(id).map(|()| true)
            }),
            None => operation::run("recover", id.as_str(), || {
                self.finish_swap(id).map(|()| true)
            }),
        }
    }

    /// The state that an environment was brought to, if it had to be.
    fn recover_one(&self, record: Record) -> Result<Option<State>> {
        let orphaned = match &record.owner {
            Owner::Process(owner) => !owner.is_alive(self.boot_id()),
            Owner::Detached => false,
        };
        if !orphaned
            && !record.state.is_transitional()
            && self.is_active(&record)? == (record.state == State::Active)
        {
            return Ok(None);
        }
        // Whoever holds the lock is alive and will put it right itself.
        let Some(lock) = self.locks().try_acquire(record.id.as_str())? else {
            return Ok(None);
        };
        operation::run("recover", record.label(), || {
            operation::concerns(&record);
            self.recover_locked(&record.id, orphaned, lock)
        })
    }

    fn recover_locked(
        &self,
        id: &EnvironmentId,
        orphaned: bool,
        lock: Lock,
    ) -> Result<Option<State>> {
        let Some(record) = table::by_id(self.store().database(), id)? else {
            return Ok(None);
        };
        if orphaned || matches!(record.state, State::Creating | State::Removing) {
            let cause = if orphaned {
                Cause::OwnerDied
            } else {
                Cause::CutOff
            };
            return self.take_away(&record, cause, lock).map(Some);
        }
        let before = record.state;
        let settled = self.settle(record)?.state;
        Ok((settled != before).then_some(settled))
    }

    /// Brings a record to the state that is true, its lock being held: what a
    /// dead operation or a dead init left is brought to rest.
    pub(crate) fn settle(&self, record: Record) -> Result<Record> {
        let dead = match record.state {
            State::Activating | State::Deactivating => true,
            State::Active => !self.is_active(&record)?,
            _ => false,
        };
        if !dead {
            return Ok(record);
        }
        let engine = self.engine(&record.engine)?;
        self.block_on(engine.deactivate(&record.id, Duration::ZERO))?;
        // It is at rest, whatever becomes of its history.
        operation::passed_over("keep its history", self.fold_to_the_end(&record));
        let change = Change {
            deactivated_at: Some(Timestamp::now()),
            ..Change::default()
        };
        let cause = match record.state {
            State::Active => Cause::InitEnded,
            _ => Cause::CutOff,
        };
        self.step(&record, &Event::Deactivated { cause }, change)
    }

    /// Removes an environment whose lock is held, whatever its state, and gives the state that it
    /// is in then, which no row records.
    pub(crate) fn take_away(&self, record: &Record, cause: Cause, lock: Lock) -> Result<State> {
        let record = self.settle(record.clone())?;
        let removing = self.step(&record, &Event::Removing { cause }, Change::default())?;
        reach("remove.row")?;
        let engine = self.engine(&record.engine)?;
        self.note_refusals(&record);
        self.fold_before_removal(&record);
        if let Err(error) = self.block_on(engine.remove(&record.id)) {
            let message = error.to_string();
            let change = Change {
                error: Some(&message),
                ..Change::default()
            };
            let event = Event::Failed {
                message: message.clone(),
            };
            self.step(&removing, &event, change)?;
            return Err(error);
        }
        reach("remove.instance")?;
        let removed = removing.state.next(Transition::Removed)?;
        self.forget_view(&record)?;
        reach("remove.view")?;
        table::delete(self.store().database(), &record)?;
        reach("remove.forgotten")?;
        drop(lock);
        Ok(removed)
    }
}
