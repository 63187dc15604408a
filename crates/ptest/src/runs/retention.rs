//! How long the record of a run is kept, and what goes with it.

use super::table;
use crate::error::Result;
use crate::events::Retention;
use crate::ptest::Ptest;
use crate::timestamp::Timestamp;

impl Ptest {
    /// Forgets the runs that are beyond what is to be kept, by their number or by the time since their end; returns how many.
    /// The last run of an environment that is there stays, and so does one that has not ended.
    pub fn prune_runs(&self, retention: Retention) -> Result<usize> {
        let since = Timestamp::now().before(retention.age);
        let database = self.store().database();
        let expired =
            database.read(|connection| table::expired(connection, retention.count, since))?;
        // First what nothing would lead to.
        expired.iter().try_for_each(|run| self.delete_log(*run))?;
        if !expired.is_empty() {
            table::delete(database, &expired)?;
        }
        Ok(expired.len())
    }
}
