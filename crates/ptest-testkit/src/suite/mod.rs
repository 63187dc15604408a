//! The behaviour suite: what the docs of [`Engine`] promise under *Behaviour*,
//! tested on any engine.
//!
//! A case whose capability an engine lacks is listed as ignored, never as
//! passed. Not for what one engine alone does: that is tested beside it.

#[expect(clippy::unwrap_used, reason = "a case fails by panicking")]
mod activity;
#[expect(clippy::unwrap_used, reason = "a case fails by panicking")]
mod cases;
#[expect(clippy::unwrap_used, reason = "a case fails by panicking")]
mod running;

use std::ffi::OsString;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use ptest::engine::{Capability, Engine, Instance};

pub use self::running::{Output, output_of};

/// An engine under test.
pub trait Subject: Send + Sync {
    /// What its cases are called after.
    fn name(&self) -> String;

    /// The engine.
    fn engine(&self) -> &dyn Engine;

    /// A new instance, not known to the engine yet, each time with another id.
    fn instance(&self) -> Instance;

    /// The command line that does `task` in this engine's instances.
    fn command(&self, task: Task<'_>) -> Vec<OsString>;
}

/// What the suite's commands do.
#[derive(Clone, Copy, Debug)]
pub enum Task<'a> {
    /// Ends with this code.
    Exit(u8),
    /// Copies standard input to standard output.
    Cat,
    /// Writes this and a line feed to standard output.
    Echo(&'a str),
    /// Writes its variables, one a line.
    Variables,
    /// Sleeps for an hour, ended by SIGTERM.
    Sleep,
    /// Sleeps for an hour, ignoring SIGTERM, having written a line first.
    Stubborn,
    /// Keeps standard input in a file of the environment of this name.
    Put(&'a str),
    /// Writes the contents of that file, or fails.
    Get(&'a str),
    /// A program that does not exist.
    Missing,
    /// A file that exists and cannot be executed.
    NotExecutable,
}

type Case = fn(&dyn Subject);

/// One trial for each behaviour, named `ENGINE::behaviour`.
pub fn trials(subject: &Arc<dyn Subject>) -> Vec<Trial> {
    let capability = subject.engine().capability();
    let name = subject.name();
    cases::all()
        .into_iter()
        .chain(activity::all())
        .map(|(behaviour, required, case)| {
            let subject = Arc::clone(subject);
            Trial::test(format!("{name}::{behaviour}"), move || {
                case(subject.as_ref());
                Ok::<(), Failed>(())
            })
            .with_ignored_flag(!required(&capability))
        })
        .collect()
}

/// What a case needs of an engine.
type Required = fn(&Capability) -> bool;
