//! What is shown while a long operation goes on.
//!
//! On a terminal one line that appears after half a second and goes without a trace; who asked for every step reads them in
//! the log.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ptest::{Progress, Step};
use tracing::{Level, debug, enabled};

use crate::ui::Ui;

/// Shorter work is over before anybody could read about it.
const QUIET_TIME: Duration = Duration::from_millis(500);

/// Shows the steps of one operation; gone when dropped.
pub(crate) struct Shown {
    ui: Ui,
    counted: Mutex<Counted>,
    line: Option<Line>,
}

/// What was counted of the steps of one operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    missing: usize,
    layered: usize,
    done: usize,
}

impl Shown {
    pub(crate) fn new(ui: &Ui) -> Self {
        Self {
            ui: ui.clone(),
            counted: Mutex::default(),
            line: ui.draws_progress().then(Line::new),
        }
    }
}

impl Counted {
    /// A step in words for people, with how many there were before.
    pub(crate) fn words(&mut self, step: &Step) -> String {
        match step {
            Step::WritingInto { project } => writing_into(project),
            Step::Fetched { name } => format!("{name} is here"),
            Step::AskingInterpreter => "asking the interpreter what it is".to_owned(),
            Step::Resolving => "choosing versions".to_owned(),
            Step::Missing(count) => {
                self.missing = *count;
                format!("bringing {count} distributions into the store")
            }
            Step::Layered { name, version } => {
                self.layered += 1;
                format!(
                    "{}/{} {name} {version}",
                    self.layered,
                    self.missing.max(self.layered)
                )
            }
            Step::Compiling { name } => format!("compiling {name}"),
            Step::Attacking { what } => format!("attacking: {what}"),
            Step::Flattening(count) => format!("making one layer of {count}"),
            Step::Created => "created".to_owned(),
            Step::OneOf { label, count } => {
                self.done += 1;
                format!("{}/{count} {label}", self.done)
            }
        }
    }
}

impl Progress for Shown {
    fn step(&self, step: Step) {
        if let Step::WritingInto { project } = &step {
            // Nobody should have to watch to learn that.
            let say = || self.ui.note(writing_into(project));
            match &self.line {
                Some(line) => line.bar.suspend(say),
                None => say(),
            }
            return;
        }
        if self.line.is_none() && !enabled!(Level::DEBUG) {
            return;
        }
        let text = self
            .counted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .words(&step);
        debug!("{text}");
        if let Some(line) = &self.line {
            line.bar.set_message(text);
        }
    }
}

fn writing_into(project: &Path) -> String {
    format!(
        "building the editable project {} writes into it",
        project.display()
    )
}

/// A line on the terminal, with the thread that makes it appear.
struct Line {
    bar: ProgressBar,
    /// Dropped first: that ends the thread.
    done: Option<Sender<()>>,
    appears: Option<JoinHandle<()>>,
}

impl Line {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        let (done, wait) = mpsc::channel();
        let shown = bar.clone();
        let appears = thread::spawn(move || {
            if wait.recv_timeout(QUIET_TIME) == Err(RecvTimeoutError::Timeout) {
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(Duration::from_millis(100));
            }
        });
        Self {
            bar,
            done: Some(done),
            appears: Some(appears),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.done = None;
        if let Some(thread) = self.appears.take() {
            // It only sets two fields of the line; if it panicked there is no line to take away.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}
