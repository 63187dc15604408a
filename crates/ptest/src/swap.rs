//! Puts an environment on another stack, in one step: it is wholly what it was, or wholly what it is
//! to be.
//!
//! The engine makes the next generation beside the one that is there; the row then says in one
//! transaction which of them is true; the other is dropped. Whoever is killed in between leaves a
//! note, by which the next one drops what the row does not name.
//!
//! What was written can become a layer of the stack in such a step. It is moved then, and there is
//! nothing else of it: the note says before where it is and where it goes, and from there the next
//! one brings it to where the row says.

use std::path::Path;
use std::time::Duration;

use ptest_store::{Recovered, Stack, StackId};
use rusqlite::Connection;

use crate::engine::{HandedOver, Upper};
use crate::environment::table::{self, Made, OnTheWay, Python, Record};
use crate::environment::{Environment, EnvironmentId, State};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::ptest::{Ptest, instance_on};
use crate::recipe;
use crate::spec::Requirements;

/// What an environment is to be made of. A lease or a row keeps the stack.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) id: StackId,
    pub(crate) recipe: &'a str,
    pub(crate) python: &'a Python,
    pub(crate) requirements: &'a Requirements,
    /// What is recorded when it is.
    pub(crate) event: &'a Event,
}

impl Environment {
    /// Puts an environment, whose lock is held and which stands on `now`, on another stack. One that is active is stopped for
    /// it, unless that would end a command, and started again.
    pub(crate) fn swap(
        &self,
        record: Record,
        now: Stack,
        target: &Target<'_>,
        upper: Upper,
    ) -> Result<()> {
        let was_active = record.state == State::Active;
        let record = if was_active {
            self.pause(record)?
        } else {
            record
        };
        let swapped = self.swap_at_rest(&record, now, target, upper);
        if was_active {
            let database = self.ptest.store().database();
            let record = table::by_id(database, &record.id)?.unwrap_or(record);
            self.activate_locked(record)?;
        }
        swapped
    }

    fn swap_at_rest(
        &self,
        record: &Record,
        now: Stack,
        target: &Target<'_>,
        upper: Upper,
    ) -> Result<()> {
        let database = self.ptest.store().database();
        let engine = self.ptest.engine(&record.engine)?;
        let instance = instance_on(record, now);
        table::begin_swap(database, &record.id)?;
        let swapped = self
            .ptest
            .block_on(engine.restack(&instance, target.stack, upper))
            .and_then(|generation| {
                let made = Made {
                    stack: &target.id,
                    generation,
                    recipe: target.recipe,
                    python: target.python,
                    requirements: target.requirements,
                };
                table::set_made(database, record, made, target.event)
            });
        // Why it was not swapped is what the caller must know; the note stays for the next one.
        let settled = self.ptest.finish_swap(&record.id);
        swapped.and(settled)
    }

    /// Makes what was written in an environment at rest, whose lock is held, a layer of its stack,
    /// without a copy, and does `record` with that stack in the same transaction. `None` if it can
    /// only be copied. A lease is held.
    ///
    /// When it returns, all of that survives a loss of power.
    pub(crate) fn settle_written<T>(
        &self,
        record: &Record,
        also: impl FnOnce(&Connection, StackId) -> Result<T>,
    ) -> Result<Option<T>> {
        let database = self.ptest.store().database();
        table::begin_swap(database, &record.id)?;
        let handed = self.hand_over(record, also);
        if let Ok(None) = handed {
            table::end_swap(database, &record.id)?;
            return Ok(None);
        }
        // As above.
        let settled = self.ptest.finish_swap(&record.id);
        handed.and_then(|value| settled.map(|()| value))
    }

    fn hand_over<T>(
        &self,
        record: &Record,
        also: impl FnOnce(&Connection, StackId) -> Result<T>,
    ) -> Result<Option<T>> {
        let store = self.ptest.store();
        let engine = self.ptest.engine(&record.engine)?;
        let instance = self.ptest.instance(record)?;
        let handed = self.ptest.block_on(engine.hand_over(&instance))?;
        let Some(HandedOver {
            written,
            generation,
        }) = handed
        else {
            return Ok(None);
        };
        let stack = instance.stack.with_top(written.id());
        let contents = self.ptest.contents_on(&instance.stack, &stack)?;
        let on_the_way = OnTheWay {
            layer: written.id(),
            tree: below(store.home(), written.path())?,
            generation: record.generation,
        };
        table::set_on_the_way(store.database(), &record.id, &on_the_way)?;
        // What was written is nowhere else: neither it nor the note may be lost once it is moved.
        let (_, value) = written.sync()?.publish_with(|transaction, _| {
            let stack = recipe::know(transaction, &stack, &contents)?;
            table::set_stack(transaction, &record.id, &stack, generation)?;
            also(transaction, stack)
        })?;
        // Before the note is gone.
        store.flush()?;
        Ok(Some(value))
    }

    /// Stops init for a swap, unless that would end a command.
    pub(crate) fn pause(&self, record: Record) -> Result<Record> {
        let engine = self.ptest.engine(&record.engine)?;
        let usage = self.ptest.block_on(engine.usage(&record.id))?;
        if usage.processes > 0 {
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "changing what `{}` is made of would end what runs in it, {} {}",
                    record.label(),
                    usage.processes,
                    if usage.processes == 1 {
                        "process"
                    } else {
                        "processes"
                    }
                ),
            )
            .with_hint(format!(
                "wait for them, or `ptest deactivate {}` first",
                record.label()
            )));
        }
        self.deactivate_locked(record, Duration::ZERO)
    }
}

/// A path of the store's as text that stays true when the store is moved.
fn below(home: &Path, path: &Path) -> Result<String> {
    let below = path.strip_prefix(home).ok().and_then(Path::to_str);
    below.map(str::to_owned).ok_or_else(|| {
        Error::new(
            ErrorKind::Unexpected,
            format!("{} is not below {}", path.display(), home.display()),
        )
    })
}

impl Ptest {
    /// Puts the store in order, but for what a note says of: that is brought to where it belongs
    /// when its environment is.
    pub(crate) fn recover_store(&self) -> Result<Recovered> {
        let noted = self.store().database().read(table::layers_on_the_way)?;
        Ok(self.store().recover_but(&noted)?)
    }

    /// Drops what of an environment, whose lock is held, its row does not name, and brings its view
    /// up to date.
    pub(crate) fn finish_swap(&self, id: &EnvironmentId) -> Result<()> {
        let database = self.store().database();
        if let Some(record) = table::by_id(database, id)? {
            if let Some(on_the_way) = table::on_the_way(database, id)? {
                let tree = self.store().home().join(&on_the_way.tree);
                let is_recorded = record.generation != on_the_way.generation;
                self.store()
                    .settle_tree(&on_the_way.layer, &tree, is_recorded)?;
            }
            let engine = self.engine(&record.engine)?;
            self.block_on(engine.settle(id, record.generation))?;
            // No view is better than one that is wrong, and the next call says why it cannot be made.
            if self.refresh_view(&record).is_err() {
                self.forget_view(&record)?;
            }
        }
        table::end_swap(database, id)
    }
}
