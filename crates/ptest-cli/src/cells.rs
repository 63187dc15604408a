//! What is shown while the cells of a matrix run.
//!
//! A line for each cell that has ended, with what its command wrote if it failed. On a terminal also a line for each that
//! has begun, and one for how far the matrix is.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ptest::{
    engine::ExitStatus,
    matrix::{CellPlan, CellResult, Happening, Outcome, Watch, told},
};

use crate::{progress::Counted, ui::Ui};

/// Shows the cells of one matrix; the lines go when dropped.
pub(crate) struct Cells {
    ui: Ui,
    names: Vec<String>,
    width: usize,
    /// On a terminal, with the last of them.
    lines: Option<(MultiProgress, ProgressBar)>,
    state: Mutex<State>,
}

struct State {
    bars: Vec<Option<ProgressBar>>,
    counted: Vec<Counted>,
    ended: usize,
}

impl Cells {
    pub(crate) fn new(ui: &Ui, cells: &[CellPlan]) -> Self {
        let names: Vec<String> = cells.iter().map(|plan| plan.cell.name.clone()).collect();
        Self {
            ui: ui.clone(),
            width: names
                .iter()
                .map(|name| name.chars().count())
                .max()
                .unwrap_or_default(),
            lines: ui.draws_progress().then(|| {
                let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
                let last = lines.add(ProgressBar::new(names.len() as u64));
                style(&last, "  {pos} of {len} cells, {elapsed}");
                last.tick();
                (lines, last)
            }),
            state: Mutex::new(State {
                bars: vec![None; names.len()],
                counted: vec![Counted::default(); names.len()],
                ended: 0,
            }),
            names,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line of a cell, made when it begins.
    fn bar(&self, number: usize) -> Option<ProgressBar> {
        let (lines, last) = self.lines.as_ref()?;
        let mut state = self.state();
        let bar = state.bars[number].get_or_insert_with(|| {
            let bar = lines.insert_before(last, ProgressBar::new_spinner());
            style(&bar, "{spinner} {prefix} {wide_msg} {elapsed:>4}");
            let width = self.width;
            bar.set_prefix(format!("{:<width$}", self.names[number]));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Some(bar.clone())
    }

    fn message(&self, number: usize, text: String) {
        if let Some(bar) = self.bar(number) {
            bar.set_message(text);
        }
    }

    fn ended(&self, number: usize, result: &CellResult) {
        let bar = self.bar(number);
        let ended = {
            let mut state = self.state();
            state.ended += 1;
            state.ended
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let say = || self.say(number, ended, result);
        match &self.lines {
            Some((lines, last)) => {
                last.inc(1);
                lines.suspend(say);
            }
            None => say(),
        }
    }

    fn say(&self, number: usize, ended: usize, result: &CellResult) {
        let (name, width, count) = (&self.names[number], self.width, self.names.len());
        let line = format!(
            "{name:<width$} {} in {:.2} s, prepared in {:.2} s ({ended}/{count})",
            outcome(result),
            result.elapsed.as_secs_f64(),
            result.prepared.as_secs_f64(),
        );
        if result.has_passed() {
            self.ui.done("ok    ", line);
            return;
        }
        match &result.outcome {
            Outcome::Stopped => self.ui.note(format_args!("-      {line}")),
            Outcome::Error(error) => {
                self.ui.failed("failed", line);
                self.ui.explain(&error.clone().into());
            }
            Outcome::Ended(_) => {
                self.ui.failed("failed", line);
                self.ui.others(&told(&result.output));
            }
        }
        if let Some(error) = &result.not_removed {
            self.ui.explain(&error.clone().into());
        }
    }
}

impl Watch for Cells {
    fn cell(&self, number: usize, happening: Happening<'_>) {
        match happening {
            Happening::Preparing => self.message(number, "is being made".to_owned()),
            Happening::Step(step) => {
                let words = self.state().counted[number].words(&step);
                self.message(number, words);
            }
            Happening::Running { .. } => self.message(number, "runs".to_owned()),
            Happening::Ended(result) => self.ended(number, result),
        }
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        if let Some((lines, _)) = &self.lines {
            // What cannot be drawn any more is not there.
            let _ = lines.clear();
        }
    }
}

fn style(bar: &ProgressBar, template: &str) {
    // A template that is none leaves the usual one.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// How a cell ended, in a word or two.
pub(crate) fn outcome(result: &CellResult) -> String {
    match &result.outcome {
        _ if result.has_passed() => "passed".to_owned(),
        Outcome::Ended(exit) if exit.timed_out => "timed out".to_owned(),
        Outcome::Ended(exit) => match exit.status {
            ExitStatus::Code(code) => format!("exit {code}"),
            ExitStatus::Signal(signal) => format!("signal {signal}"),
        },
        Outcome::Error(_) => "not run".to_owned(),
        Outcome::Stopped => "stopped".to_owned(),
    }
}
