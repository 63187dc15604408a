//! What somebody wants to be called for, and how: a hook as it is written down.
//!
//! Not for calling: that is `call`'s.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::events::{EventFilter, Recorded};

/// A command or a URL that is called when something happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// For which kinds of events, or names of emitted ones. [`Hook::ALL`] stands for each.
    pub events: Vec<String>,
    /// For events about the environments of these names or ids. Empty for all, and for what is about none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    /// What is called.
    pub action: Action,
    /// How long a call may take.
    pub timeout: Duration,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Runs a program with arguments. A name without a slash is looked up in `PATH`.
    Command(Vec<String>),
    /// Sends the event there (HTTP POST).
    Url(String),
}

impl Hook {
    /// Stands for every event.
    pub const ALL: &str = "*";
    /// How long a call may take, unless said otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// The events that it is called for, after the one of this number.
    pub(super) fn filter(&self, after: i64) -> EventFilter {
        let is_for_all = self.events.iter().any(|kind| kind == Self::ALL);
        EventFilter {
            environments: self.environments.clone(),
            kinds: if is_for_all {
                Vec::new()
            } else {
                self.events.clone()
            },
            since: None,
            after: Some(after),
        }
    }

    /// Whether a hook may be called for an event: what hooks do themselves calls none, or it would never end.
    pub(super) fn may_be_called_for(event: &Recorded) -> bool {
        event.caused_by.is_none()
    }
}

/// What is called, as people write it.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(words) => f.write_str(&words.join(" ")),
            Self::Url(url) => f.write_str(url),
        }
    }
}
