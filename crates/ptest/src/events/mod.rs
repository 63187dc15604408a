//! What happened in a store, in order: recorded with the change itself, so that nothing is told that did not happen and
//! nothing happens untold.
//!
//! Not for what a process wants to say while it works: that is [`Progress`](crate::Progress). Who is called for an event is
//! `hooks`' business.

mod document;
mod event;
mod follow;
pub(crate) mod table;

use std::time::Duration;

pub use self::event::{Cause, Event, PackageUpdate, PackageVersion};
pub use self::follow::Follower;
pub(crate) use self::table::{About, append, append_caused};
use crate::environment::{EnvironmentId, Record, table as environments};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::table as hooks;
use crate::ptest::Ptest;
use crate::timestamp::Timestamp;

/// The longest word and the most data of a user's event.
const NAME_MAX: usize = 63;
const DATA_MAX: usize = 64 << 10;

/// An event as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its place among all events of the store: larger for each later one, and never used twice.
    pub sequence: i64,
    /// When it was recorded, by the clock of the machine, which can be put back.
    pub time: Timestamp,
    /// The environment that it is about, if it is about one; that may be gone.
    pub environment: Option<EnvironmentId>,
    /// The name that it had, or its id.
    pub label: Option<String>,
    /// The id of the operation that it happened in, which the log has too.
    pub operation: Option<String>,
    /// The number of the event whose hook did it, if one did.
    pub caused_by: Option<i64>,
    /// What happened.
    pub event: Event,
}

impl Recorded {
    /// The environment that it is about.
    pub(crate) fn about(&self) -> Option<About<'_>> {
        Some(About {
            id: self.environment.as_ref()?,
            label: self.label.as_deref()?,
        })
    }
}

/// Which events are asked for: those that fulfil all that is said.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// About the environments of these names or ids, gone or not, if any is said.
    pub environments: Vec<String>,
    /// Of one of these [kinds](Event::kind), if any is said; what users emitted, by its name too.
    pub kinds: Vec<String>,
    /// Recorded since then.
    pub since: Option<Timestamp>,
    /// With larger numbers.
    pub after: Option<i64>,
}

/// What is kept of events, or of something else that goes on for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many at most.
    pub count: u32,
    /// How long.
    pub age: Duration,
}

impl Ptest {
    /// The latest events that are asked for, `most` at most, oldest first.
    pub fn events(&self, filter: &EventFilter, most: usize) -> Result<Vec<Recorded>> {
        let database = self.store().database();
        database.read(|connection| table::latest(connection, filter, most))
    }

    /// Follows the events that come after this call, or after [`EventFilter::after`].
    ///
    /// Each is given at least once, in order. Who keeps the last number that it dealt with goes on from there after a crash.
    pub fn follow(&self, filter: EventFilter) -> Result<Follower> {
        Follower::new(self.clone(), filter)
    }

    /// Records an event of the user's own; returns its number.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that is not made of at most 63 letters, digits, `-`, `_` and
    /// `.`, and for more than 64 KiB of data.
    pub fn emit(
        &self,
        environment: Option<&str>,
        name: &str,
        data: serde_json::Value,
    ) -> Result<i64> {
        check_emitted(name, &data)?;
        let record = match environment {
            Some(label) => Some(self.find(label)?.record()?),
            None => None,
        };
        let event = Event::Emitted {
            name: name.to_owned(),
            data,
        };
        self.store().database().write(|transaction| {
            if let Some(record) = &record
                && !environments::is_there(transaction, &record.id)?
            {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("environment `{}` has been removed", record.label()),
                ));
            }
            append(transaction, record.as_ref().map(About::from), &event)
        })
    }

    /// Records what happened to an environment where no row of its own says so.
    pub(crate) fn record(&self, record: &Record, event: &Event) -> Result<()> {
        let about = Some(About::from(record));
        let database = self.store().database();
        database.write(|transaction| append(transaction, about, event).map(drop))
    }

    /// Deletes events beyond what is to be kept, the oldest first. Returns how many.
    pub fn prune_events(&self, retention: Retention) -> Result<usize> {
        let deleted = table::prune(self.store().database(), retention)?;
        if deleted > 0 {
            let database = self.store().database();
            database.write(|transaction| hooks::forget_unused(transaction))?;
        }
        Ok(deleted)
    }
}

fn check_emitted(name: &str, data: &serde_json::Value) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(allowed) {
        let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("`{shown}` cannot be the name of an event"),
        )
        .with_hint("use letters, digits, `-`, `_` and `.`, at most 63"));
    }
    let length = data.to_string().len();
    if length > DATA_MAX {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the data of an event has {length} bytes, and {DATA_MAX} is the most"),
        )
        .with_hint("keep it in a file, and emit its path"));
    }
    Ok(())
}
