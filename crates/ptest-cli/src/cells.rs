//! What is shown while the cells of a matrix run.
//!
//! On a terminal a line for each cell that has begun; else a line for each that has ended. What the command of a failed
//! cell wrote is shown when it has ended.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ptest::{
    engine::ExitStatus,
    matrix::{CellPlan, CellResult, Happening, Outcome, Watch},
};

use crate::{progress::Counted, ui::Ui};

/// The most that is shown of what a command wrote: the end of it.
const TOLD: u64 = 64 << 10;

/// Shows the cells of one matrix; the lines go when dropped.
pub(crate) struct Cells {
    ui: Ui,
    names: Vec<String>,
    width: usize,
    lines: Option<MultiProgress>,
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
            lines: ui
                .draws_progress()
                .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
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
        let lines = self.lines.as_ref()?;
        let mut state = self.state();
        let bar = state.bars[number].get_or_insert_with(|| {
            let bar = lines.add(ProgressBar::new_spinner());
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix} {wide_msg} {elapsed:>4}")
            {
                bar.set_style(style);
            }
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
            Some(lines) => lines.suspend(say),
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
        if let Some(lines) = &self.lines {
            // What cannot be drawn any more is not there.
            let _ = lines.clear();
        }
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

/// The end of what a command wrote, from the beginning of a line.
pub(crate) fn told(output: &Path) -> Vec<u8> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(output)?;
        let length = file.metadata()?.len();
        let begin = length.saturating_sub(TOLD);
        file.seek(SeekFrom::Start(begin))?;
        let mut text = Vec::new();
        file.take(TOLD).read_to_end(&mut text)?;
        if begin > 0 {
            let line = text
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let note = format!(
                "… {} bytes before this are in {}\n",
                begin + line as u64,
                output.display()
            );
            text.splice(..line, note.into_bytes());
        }
        Ok(text)
    };
    // A cell whose command was never started has written nothing.
    read().unwrap_or_default()
}
