//! How much there may be at once in one store: environments, memory that is promised to active ones, room on the disk.
//!
//! Not for what one environment may use: that is its [limits](crate::settings::Limits).

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::config::format_bytes;
use crate::environment::table::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::ptest::Ptest;

/// How often it is looked for what ended without a word, such as a process that was killed.
const LOOK: Duration = Duration::from_secs(1);

/// The most that a store may have at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// How many environments.
    pub environments: Option<u32>,
    /// How much memory active environments may be allowed together, in bytes: then each needs a limit of its own.
    pub memory: Option<u64>,
    /// How many bytes the store may take when another environment is made.
    pub disk: Option<u64>,
    /// How long whoever finds no room waits for some.
    pub patience: Duration,
}

impl Room {
    /// That there are no more environments than there may be, in the transaction that has made one.
    pub(crate) fn check_count(&self, transaction: &Connection) -> Result<()> {
        let Some(most) = self.environments else {
            return Ok(());
        };
        let count: u32 = transaction
            .prepare_cached("SELECT count(*) FROM environments")?
            .query_row([], |row| row.get(0))?;
        if count <= most {
            return Ok(());
        }
        let count = count - 1;
        Err(Error::new(
            ErrorKind::NoRoom,
            format!("there are {count} environments, and {most} is the most that there may be"),
        )
        .with_hint(
            "`ptest remove` or `ptest prune` makes room, `--wait` waits for it, `max_environments` is how many there may be",
        ))
    }

    /// That there is memory for one more active environment, in the transaction that activates it.
    pub(crate) fn check_memory(&self, transaction: &Connection, record: &Record) -> Result<()> {
        let Some(most) = self.memory else {
            return Ok(());
        };
        let Some(own) = record.settings.limits.memory else {
            return Err(Error::new(
                ErrorKind::NoRoom,
                format!(
                    "`{}` has no limit of memory, and all that is active may have {} together",
                    record.label(),
                    format_bytes(most)
                ),
            )
            .with_hint("say how much it may have with `--memory`, or in the setting `memory`"));
        };
        // The first condition is the index's.
        let promised: i64 = transaction
            .prepare_cached(
                "SELECT coalesce(sum(json_extract(settings, '$.limits.memory')), 0) FROM environments \
                 WHERE (process_owned = 1 OR state NOT IN ('created', 'inactive', 'failed')) \
                 AND state IN ('activating', 'active') AND id != ?1",
            )?
            .query_row([record.id.as_str()], |row| row.get(0))?;
        let promised = u64::try_from(promised).unwrap_or_default();
        if promised.saturating_add(own) <= most {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NoRoom,
            format!(
                "`{}` may use {} of memory, and of the {} that all may have {} are promised to those that are active",
                record.label(),
                format_bytes(own),
                format_bytes(most),
                format_bytes(promised)
            ),
        )
        .with_hint("`ptest deactivate` makes room, `--wait` waits for it, `max_memory` is how much there may be"))
    }
}

impl Ptest {
    /// That there is room on the disk for one more environment.
    pub(crate) fn check_disk(&self) -> Result<()> {
        let Some(most) = self.room().disk else {
            return Ok(());
        };
        let size = self.size()?;
        let taken = size.layer_bytes + size.environment_bytes + size.cache_bytes;
        if taken < most {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NoRoom,
            format!(
                "the store takes {}, and {} is the most that it may",
                format_bytes(taken),
                format_bytes(most)
            ),
        )
        .with_hint("`ptest prune` and `ptest gc` make room, `max_disk` is how much there may be"))
    }

    /// Does what needs room, again and again as long as there is none and there is patience.
    pub(crate) fn with_room<T>(&self, mut body: impl FnMut() -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + self.provisioner().patience(self.room().patience);
        let mut watch = None;
        loop {
            let error = match body() {
                Err(error) if error.kind() == ErrorKind::NoRoom => error,
                done => return done,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(error);
            }
            match &mut watch {
                // What was given back before it began is not missed: it is looked at once more.
                None => watch = Some(self.store().database().watch()?),
                Some(watch) => {
                    watch.wait(Some(left.min(LOOK)))?;
                }
            }
            self.recover()?;
        }
    }
}
