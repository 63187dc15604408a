//! Waiting for events as they are recorded, by whatever process.

use std::time::{Duration, Instant};

use ptest_store::Watch;

use super::{EventFilter, Recorded, table};
use crate::error::Result;
use crate::ptest::Ptest;

/// How many events are taken at once.
const BATCH: usize = 256;

/// Gives events in order, each at least once. Costs nothing while nothing is recorded.
#[derive(Debug)]
pub struct Follower {
    ptest: Ptest,
    filter: EventFilter,
    watch: Watch,
}

impl Follower {
    pub(super) fn new(ptest: Ptest, mut filter: EventFilter) -> Result<Self> {
        let database = ptest.store().database();
        // Before the end is looked up, or what is recorded in between would wake nobody.
        let watch = database.watch()?;
        if filter.after.is_none() {
            filter.after = Some(database.read(table::last)?);
        }
        Ok(Self {
            ptest,
            filter,
            watch,
        })
    }

    /// The number after which it goes on.
    pub fn after(&self) -> i64 {
        self.filter.after.unwrap_or_default()
    }

    /// The next events; waits for one if there is none, until the time has passed: then there are none.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Vec<Recorded>> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let database = self.ptest.store().database();
            let found =
                database.read(|connection| table::earliest(connection, &self.filter, BATCH))?;
            if let Some(last) = found.last() {
                self.filter.after = Some(last.sequence);
                return Ok(found);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if !self.watch.wait(left)? {
                return Ok(Vec::new());
            }
        }
    }
}
