//! Taking away environments that nobody has used for long.
//!
//! Not for what no environment uses: that is `collect`'s.

use std::time::Duration;

use crate::environment::table;
use crate::environment::{EnvironmentId, Owner, Record, State};
use crate::error::{Error, Result};
use crate::events::Cause;
use crate::ptest::Ptest;
use crate::timestamp::Timestamp;

/// What was taken away for want of use.
#[derive(Debug, Default)]
pub struct Pruned {
    /// The labels of environments that were, or in a dry run would be.
    pub removed: Vec<String>,
    /// Those that could not be, and why.
    pub failed: Vec<(String, Error)>,
}

impl Ptest {
    /// Takes away environments that are at rest, live for no process, and have not been active for this long. With
    /// `dry_run` only says which.
    pub fn prune(&self, older_than: Duration, dry_run: bool) -> Result<Pruned> {
        let oldest = Timestamp::now().before(older_than);
        let mut pruned = Pruned::default();
        for record in self.records()? {
            if !is_unused(&record, oldest) {
                continue;
            }
            let label = record.label().to_owned();
            if dry_run {
                pruned.removed.push(label);
                continue;
            }
            match self.operation("prune", &label, || self.prune_one(&record.id, oldest)) {
                Ok(true) => pruned.removed.push(label),
                // Somebody uses it now.
                Ok(false) => {}
                Err(error) => pruned.failed.push((label, error)),
            }
        }
        Ok(pruned)
    }

    fn prune_one(&self, id: &EnvironmentId, oldest: Timestamp) -> Result<bool> {
        let Some(lock) = self.locks().try_acquire(id.as_str())? else {
            return Ok(false);
        };
        match table::by_id(self.store().database(), id)? {
            Some(record) if is_unused(&record, oldest) => {
                self.take_away(&record, Cause::Asked, lock)?;
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }
}

fn is_unused(record: &Record, oldest: Timestamp) -> bool {
    let is_at_rest = matches!(
        record.state,
        State::Created | State::Inactive | State::Failed
    );
    let used = record.deactivated_at.unwrap_or(record.created_at);
    is_at_rest && record.owner == Owner::Detached && used <= oldest
}
