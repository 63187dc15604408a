//! The program `ptest-init`: process 1 of a sandbox.
//!
//! It has one thread and lives in two acts. The *stub* (`stub`) is what the client started: it
//! reads the launch message, duplicates itself into new namespaces and ends. The copy is *init*:
//! it assembles the root (`root`), then serves requests (`events`) until it is stopped or its
//! owner is gone. Nothing is executed in between, so init keeps its capabilities inside its user
//! namespace, and no process of the host's mount namespace stays behind.
//!
//! Outside of a sandbox the program also attends single commands (`attend`), and is the proxy that a sandbox's way out leads
//! through ([`crate::proxy`]).
//!
//! Each command has a *leader* (`leader`): a copy of init that is the session's leader and the
//! parent to whom everything the command leaves behind comes back.

mod accounts;
mod attend;
pub(crate) mod enclosed;
mod events;
mod execute;
mod exercise;
mod filter;
mod freezing;
mod gauges;
pub(crate) mod identities;
mod landlock;
mod leader;
mod limiting;
mod listing;
mod memory;
mod overlay;
mod preference;
mod processes;
mod room;
mod root;
mod runs;
mod security;
mod stub;
mod survey;
mod term;
mod terminal;
mod traffic;
mod watch;

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitCode;

use rustix::io::Errno;

use crate::protocol::{Failure, Stage};
use crate::proxy;

pub(crate) use exercise::{STEPS, fill_lower};

/// The argument with which the program, inside a sandbox, tries what overlays must be able to do.
pub(crate) const EXERCISE: &str = "exercise-overlay";

/// The argument with which the program runs one command for the process that the next names.
pub const ATTEND: &str = "attend";

/// The argument with which the program serves a sandbox as its way out.
pub(crate) const PROXY: &str = "proxy";

/// Runs the program with its arguments, its own name not among them.
///
/// - Without arguments it expects the client's socket as its standard input.
/// - `proxy` expects the client's socket there too, and an order.
/// - `attend PARENT -- COMMAND…` runs the command, outside of any sandbox, and ends as it does.
///   PARENT is the id of the process that started the program: when it is gone, or when the
///   command has ended, everything that came from the command is killed.
///
/// A process that was started in another way exits with 125.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let done = match arguments.as_slice() {
        [] => stub::run(),
        [verb, step, directory] if verb == EXERCISE => exercise::run(step, directory.as_ref()),
        [verb] if verb == PROXY => proxy::serve::run(),
        [verb, parent, end, command @ ..] if verb == ATTEND && end == "--" => {
            attend::run(parent, command).map(|never| match never {})
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    ExitCode::from(if done.is_ok() { 0 } else { 125 })
}

/// Says at which stage and on what an error happened.
trait AtStage<T> {
    fn at(self, stage: Stage, subject: impl AsRef<OsStr>) -> Result<T, Failure>;
}

impl<T> AtStage<T> for io::Result<T> {
    fn at(self, stage: Stage, subject: impl AsRef<OsStr>) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            stage,
            subject: subject.as_ref().to_owned(),
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        })
    }
}

impl<T> AtStage<T> for Result<T, Errno> {
    fn at(self, stage: Stage, subject: impl AsRef<OsStr>) -> Result<T, Failure> {
        self.map_err(io::Error::from).at(stage, subject)
    }
}
