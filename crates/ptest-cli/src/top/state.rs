//! What the view knows, and how news change it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ptest::engine::{Listed, Processes, Usage};
use ptest::environment::{EnvironmentId, State as Life, Status};
use ptest::settings::Kept;
use ptest::timestamp::Timestamp;

/// How many seconds a sparkline can show.
pub(crate) const REMEMBERED: usize = 120;

/// What is looked at once a second.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) time: Timestamp,
    pub(crate) entries: Vec<Entry>,
    /// The processes of the environment that was selected.
    pub(crate) processes: Option<(EnvironmentId, Processes)>,
    /// What environments had before the view was opened: processors and memory, a second each.
    pub(crate) history: Vec<(EnvironmentId, Vec<(f64, u64)>)>,
}

/// An environment at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: EnvironmentId,
    pub(crate) label: String,
    pub(crate) state: Life,
    pub(crate) usage: Usage,
    pub(crate) limits: Vec<Kept>,
    pub(crate) created_at: Timestamp,
}

impl From<Status> for Entry {
    fn from(status: Status) -> Self {
        let Status { record, usage, .. } = status;
        Self {
            label: record.label().to_owned(),
            id: record.id,
            state: record.state,
            usage,
            limits: record
                .achieved
                .map(|achieved| achieved.limits.clone())
                .unwrap_or_default(),
            created_at: record.created_at,
        }
    }
}

/// What the view hears beside keys.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// How things are.
    Seen(Snapshot),
    /// What came of something that was asked for, a sentence.
    Done(String),
}

/// What is to be done for the view.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// It is closed.
    Quit,
    /// It shows another environment's processes.
    Look(Option<EnvironmentId>),
    /// Something is done to an environment, by its name.
    Do(Subject, Action),
}

/// An environment, for people and for the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) id: EnvironmentId,
    pub(crate) label: String,
}

/// What can be done to an environment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Signal(Box<Listed>, i32),
    Deactivate,
    Remove,
}

/// By what environments are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Cpu,
    Memory,
    Processes,
    Name,
    Age,
}

impl Order {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Cpu => Self::Memory,
            Self::Memory => Self::Processes,
            Self::Processes => Self::Name,
            Self::Name => Self::Age,
            Self::Age => Self::Cpu,
        }
    }
}

/// In which of the two lists keys move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Focus {
    #[default]
    Environments,
    Processes,
}

/// What keys are for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Mode {
    /// Moving.
    #[default]
    Browse,
    /// Writing what names must contain.
    Filter,
    /// Choosing a signal for a process.
    Signal(Box<Listed>, usize),
    /// Saying yes or no.
    Confirm(Action),
    /// Reading what keys do.
    Help,
}

/// An environment as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) entry: Entry,
    /// How many processors were busy, since the last look.
    pub(crate) cpus: f64,
    /// Bytes read and written a second.
    pub(crate) read: f64,
    pub(crate) written: f64,
}

impl Row {
    pub(crate) fn subject(&self) -> Subject {
        Subject {
            id: self.entry.id.clone(),
            label: self.entry.label.clone(),
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.entry.state == Life::Active
    }
}

/// What an environment had lately, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    pub(crate) cpus: VecDeque<f64>,
    pub(crate) memory: VecDeque<f64>,
}

impl Past {
    fn push(&mut self, cpus: f64, memory: f64) {
        for (values, value) in [(&mut self.cpus, cpus), (&mut self.memory, memory)] {
            values.push_back(value);
            if values.len() > REMEMBERED {
                values.pop_front();
            }
        }
    }
}

/// All that the view knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) time: Option<Timestamp>,
    rows: Vec<Row>,
    pub(crate) past: BTreeMap<EnvironmentId, Past>,
    pub(crate) order: Order,
    pub(crate) reversed: bool,
    pub(crate) filter: String,
    pub(crate) focus: Focus,
    pub(crate) mode: Mode,
    pub(crate) selected: Option<EnvironmentId>,
    /// The processes of the selected environment, with how busy each is.
    pub(crate) processes: Vec<(Listed, f64)>,
    pub(crate) left_out: u32,
    /// By id and start.
    pub(crate) selected_process: Option<(i32, u64)>,
    /// What came of the last thing that was done.
    pub(crate) message: Option<String>,
}

impl State {
    /// Takes in news.
    pub(crate) fn hear(&mut self, news: News) -> Option<Effect> {
        match news {
            News::Seen(snapshot) => self.see(snapshot),
            News::Done(sentence) => {
                self.message = Some(sentence);
                None
            }
        }
    }

    fn see(&mut self, snapshot: Snapshot) -> Option<Effect> {
        let passed = self.time.map(|before| between(before, snapshot.time));
        for (id, values) in snapshot.history {
            let past = self.past.entry(id).or_default();
            for (cpus, memory) in values {
                past.push(cpus, memory as f64);
            }
        }
        let before: BTreeMap<EnvironmentId, Row> = std::mem::take(&mut self.rows)
            .into_iter()
            .map(|row| (row.entry.id.clone(), row))
            .collect();
        for entry in snapshot.entries {
            let earlier = before.get(&entry.id).map(|row| &row.entry.usage);
            let rate = |now: f64, then: Option<f64>| match (then, passed) {
                // What began anew since has not been looked at for as long.
                (Some(then), Some(passed)) if now >= then => (now - then) / passed,
                _ => 0.0,
            };
            let usage = &entry.usage;
            let row = Row {
                cpus: rate(
                    usage.cpu.as_secs_f64(),
                    earlier.map(|one| one.cpu.as_secs_f64()),
                ),
                read: rate(usage.read as f64, earlier.map(|one| one.read as f64)),
                written: rate(usage.written as f64, earlier.map(|one| one.written as f64)),
                entry,
            };
            let is_known = row.is_active() || self.past.contains_key(&row.entry.id);
            // At first nobody knows how busy it is.
            if is_known && passed.is_some() {
                let past = self.past.entry(row.entry.id.clone()).or_default();
                past.push(row.cpus, row.entry.usage.memory as f64);
            }
            self.rows.push(row);
        }
        let rows = &self.rows;
        self.past
            .retain(|id, _| rows.iter().any(|row| row.entry.id == *id));
        self.see_processes(snapshot.processes, passed);
        self.time = Some(snapshot.time);
        self.keep_selection()
    }

    fn see_processes(
        &mut self,
        processes: Option<(EnvironmentId, Processes)>,
        passed: Option<f64>,
    ) {
        let Some((_, seen)) = processes.filter(|(id, _)| Some(id) == self.selected.as_ref()) else {
            return;
        };
        let before: BTreeMap<(i32, u64), Duration> = self
            .processes
            .iter()
            .map(|(process, _)| (key(process), process.cpu))
            .collect();
        self.left_out = seen.left_out;
        self.processes = seen
            .processes
            .into_iter()
            .map(|process| {
                let used = before.get(&key(&process));
                let used = used.map_or(Duration::ZERO, |then| process.cpu.saturating_sub(*then));
                let cpus = passed.map_or(0.0, |passed| used.as_secs_f64() / passed);
                (process, cpus)
            })
            .collect();
        if self.process().is_none() {
            self.selected_process = self.processes.first().map(|(process, _)| key(process));
        }
    }

    /// Something is selected as long as there is something.
    pub(super) fn keep_selection(&mut self) -> Option<Effect> {
        let shown = self.shown();
        let is_there = shown
            .iter()
            .any(|row| Some(&row.entry.id) == self.selected.as_ref());
        if is_there {
            return None;
        }
        let first = shown.first().map(|row| row.entry.id.clone());
        self.select(first)
    }

    pub(super) fn select(&mut self, id: Option<EnvironmentId>) -> Option<Effect> {
        if id == self.selected {
            return None;
        }
        self.processes.clear();
        self.left_out = 0;
        self.selected_process = None;
        self.selected.clone_from(&id);
        Some(Effect::Look(id))
    }

    /// The environments that the filter lets through, in order.
    pub(crate) fn shown(&self) -> Vec<&Row> {
        let wanted = self.filter.to_lowercase();
        let mut rows: Vec<&Row> = self
            .rows
            .iter()
            .filter(|row| row.entry.label.to_lowercase().contains(&wanted))
            .collect();
        let label = |row: &Row| row.entry.label.clone();
        rows.sort_by(|one, other| {
            let usage = |row: &Row| row.entry.usage;
            let by = match self.order {
                Order::Cpu => other.cpus.total_cmp(&one.cpus),
                Order::Memory => usage(other).memory.cmp(&usage(one).memory),
                Order::Processes => usage(other).processes.cmp(&usage(one).processes),
                Order::Name => std::cmp::Ordering::Equal,
                Order::Age => one.entry.created_at.cmp(&other.entry.created_at),
            };
            // What runs comes first among equals, then names.
            by.then_with(|| {
                other
                    .is_active()
                    .cmp(&one.is_active())
                    .then_with(|| label(one).cmp(&label(other)))
            })
        });
        if self.order == Order::Name {
            rows.sort_by_key(|row| label(row));
        }
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    /// All of them.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The selected environment.
    pub(crate) fn row(&self) -> Option<&Row> {
        let id = self.selected.as_ref()?;
        self.rows.iter().find(|row| row.entry.id == *id)
    }

    /// The selected process.
    pub(crate) fn process(&self) -> Option<&Listed> {
        let wanted = self.selected_process?;
        let mut all = self.processes.iter().map(|(process, _)| process);
        all.find(|process| key(process) == wanted)
    }
}

/// What names one process for ever.
pub(super) fn key(process: &Listed) -> (i32, u64) {
    (process.pid, process.started)
}

/// Seconds, of which there is always a part.
fn between(from: Timestamp, to: Timestamp) -> f64 {
    let milliseconds = to.as_millisecond().saturating_sub(from.as_millisecond());
    milliseconds.max(1) as f64 / 1_000.0
}
