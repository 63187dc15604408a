//! What nobody waits for: deleting what was thrown away, and finding what dead
//! processes left outside of the database.
//!
//! Not for what the next operation depends on: that is [`Ptest::recover`]'s,
//! which every opening does.

use std::collections::BTreeSet;
use std::fs::{self, ReadDir};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::disk;
use crate::environment::{EnvironmentId, table};
use crate::error::{Error, Result};
use crate::events::Retention;
use crate::lease;
use crate::ptest::Ptest;

/// What a store keeps of the past.
#[derive(Clone, Copy, Debug)]
pub struct Housekeeping {
    /// Of events.
    pub events: Retention,
    /// Of runs of commands. The last of an environment that is there stays, and one that has not ended.
    pub runs: Retention,
}

/// What was thrown away and is not deleted yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrownAway {
    /// How many trees and files, as they were thrown away.
    pub entries: usize,
    /// The bytes of all of them.
    pub bytes: u64,
}

impl ThrownAway {
    /// What of this is gone when that is there.
    pub(crate) fn without(self, left: Self) -> Self {
        Self {
            entries: self.entries.saturating_sub(left.entries),
            bytes: self.bytes.saturating_sub(left.bytes),
        }
    }
}

/// A hundred thousand events, and a month; a thousand runs, and a week.
impl Default for Housekeeping {
    fn default() -> Self {
        Self {
            events: Retention {
                count: 100_000,
                age: Duration::from_hours(30 * 24),
            },
            runs: Retention {
                count: 1000,
                age: Duration::from_hours(7 * 24),
            },
        }
    }
}

impl Ptest {
    /// Deletes what was thrown away and what dead processes left on disk.
    ///
    /// Goes on in the background when it takes longer than `patience`; what is
    /// not done when this process ends, the next tidying does.
    pub fn tidy(&self, patience: Duration) -> Result<()> {
        let (done, end) = mpsc::channel();
        let ptest = self.clone();
        thread::Builder::new()
            .name("tidy".to_owned())
            .spawn(move || done.send(ptest.tidy_now()))
            .map_err(|source| Error::io("start a thread", source))?;
        match end.recv_timeout(patience) {
            Ok(tidied) => tidied,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(()),
        }
    }

    /// What was thrown away and takes room until it is deleted: by the next command, in the background, or by
    /// [`collect`](Self::collect). Looks at every file of it.
    pub fn thrown_away(&self) -> Result<ThrownAway> {
        let trash = self.trash();
        Ok(ThrownAway {
            entries: entries(&trash)?.count(),
            bytes: disk::allocated_below(&trash)?,
        })
    }

    /// Whether more was thrown away than those who threw it away have deleted.
    pub(crate) fn has_backlog(&self) -> Result<bool> {
        const MANY: usize = 64;
        Ok(entries(&self.trash())?.take(MANY).count() == MANY)
    }

    fn trash(&self) -> PathBuf {
        self.store().home().join("trash")
    }

    pub(crate) fn tidy_now(&self) -> Result<()> {
        // Read before what is on disk is listed: who comes meanwhile is looked up under its lock.
        let known = table::ids(self.store().database())?;
        self.remove_unknown_instances(&known)?;
        self.release_dead_ports()?;
        self.tidy_views()?;
        lease::oldest(self.store())?;
        if entries(&self.store().home().join("staging"))?
            .next()
            .is_some()
        {
            self.recover_store()?;
        }
        if entries(&self.trash())?.next().is_some() {
            self.store().empty_trash()?;
        }
        self.prune_events(self.housekeeping().events)?;
        self.prune_runs(self.housekeeping().runs)?;
        self.fold_what_is_due()?;
        self.shorten_log()
    }

    /// The first to open the database reads its log whole: half a millisecond for this much.
    fn shorten_log(&self) -> Result<()> {
        const LONG: u64 = 1 << 20;
        let database = self.store().database();
        match fs::metadata(database.log()) {
            Ok(facts) if facts.len() > LONG => Ok(database.checkpoint()?),
            // Without a log there is nothing to shorten.
            _ => Ok(()),
        }
    }

    /// An instance without a row was being made or removed by a process that died.
    fn remove_unknown_instances(&self, known: &BTreeSet<EnvironmentId>) -> Result<()> {
        for engine in self.engines() {
            for id in self.block_on(engine.instances())? {
                if known.contains(&id) {
                    continue;
                }
                // Whoever makes one holds its lock until the row is there.
                let Some(lock) = self.locks().try_acquire(id.as_str())? else {
                    continue;
                };
                if table::by_id(self.store().database(), &id)?.is_none() {
                    self.block_on(engine.remove(&id))?;
                }
                drop(lock);
            }
        }
        Ok(())
    }
}

fn entries(directory: &Path) -> Result<ReadDir> {
    fs::read_dir(directory)
        .map_err(|source| Error::io(format!("read {}", directory.display()), source))
}
