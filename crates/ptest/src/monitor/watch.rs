//! Who folds without being asked: those who run a command, bring an environment to its end, or tidy up.

use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::fold::Folded;
use super::history;
use crate::environment::State;
use crate::environment::table::{self, Record};
use crate::error::Result;
use crate::operation;
use crate::ptest::Ptest;

/// How often what was sampled is judged while a command runs.
const INTERVAL: Duration = Duration::from_secs(1);
/// From how many samples on that nobody has folded whoever tidies does: a ring holds four times as many.
const MANY: usize = 1_000;

/// While it lives the alerts of an environment are judged, and once more when it ends.
#[derive(Debug)]
pub(crate) struct Watch {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The process in which the thread is.
    process: u32,
}

impl Watch {
    /// Begins to judge, if there are alerts. That nobody does so is no reason not to run a command.
    pub(crate) fn begin(ptest: &Ptest, record: &Record) -> Option<Self> {
        if record.settings.alerts.is_empty() {
            return None;
        }
        let (end, ended) = mpsc::channel::<()>();
        let (ptest, record) = (ptest.clone(), record.clone());
        let judge = move || {
            loop {
                let waited = ended.recv_timeout(INTERVAL);
                operation::passed_over("judge alerts", ptest.fold(&record));
                if waited == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("alerts".to_owned())
            .spawn(judge);
        Some(Self {
            end: Some(end),
            thread: Some(thread.ok()?),
            process: process::id(),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.end.take());
        // A forked child has no copy of the thread to wait for.
        if let Some(thread) = self.thread.take().filter(|_| self.process == process::id()) {
            let _panicked = thread.join();
        }
    }
}

impl Ptest {
    /// Folds what an environment has used to its end, if anybody wants to be told of it: its history goes with it.
    pub(crate) fn fold_before_removal(&self, record: &Record) {
        if record.settings.alerts.is_empty() {
            return;
        }
        let folded = self.engine(&record.engine).and_then(|engine| {
            self.block_on(engine.deactivate(&record.id, Duration::ZERO))?;
            self.fold_to_the_end(record)
        });
        operation::passed_over("judge alerts", folded);
    }

    /// Folds what would be overwritten, and what alerts wait for.
    pub(crate) fn fold_what_is_due(&self) -> Result<()> {
        let records = table::unsettled(self.store().database())?;
        let active = records
            .into_iter()
            .filter(|record| record.state == State::Active);
        for record in active {
            if record.settings.alerts.is_empty() {
                let folded = history::folded(self.store().database(), &record.id)?;
                let seen = folded
                    .as_ref()
                    .map(|(_, folded): &(_, Folded)| folded.seen());
                let engine = self.engine(&record.engine)?;
                let samples = self.block_on(engine.samples(&record.id, seen))?;
                if samples.samples.len() < MANY {
                    continue;
                }
            }
            self.fold(&record)?;
        }
        Ok(())
    }
}
