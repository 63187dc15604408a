//! What `hooks` writes.

use ptest::hooks::{Action, Hook, HookStatus, Served};
use serde::Serialize;

use crate::Report;

/// What is called when something happens.
#[derive(Debug, Serialize)]
pub struct HooksReport {
    hooks: Vec<HookStatusDto>,
}

/// What was done for hooks.
#[derive(Debug, Serialize)]
pub struct ServedReport {
    /// How often hooks were called.
    called: u64,
    /// How often that failed.
    failed: u64,
}

#[derive(Debug, Serialize)]
struct HookStatusDto {
    #[serde(flatten)]
    hook: HookDto,
    /// The file that declares it; null if the configuration does.
    source: Option<String>,
    /// The number of the last event that it is done with.
    sequence: i64,
    /// How many events it is still to be called for.
    waiting: usize,
}

/// A hook.
#[derive(Debug, Serialize)]
pub struct HookDto {
    events: Vec<String>,
    /// The environments that it is for; empty for all.
    environments: Vec<String>,
    /// The program that is run, with its arguments.
    command: Option<Vec<String>>,
    /// The URL that is sent to.
    url: Option<String>,
    timeout_seconds: f64,
}

impl From<Hook> for HookDto {
    fn from(hook: Hook) -> Self {
        let (command, url) = match hook.action {
            Action::Command(words) => (Some(words), None),
            Action::Url(url) => (None, Some(url)),
        };
        Self {
            events: hook.events,
            environments: hook.environments,
            command,
            url,
            timeout_seconds: hook.timeout.as_secs_f64(),
        }
    }
}

impl From<Vec<HookStatus>> for HooksReport {
    fn from(hooks: Vec<HookStatus>) -> Self {
        let dto = |status: HookStatus| HookStatusDto {
            hook: status.hook.into(),
            source: status.source,
            sequence: status.sequence,
            waiting: status.waiting,
        };
        Self {
            hooks: hooks.into_iter().map(dto).collect(),
        }
    }
}

impl From<Served> for ServedReport {
    fn from(served: Served) -> Self {
        Self {
            called: served.called,
            failed: served.failed,
        }
    }
}

impl HookDto {
    /// Hooks that show every field.
    pub fn samples() -> Vec<Self> {
        let sample = |action| Hook {
            events: vec!["failed".to_owned()],
            environments: vec!["web".to_owned()],
            action,
            timeout: Hook::TIMEOUT,
        };
        [
            Action::Command(vec!["notify".to_owned()]),
            Action::Url("http://localhost:8080/events".to_owned()),
        ]
        .map(|action| sample(action).into())
        .into()
    }
}

impl Report for HooksReport {
    const NAME: &'static str = "ptest.hooks";

    fn samples() -> Vec<Self> {
        let sources = [None, Some("/project/environments.toml".to_owned())];
        let hooks = HookDto::samples().into_iter().zip(sources);
        let status = |(hook, source)| HookStatusDto {
            hook,
            source,
            sequence: 7,
            waiting: 0,
        };
        vec![Self {
            hooks: hooks.map(status).collect(),
        }]
    }
}

impl Report for ServedReport {
    const NAME: &'static str = "ptest.served";

    fn samples() -> Vec<Self> {
        vec![Self {
            called: 3,
            failed: 1,
        }]
    }
}
