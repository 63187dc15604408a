//! A run from its begin to its end: the process of an engine, with what the record is told of it.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::logged::Logged;
use super::table::{self, New};
use super::{Conditions, Outcome, RunChoice, RunId, RunRecord, Streams};
use crate::engine::{Command, Exit, Process};
use crate::environment::table::Record;
use crate::environment::{Environment, EnvironmentId};
use crate::error::{Error, ErrorKind, Result};
use crate::monitor::Watch;
use crate::ptest::Ptest;
use crate::secrets::Secrets;

/// Why nobody knows how a run ended whose client is gone.
const CLIENT_DIED: &str = "the process that waited for it died";
/// The same of one that was not waited for.
const DROPPED: &str = "nobody waited for its end";

/// A run that has begun. Its end is recorded when it is waited for, by whatever way. Dropping it ends the command.
///
/// In a forked child it is of no use, and dropping it there changes nothing.
pub struct ActiveRun {
    ptest: Ptest,
    id: RunId,
    number: u32,
    process: Box<dyn Process>,
    logged: Option<Logged>,
    is_recorded: AtomicBool,
    /// Until it is over somebody looks at what the environment uses.
    _watch: Option<Watch>,
}

impl ActiveRun {
    /// Records a run, and starts its command in an environment that is active. With `log` the run has a log of at most so
    /// many bytes.
    pub(crate) fn begin(
        ptest: &Ptest,
        record: &Record,
        command: Command,
        streams: Streams,
        log: Option<u64>,
    ) -> Result<Self> {
        let streams = Streams {
            log: log.is_some(),
            ..streams
        };
        let secrets = Secrets::default();
        secrets.learn(command.caller.iter().chain(&command.variables));
        let directory = command.working_directory.as_ref();
        let database = ptest.store().database();
        // First of all: whatever becomes of this process, the run is known of.
        let (id, number) = table::begin(
            database,
            &New {
                about: record.into(),
                client: ptest.identity(),
                arguments: &command.arguments,
                secrets: &secrets,
                directory: directory.unwrap_or(&record.settings.project.root),
                conditions: &Conditions::of(record, &command),
                streams: &streams,
            },
        )?;
        match start(ptest, record, command, id, log.map(|most| (most, streams))) {
            Ok((process, logged)) => Ok(Self {
                ptest: ptest.clone(),
                id,
                number,
                process,
                logged,
                is_recorded: AtomicBool::new(false),
                _watch: Watch::begin(ptest, record),
            }),
            Err(error) => {
                let why = explain(&error);
                // Why it failed is what the caller must know. What is not recorded now is when this process has ended.
                let _ = table::end(database, id, &Outcome::NotStarted { why }, None);
                Err(error)
            }
        }
    }

    /// What it is called in the store.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Which of its environment's runs it is: the first is 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Waits for the end, which the caller records.
    pub(crate) async fn wait_unrecorded(&self) -> Result<Exit> {
        self.process.wait().await
    }

    /// Records the end, and what was taken of the streams. How a command ended is worth more than its record: a failure to
    /// write that is tried again when this is dropped, and else found when this process is gone.
    pub(crate) fn record(&self, ended: &Result<Exit>, streams: Option<&Streams>) {
        let outcome = match ended {
            Ok(exit) => Outcome::Ended(*exit),
            Err(error) => Outcome::Lost {
                why: explain(error),
            },
        };
        let recorded = table::end(self.ptest.store().database(), self.id, &outcome, streams);
        self.is_recorded
            .fetch_or(recorded.is_ok(), Ordering::Relaxed);
        if let Some(logged) = &self.logged {
            // Whoever follows it finds the end when it hears of this.
            logged.close();
        }
    }

    fn record_with_log(&self, ended: &Result<Exit>) {
        let streams = self.logged.as_ref().and_then(|logged| logged.end(ended));
        self.record(ended, streams.as_ref());
    }
}

fn start(
    ptest: &Ptest,
    record: &Record,
    mut command: Command,
    id: RunId,
    log: Option<(u64, Streams)>,
) -> Result<(Box<dyn Process>, Option<Logged>)> {
    let engine = ptest.engine(&record.engine)?;
    let instance = ptest.instance(record)?;
    let Some((most, streams)) = log else {
        let process = ptest.block_on(engine.spawn(&instance, Some(id), command))?;
        return Ok((process, None));
    };
    let (logged, stdio, collector) = Logged::prepare(ptest, id, most, command.stdio, streams)?;
    command.stdio = stdio;
    let process = ptest.block_on(engine.spawn(&instance, Some(id), command))?;
    if let Some(collector) = collector {
        logged.take(collector)?;
    }
    Ok((process, Some(logged)))
}

#[async_trait]
impl Process for ActiveRun {
    async fn signal(&self, signal: i32) -> Result<()> {
        self.process.signal(signal).await
    }

    async fn wait(&self) -> Result<Exit> {
        let ended = self.process.wait().await;
        self.record_with_log(&ended);
        ended
    }

    async fn relay(&self, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<Exit> {
        let ended = match &self.logged {
            Some(logged) => {
                let shown = logged.relay(output)?;
                self.process.relay(input, shown.as_fd()).await
            }
            None => self.process.relay(input, output).await,
        };
        self.record_with_log(&ended);
        ended
    }
}

impl Drop for ActiveRun {
    fn drop(&mut self) {
        if !*self.is_recorded.get_mut() {
            // A forked child's store refuses.
            let _ = table::lose(self.ptest.store().database(), &[self.id], DROPPED);
        }
    }
}

impl Ptest {
    /// Records of the runs whose client is dead that nobody will say how they ended.
    pub(crate) fn lose_runs(&self) -> Result<Vec<RunId>> {
        let database = self.store().database();
        let boot = &self.identity().boot_id;
        let orphaned: Vec<RunId> = table::open(database)?
            .into_iter()
            .filter(|(_, client)| !client.is_alive(boot))
            .map(|(id, _)| id)
            .collect();
        if orphaned.is_empty() {
            return Ok(orphaned);
        }
        table::lose(database, &orphaned, CLIENT_DIED)
    }

    /// Sends a signal to the command of a run and to the process group that it leads, whichever process waits for it. Gives
    /// whether it was there: one that has ended is not.
    pub fn signal_run(&self, run: &RunRecord, signal: i32) -> Result<bool> {
        match self.find(run.environment.as_str()) {
            Ok(environment) => {
                let engine = self.engine(&environment.record()?.engine)?;
                self.block_on(engine.signal(&run.environment, run.id, signal))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The latest runs of all environments, oldest first: at most so many, and with `active` those that have not ended.
    pub fn runs(&self, active: bool, most: u32) -> Result<Vec<RunRecord>> {
        table::latest(self.store().database(), None, active, most)
    }

    /// The environment of a label, which may be gone but have runs.
    pub fn environment_of_runs(&self, label: &str) -> Result<EnvironmentId> {
        match self.find(label) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                table::environment_called(self.store().database(), label)?.ok_or(error)
            }
            found => Ok(found?.id().clone()),
        }
    }

    /// The latest runs of an environment, oldest first, as [`Ptest::runs`] gives them.
    pub fn runs_of(
        &self,
        environment: &EnvironmentId,
        active: bool,
        most: u32,
    ) -> Result<Vec<RunRecord>> {
        table::latest(self.store().database(), Some(environment), active, most)
    }

    /// One run of an environment.
    pub fn run_of(&self, environment: &EnvironmentId, choice: RunChoice) -> Result<RunRecord> {
        let found = table::find(self.store().database(), environment, choice)?;
        found.ok_or_else(|| {
            let what = match choice {
                RunChoice::Last => "no run".to_owned(),
                RunChoice::Number(_) | RunChoice::Id(_) => format!("no run {choice}"),
            };
            Error::new(ErrorKind::NotFound, format!("there is {what} of environment {environment}"))
                .with_hint("`ptest runs` shows which are remembered; `keep_runs` and `keep_runs_for` say how many are")
        })
    }
}

impl Environment {
    /// Its latest runs, oldest first: at most so many.
    pub fn runs(&self, most: u32) -> Result<Vec<RunRecord>> {
        self.ptest.runs_of(self.id(), false, most)
    }
}

/// An error with its causes on one line, credentials left out.
fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Secrets::default().hide(&text).into_owned()
}
