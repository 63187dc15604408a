//! What has to be done so that everything is as a file says.
//!
//! Only looks. Not for doing it: that is `carry_out`'s.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::table::{self, Mark};
use crate::environment::{EnvironmentId, Record, State};
use crate::error::Result;
use crate::hooks::{Hook, table as known_hooks};
use crate::progress::Progress;
use crate::ptest::Ptest;
use crate::python::PythonRequest;
use crate::settings::{Profile, Settings};
use crate::spec::EnvironmentSpec;

/// What may be done besides making and changing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// To make anew what cannot be changed: what commands wrote in it is lost.
    pub recreate: bool,
    /// To take away what the file made and does not name any more.
    pub prune: bool,
}

/// What is to be done, environment by environment.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the file is known by.
    pub source: String,
    /// In the order of the file; what it does not name any more comes last.
    pub steps: Vec<Planned>,
    /// Its hooks, those that it does not name any more last.
    pub hooks: Vec<PlannedHook>,
}

/// What is to be done with one hook: it is kept, made known or forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHook {
    /// Which.
    pub hook: Hook,
    /// What is to be done: to keep, create or remove it.
    pub action: Action,
}

/// What is to be done with one environment.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its name, or the id of one that has none.
    pub label: String,
    /// What is to be done.
    pub action: Action,
    /// Whether that may be done; else it waits for being allowed.
    pub is_allowed: bool,
    /// What is not as the file says.
    pub differences: Vec<Difference>,
    /// What the file says.
    pub(super) spec: Option<EnvironmentSpec>,
    /// What is there.
    pub(super) id: Option<EnvironmentId>,
    pub(super) mark: Mark,
}

/// What is done with an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is as the file says.
    Keep,
    /// It is not there and is made.
    Create,
    /// It is changed where it stands; what commands wrote in it stays.
    Change,
    /// What differs cannot be changed: it is taken away and made anew.
    Recreate,
    /// The file does not name it any more, and it is taken away.
    Remove,
    /// Its name belongs to something that the file did not make.
    Refuse,
}

/// Something that is not as the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about.
    pub what: String,
    /// What is there; nothing where it is not set.
    pub found: Option<String>,
    /// What is to be there.
    pub wanted: Option<String>,
}

impl Action {
    /// The word used in messages and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Create => "create",
            Self::Change => "change",
            Self::Recreate => "recreate",
            Self::Remove => "remove",
            Self::Refuse => "refuse",
        }
    }
}

impl Plan {
    /// Whether everything is as the file says.
    pub fn is_converged(&self) -> bool {
        let hooks = self.hooks.iter().map(|hook| hook.action);
        let mut actions = self.steps.iter().map(|step| step.action).chain(hooks);
        actions.all(|action| action == Action::Keep)
    }
}

impl Ptest {
    /// What has to be done so that the environments that `source` made are these, and no others, and its hooks are these.
    ///
    /// Each of `specs` has a name, and no two the same.
    pub fn plan(
        &self,
        source: &str,
        specs: &[EnvironmentSpec],
        hooks: &[Hook],
        allowed: Allowed,
        progress: &dyn Progress,
    ) -> Result<Plan> {
        let marks = table::all(self.store().database())?;
        let records = self.records()?;
        let mut by_name: BTreeMap<&str, &Record> = records
            .iter()
            .filter_map(|record| Some((record.name.as_ref()?.as_str(), record)))
            .collect();
        let mut steps = Vec::with_capacity(specs.len());
        for spec in specs {
            let name = spec.name.as_ref().map_or("", |name| name.as_str());
            let mark = Mark {
                source: source.to_owned(),
                asked: self.provisioner().asked(&spec.requirements)?,
            };
            let found = by_name.remove(name);
            let (action, differences) = match found {
                None => (Action::Create, Vec::new()),
                Some(record) => match marks.get(&record.id).filter(|it| it.source == source) {
                    None => (Action::Refuse, Vec::new()),
                    Some(before) => {
                        self.compare(record, spec, before.asked != mark.asked, progress)?
                    }
                },
            };
            steps.push(Planned {
                label: name.to_owned(),
                action,
                is_allowed: match action {
                    Action::Recreate => allowed.recreate,
                    _ => action != Action::Refuse,
                },
                differences,
                spec: Some(spec.clone()),
                id: found.map(|record| record.id.clone()),
                mark,
            });
        }
        let declared: Vec<_> = steps.iter().filter_map(|step| step.id.clone()).collect();
        let of_source = |record: &&Record| {
            marks
                .get(&record.id)
                .is_some_and(|mark| mark.source == source)
        };
        for record in records.iter().filter(of_source) {
            if declared.contains(&record.id) {
                continue;
            }
            steps.push(Planned {
                label: record.label().to_owned(),
                action: Action::Remove,
                is_allowed: allowed.prune,
                differences: Vec::new(),
                spec: None,
                id: Some(record.id.clone()),
                mark: Mark {
                    source: source.to_owned(),
                    asked: String::new(),
                },
            });
        }
        Ok(Plan {
            source: source.to_owned(),
            steps,
            hooks: self.plan_hooks(source, hooks)?,
        })
    }

    fn plan_hooks(&self, source: &str, hooks: &[Hook]) -> Result<Vec<PlannedHook>> {
        let mut known = self.store().database().read(known_hooks::all)?;
        known.retain(|known| known.source.as_deref() == Some(source));
        let is_known = |hook: &Hook| known.iter().any(|known| known.hook == *hook);
        let wanted = hooks.iter().map(|hook| PlannedHook {
            hook: hook.clone(),
            action: if is_known(hook) {
                Action::Keep
            } else {
                Action::Create
            },
        });
        let gone = known.iter().filter(|known| !hooks.contains(&known.hook));
        let gone = gone.map(|known| PlannedHook {
            hook: known.hook.clone(),
            action: Action::Remove,
        });
        Ok(wanted.chain(gone).collect())
    }

    /// What differs between what is there and what is wanted, and what has to be done about it.
    fn compare(
        &self,
        record: &Record,
        spec: &EnvironmentSpec,
        asks_for_other: bool,
        progress: &dyn Progress,
    ) -> Result<(Action, Vec<Difference>)> {
        if record.state == State::Failed {
            let what = Difference::new("state", Some(record.state.as_str()), None);
            return Ok((Action::Recreate, vec![what]));
        }
        let mut fixed = Vec::new();
        if record.engine != spec.engine {
            fixed.push(Difference::new(
                "engine",
                Some(&record.engine),
                Some(&spec.engine),
            ));
        }
        if !self.is_asked_for(record, spec.python.as_deref(), progress)? {
            let found = Some(record.python.version.as_str());
            fixed.push(Difference::new("python", found, spec.python.as_deref()));
        }
        let mut others = differences(&*record.requirements, &spec.requirements);
        if others.is_empty() && asks_for_other {
            others.push(Difference::new(
                "requirements files",
                Some("as they were"),
                Some("as they are"),
            ));
        }
        let of_settings = differences(&*record.settings, &spec.settings);
        if is_made_for(&record.settings) == is_made_for(&spec.settings) {
            others.extend(of_settings);
        } else {
            fixed.extend(of_settings);
        }
        let action = match (fixed.is_empty(), others.is_empty()) {
            (false, _) => Action::Recreate,
            (true, false) => Action::Change,
            (true, true) => Action::Keep,
        };
        fixed.append(&mut others);
        Ok((action, fixed))
    }

    /// Whether the interpreter of an environment is one that is asked for. Another that would be
    /// chosen today is no reason to leave it.
    fn is_asked_for(
        &self,
        record: &Record,
        request: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<bool> {
        let executable = &record.python.executable;
        let Some(request) = request else {
            return Ok(executable.exists());
        };
        if !executable.exists() {
            return Ok(false);
        }
        let parsed = PythonRequest::parse(request, self.host())?;
        if matches!(parsed, PythonRequest::Version(_) | PythonRequest::Range(_)) {
            let found = executable.to_str();
            let here = self
                .provisioner()
                .interpreter(self.store(), found, progress)?;
            return Ok(parsed.admits(&here.version, here.free_threaded));
        }
        let wanted = self
            .provisioner()
            .interpreter(self.store(), Some(request), progress)?;
        Ok(wanted.executable == *executable)
    }
}

impl Difference {
    fn new(what: &str, found: Option<&str>, wanted: Option<&str>) -> Self {
        Self {
            what: what.to_owned(),
            found: found.map(str::to_owned),
            wanted: wanted.map(str::to_owned),
        }
    }
}

/// What an environment was made for, which no later change of its settings can undo: how its files
/// come together, and the ports that were leased to it.
fn is_made_for(settings: &Settings) -> impl PartialEq + '_ {
    (
        settings.profile == Some(Profile::None),
        settings.hard_links,
        &settings.ports,
        settings.port_range,
    )
}

/// What differs between two things of one kind, by the names of their parts.
pub(super) fn differences<T: Serialize>(found: &T, wanted: &T) -> Vec<Difference> {
    let parts = |value: &T| match serde_json::to_value(value) {
        Ok(Value::Object(parts)) => parts,
        // Both are written to the database as such.
        _ => serde_json::Map::new(),
    };
    let (found, wanted) = (parts(found), parts(wanted));
    let names: std::collections::BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| found.get(*name) != wanted.get(*name));
    differ
        .map(|name| Difference {
            what: name.clone(),
            found: found.get(name).map(words),
            wanted: wanted.get(name).map(words),
        })
        .collect()
}

/// A value as people read it: texts without quotes, lists and tables in one line.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(" "),
        Value::Object(parts) => {
            let pairs = parts
                .iter()
                .map(|(name, value)| format!("{name}={}", words(value)));
            pairs.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}
