//! What can happen, each with what there is to say of it.
//!
//! The names and fields here are what is recorded and what hooks and followers get: they only ever grow. One that changes
//! its meaning gets another name.

use serde::{Deserialize, Serialize};

use crate::environment::Transition;
use crate::packages::PackageChange;
use crate::timestamp::Timestamp;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// An environment is being made.
    Creating {
        /// The version of its Python.
        python: String,
        /// Its engine.
        engine: String,
        /// The name or id of what it is made of, if it is made of another or of a snapshot.
        source: Option<String>,
    },
    /// It is there.
    Created {},
    /// Its init is being started.
    Activating {},
    /// Commands can be run in it.
    Activated {
        /// The profile that it has.
        profile: String,
        /// The network that it has.
        network: String,
        /// What it has less than was asked for, each a sentence.
        degraded: Vec<String>,
    },
    /// What runs in it is being ended.
    Deactivating {},
    /// Nothing runs in it.
    Deactivated {
        /// Why.
        cause: Cause,
    },
    /// It is being taken away.
    Removing {
        /// Why.
        cause: Cause,
    },
    /// Nothing of it is left.
    Removed {},
    /// An operation could not be taken back. Only removing is left to do.
    Failed {
        /// What went wrong.
        message: String,
    },
    /// An operation failed, and what it was to change is as it was.
    OperationFailed {
        /// Which.
        operation: String,
        /// What went wrong.
        message: String,
    },
    /// Its packages are being changed.
    PackagesChanging {},
    /// Its packages were changed.
    PackagesChanged {
        /// Those that came.
        installed: Vec<PackageVersion>,
        /// Those that went.
        uninstalled: Vec<PackageVersion>,
        /// Those whose version is another now.
        updated: Vec<PackageUpdate>,
    },
    /// It is to be like something else from now on.
    SettingsChanged {
        /// The names of the settings that are not what they were.
        settings: Vec<String>,
    },
    /// What it is now is being kept under a name.
    SnapshotCreating {},
    /// What it was is kept.
    SnapshotCreated {
        /// Under which name.
        snapshot: String,
    },
    /// It is being made what a snapshot is.
    SnapshotRestoring {
        /// Which.
        snapshot: String,
    },
    /// It is what a snapshot is.
    SnapshotRestored {
        /// Which.
        snapshot: String,
    },
    /// A snapshot was taken away.
    SnapshotRemoved {
        /// Which.
        snapshot: String,
    },
    /// A command asked for a host that the environment is not allowed, and was refused.
    HostRefused {
        /// The name or address that was asked for.
        host: String,
        /// The port that was asked for.
        port: u16,
        /// `not_allowed`, or `local_address`: the name leads to the machine or its network.
        reason: String,
        /// Where the name leads, when that is the reason.
        address: Option<String>,
        /// When, by RFC 3339; it is recorded when somebody looks, at the latest when what runs there is ended.
        at: String,
    },
    /// A port was leased: to the environment that this is about, else to a process or for a time.
    PortAcquired {
        /// Its number.
        port: u16,
        /// What it was looked at for: `tcp`, `udp` or `both`.
        protocol: String,
        /// What for.
        name: Option<String>,
        /// The id of the process that has it.
        process: Option<u32>,
    },
    /// A port is leased no more.
    PortReleased {
        /// Its number.
        port: u16,
        /// What it was for.
        name: Option<String>,
        /// Why.
        cause: Cause,
    },
    /// A command is about to be started.
    RunStarted {
        /// The id of the run.
        run: String,
        /// Which of the environment's runs it is.
        number: u32,
        /// The command; secrets are hidden, what is not UTF-8 is replaced, and a long one is cut.
        command: Vec<String>,
    },
    /// A command is over.
    RunEnded {
        /// The id of the run.
        run: String,
        /// Which of the environment's runs it is.
        number: u32,
        /// The code that it ended with, as a shell has it; none of one that did not start or is lost.
        exit_code: Option<i32>,
        /// Whether its time was up.
        timed_out: bool,
        /// Why it did not start, or why nobody knows how it ended.
        message: Option<String>,
        /// How long it ran.
        elapsed_seconds: f64,
        /// The processor time that it used.
        cpu_seconds: f64,
        /// The most memory that one of its processes held.
        memory_peak_bytes: u64,
    },
    /// A command reached a limit.
    LimitStruck {
        /// The id of the run.
        run: String,
        /// Which limit.
        limit: String,
        /// What it is set to, in its own unit.
        configured: u64,
        /// What was reached.
        reached: u64,
        /// Whether the command was ended for it.
        ended: bool,
    },
    /// A command left processes behind, which live on.
    ProcessesLeaked {
        /// The id of the run.
        run: String,
        /// How many.
        count: u32,
    },
    /// More is used than an alert allows.
    AlertRaised {
        /// The alert, as it was asked for.
        alert: String,
        /// What is measured: `cpu`, `memory`, `processes` or `disk`.
        metric: String,
        /// What it allows: processors, bytes or processes.
        threshold: f64,
        /// What is used.
        value: f64,
        /// Since when there is more.
        since: Timestamp,
    },
    /// That is over.
    AlertCleared {
        /// The alert, as it was asked for.
        alert: String,
        /// What is measured.
        metric: String,
        /// What it allows.
        threshold: f64,
        /// What is used.
        value: f64,
    },
    /// A hook could not do what it was to do.
    HookFailed {
        /// What was called: the command or the URL.
        hook: String,
        /// The event that it was called for.
        sequence: i64,
        /// What went wrong.
        message: String,
    },
    /// What a user says happened.
    Emitted {
        /// The user's word for it.
        name: String,
        /// What the user says of it.
        data: serde_json::Value,
    },
}

/// Why something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Somebody asked for it.
    Asked,
    /// Its init had ended.
    InitEnded,
    /// The process that it lived for had died.
    OwnerDied,
    /// The operation on it was cut off.
    CutOff,
    /// Its making failed.
    CreationFailed,
    /// Its init could not be started.
    ActivationFailed,
    /// Its time was over.
    Expired,
    /// The environment that it belonged to was removed.
    EnvironmentRemoved,
}

/// A distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageVersion {
    /// Its normalised name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A distribution that has another version now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageUpdate {
    /// Its normalised name.
    pub name: String,
    /// The version before.
    pub before: String,
    /// The version now.
    pub after: String,
}

impl Event {
    /// The version of the fields of all events. Fields that come do not change it.
    pub const VERSION: u32 = 1;

    /// Its word: what is recorded, and what is asked for.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Creating { .. } => "creating",
            Self::Created {} => "created",
            Self::Activating {} => "activating",
            Self::Activated { .. } => "activated",
            Self::Deactivating {} => "deactivating",
            Self::Deactivated { .. } => "deactivated",
            Self::Removing { .. } => "removing",
            Self::Removed {} => "removed",
            Self::Failed { .. } => "failed",
            Self::OperationFailed { .. } => "operation_failed",
            Self::PackagesChanging {} => "packages_changing",
            Self::PackagesChanged { .. } => "packages_changed",
            Self::SnapshotCreating {} => "snapshot_creating",
            Self::SnapshotCreated { .. } => "snapshot_created",
            Self::SnapshotRestoring { .. } => "snapshot_restoring",
            Self::SnapshotRestored { .. } => "snapshot_restored",
            Self::SettingsChanged { .. } => "settings_changed",
            Self::SnapshotRemoved { .. } => "snapshot_removed",
            Self::HostRefused { .. } => "host_refused",
            Self::PortAcquired { .. } => "port_acquired",
            Self::PortReleased { .. } => "port_released",
            Self::RunStarted { .. } => "run_started",
            Self::RunEnded { .. } => "run_ended",
            Self::LimitStruck { .. } => "limit_struck",
            Self::ProcessesLeaked { .. } => "processes_leaked",
            Self::AlertRaised { .. } => "alert_raised",
            Self::AlertCleared { .. } => "alert_cleared",
            Self::HookFailed { .. } => "hook_failed",
            Self::Emitted { .. } => "emitted",
        }
    }

    /// What it is found by: its kind, or the user's word for a user's event.
    pub(crate) fn word(&self) -> &str {
        match self {
            Self::Emitted { name, .. } => name,
            event => event.kind(),
        }
    }

    /// Where it brings the environment that it is about, if it is a step of its life.
    pub(crate) fn transition(&self) -> Option<Transition> {
        Some(match self {
            Self::Created {} => Transition::Create,
            Self::Activating {} => Transition::Activate,
            Self::Activated { .. } => Transition::Activated,
            Self::Deactivating {} => Transition::Deactivate,
            Self::Deactivated { .. } => Transition::Deactivated,
            Self::Removing { .. } => Transition::Remove,
            Self::Removed {} => Transition::Removed,
            Self::Failed { .. } => Transition::Fail,
            _ => return None,
        })
    }

    /// At least one of each, with each field that can be missing both there and not, so that what is said of events can be
    /// made from them and tested.
    pub fn samples() -> Vec<Self> {
        let text = || "text".to_owned();
        let snapshot = || "web-1".to_owned();
        vec![
            Self::Creating {
                python: "3.12.3".to_owned(),
                engine: "virtualenv".to_owned(),
                source: Some("web".to_owned()),
            },
            Self::Creating {
                python: "3.12.3".to_owned(),
                engine: "virtualenv".to_owned(),
                source: None,
            },
            Self::Created {},
            Self::Activating {},
            Self::Activated {
                profile: "standard".to_owned(),
                network: "host".to_owned(),
                degraded: vec![text()],
            },
            Self::Deactivating {},
            Self::Deactivated {
                cause: Cause::InitEnded,
            },
            Self::Removing {
                cause: Cause::OwnerDied,
            },
            Self::Removed {},
            Self::Failed { message: text() },
            Self::OperationFailed {
                operation: "install".to_owned(),
                message: text(),
            },
            Self::PackagesChanging {},
            Self::PackagesChanged {
                installed: vec![PackageVersion {
                    name: "six".to_owned(),
                    version: "1.17.0".to_owned(),
                }],
                uninstalled: Vec::new(),
                updated: vec![PackageUpdate {
                    name: "idna".to_owned(),
                    before: "3.6".to_owned(),
                    after: "3.7".to_owned(),
                }],
            },
            Self::SnapshotCreating {},
            Self::SnapshotCreated {
                snapshot: snapshot(),
            },
            Self::SnapshotRestoring {
                snapshot: snapshot(),
            },
            Self::SnapshotRestored {
                snapshot: snapshot(),
            },
            Self::SnapshotRemoved {
                snapshot: snapshot(),
            },
            Self::HostRefused {
                host: "a.example".to_owned(),
                port: 443,
                reason: "local_address".to_owned(),
                address: Some("10.0.0.1".to_owned()),
                at: "2026-01-01T00:00:00.000Z".to_owned(),
            },
            Self::HostRefused {
                host: "b.example".to_owned(),
                port: 443,
                reason: "not_allowed".to_owned(),
                address: None,
                at: "2026-01-01T00:00:00.000Z".to_owned(),
            },
            Self::PortAcquired {
                port: 20_000,
                protocol: "both".to_owned(),
                name: Some("http".to_owned()),
                process: Some(1),
            },
            Self::PortAcquired {
                port: 20_000,
                protocol: "both".to_owned(),
                name: None,
                process: None,
            },
            Self::PortReleased {
                port: 20_000,
                name: Some("http".to_owned()),
                cause: Cause::EnvironmentRemoved,
            },
            Self::PortReleased {
                port: 20_000,
                name: None,
                cause: Cause::Asked,
            },
            Self::SettingsChanged {
                settings: vec!["memory".to_owned()],
            },
            Self::RunStarted {
                run: "r17".to_owned(),
                number: 3,
                command: vec!["pytest".to_owned()],
            },
            Self::RunEnded {
                run: "r17".to_owned(),
                number: 3,
                exit_code: Some(0),
                timed_out: false,
                message: None,
                elapsed_seconds: 1.5,
                cpu_seconds: 1.25,
                memory_peak_bytes: 1 << 20,
            },
            Self::LimitStruck {
                run: "r17".to_owned(),
                limit: "memory".to_owned(),
                configured: 1 << 20,
                reached: 1 << 20,
                ended: true,
            },
            Self::ProcessesLeaked {
                run: "r17".to_owned(),
                count: 2,
            },
            Self::AlertRaised {
                alert: "memory>400M".to_owned(),
                metric: "memory".to_owned(),
                threshold: 419_430_400.0,
                value: 500_000_000.0,
                since: Timestamp::from_millisecond(1_700_000_000_000),
            },
            Self::AlertCleared {
                alert: "memory>400M".to_owned(),
                metric: "memory".to_owned(),
                threshold: 419_430_400.0,
                value: 1.0,
            },
            Self::HookFailed {
                hook: text(),
                sequence: 7,
                message: text(),
            },
            Self::Emitted {
                name: "deployed".to_owned(),
                data: serde_json::json!({"to": "staging"}),
            },
        ]
    }
}

impl From<&[PackageChange]> for Event {
    fn from(changes: &[PackageChange]) -> Self {
        let (mut installed, mut uninstalled, mut updated) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            let name = change.name.clone();
            match (change.before.clone(), change.after.clone()) {
                (None, Some(version)) => installed.push(PackageVersion { name, version }),
                (Some(version), None) => uninstalled.push(PackageVersion { name, version }),
                (Some(before), Some(after)) => updated.push(PackageUpdate {
                    name,
                    before,
                    after,
                }),
                (None, None) => {}
            }
        }
        Self::PackagesChanged {
            installed,
            uninstalled,
            updated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_an_event_is_what_is_recorded_and_leads_back_to_it() {
        for event in Event::samples() {
            let recorded = serde_json::to_value(&event).unwrap();
            assert_eq!(recorded["event"], event.kind());
            assert!(recorded["payload"].is_object(), "{recorded}");
            assert_eq!(serde_json::from_value::<Event>(recorded).unwrap(), event);
        }
    }

    #[test]
    fn an_update_is_told_from_what_came_and_what_went() {
        let change = |name: &str, before: Option<&str>, after: Option<&str>| PackageChange {
            name: name.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let changes = [
            change("a", None, Some("1")),
            change("b", Some("2"), None),
            change("c", Some("3"), Some("4")),
        ];
        let Event::PackagesChanged {
            installed,
            uninstalled,
            updated,
        } = Event::from(&changes[..])
        else {
            panic!("another event");
        };
        assert_eq!(installed[0].name, "a");
        assert_eq!(uninstalled[0].version, "2");
        assert_eq!((&*updated[0].before, &*updated[0].after), ("3", "4"));
    }
}
