//! Puts an environment on another stack, in one step: it is wholly what it was, or wholly what it is
//! to be.
//!
//! The engine makes the next generation beside the one that is there; the row then says in one
//! transaction which of them is true; the other is dropped. Whoever is killed in between leaves a
//! note, by which the next one drops what the row does not name.

use std::time::Duration;

use ptest_store::Stack;

use crate::engine::Upper;
use crate::environment::table::{self, Made, Python, Record};
use crate::environment::{Environment, EnvironmentId, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ptest::Ptest;
use crate::spec::Requirements;

/// What an environment is to be made of. A lease or a row keeps the stack.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) recipe: &'a str,
    pub(crate) python: &'a Python,
    pub(crate) requirements: &'a Requirements,
}

impl Environment {
    /// Puts an environment, whose lock is held, on another stack. One that is active is stopped for
    /// it, unless that would end a command, and started again.
    pub(crate) fn swap(&self, record: Record, target: &Target<'_>, upper: Upper) -> Result<()> {
        let was_active = record.state == State::Active;
        let record = if was_active {
            self.pause(record)?
        } else {
            record
        };
        let swapped = self.swap_at_rest(&record, target, upper);
        if was_active {
            let database = self.ptest.store().database();
            let record = table::by_id(database, &record.id)?.unwrap_or(record);
            self.activate_locked(record)?;
        }
        swapped
    }

    fn swap_at_rest(&self, record: &Record, target: &Target<'_>, upper: Upper) -> Result<()> {
        let database = self.ptest.store().database();
        let engine = self.ptest.engine(&record.engine)?;
        let instance = self.ptest.instance(record)?;
        table::begin_swap(database, &record.id)?;
        let swapped = self
            .ptest
            .block_on(engine.restack(&instance, target.stack, upper))
            .and_then(|generation| {
                let made = Made {
                    stack: &target.stack.id(),
                    generation,
                    recipe: target.recipe,
                    python: target.python,
                    requirements: target.requirements,
                };
                table::set_made(database, &record.id, made)
            });
        // Why it was not swapped is what the caller must know; the note stays for the next one.
        let settled = self.ptest.finish_swap(&record.id);
        swapped.and(settled)
    }

    /// Stops init for a swap, unless that would end a command.
    fn pause(&self, record: Record) -> Result<Record> {
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

impl Ptest {
    /// Drops what of an environment, whose lock is held, its row does not name, and brings its view
    /// up to date.
    pub(crate) fn finish_swap(&self, id: &EnvironmentId) -> Result<()> {
        let database = self.store().database();
        if let Some(record) = table::by_id(database, id)? {
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
