//! What is known of one run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{RunId, Streams};
use crate::engine::{Command, Exit};
use crate::environment::table::Record;
use crate::environment::{EnvironmentId, ProcessIdentity};
use crate::settings::{Kept, Limits, Network, Profile, is_default};
use crate::timestamp::Timestamp;

/// One execution of a command in an environment, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Its identity in the store.
    pub id: RunId,
    /// The environment that it ran in, which may be gone.
    pub environment: EnvironmentId,
    /// Which of that environment's runs it is: the first is 1.
    pub number: u32,
    /// The name of the environment at that time, or its id.
    pub label: String,
    /// The process that ran it: a `ptest`, or whatever uses the library.
    pub client: ProcessIdentity,
    /// The program and its arguments; what shows as a secret is hidden.
    pub arguments: Vec<OsString>,
    /// Where it started.
    pub directory: PathBuf,
    /// What it ran under.
    pub conditions: Conditions,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended, or was found to have ended.
    pub ended_at: Option<Timestamp>,
    /// What came of it, if it has ended.
    pub outcome: Option<Outcome>,
    /// What it wrote, and where to.
    pub streams: Streams,
}

impl RunRecord {
    /// Whether it has not ended, as far as is recorded.
    pub fn is_active(&self) -> bool {
        self.outcome.is_none()
    }
}

/// What a command ran under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// The profile asked for; without one the strongest that can be had.
    #[serde(default, skip_serializing_if = "is_default")]
    pub profile_asked: Option<Profile>,
    /// The profile that held.
    #[serde(default, skip_serializing_if = "is_default")]
    pub profile: Option<Profile>,
    /// The network that there was.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Option<Network>,
    /// The limits asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits_asked: Limits,
    /// The limits that held.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Vec<Kept>,
    /// The time that it had.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeout: Option<Duration>,
}

impl Conditions {
    /// Those of a command in an active environment.
    pub(super) fn of(record: &Record, command: &Command) -> Self {
        let achieved = record.achieved.as_ref();
        Self {
            profile_asked: record.settings.profile,
            profile: achieved.map(|achieved| achieved.profile),
            network: achieved.map(|achieved| achieved.network),
            limits_asked: record.settings.limits,
            limits: achieved
                .map(|achieved| achieved.limits.clone())
                .unwrap_or_default(),
            timeout: command.timeout,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Outcome {
    /// It ended, by itself or ended by ptest.
    Ended(Exit),
    /// It did not come to run.
    NotStarted {
        /// Why, for people.
        why: String,
    },
    /// It is over, and how it ended is not known: who waited for it died, or its environment ended under it.
    Lost {
        /// Why, for people.
        why: String,
    },
}

impl Outcome {
    /// How the command ended, where that is known.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Ended(exit) => Some(exit),
            Self::NotStarted { .. } | Self::Lost { .. } => None,
        }
    }
}
