//! The command line of ptest as a library: [`run`] is the whole program.
//!
//! It reads arguments, calls the `ptest` library and writes what comes back: data to stdout, everything for people to
//! stderr. What a command does is not decided here.

mod background;
mod cells;
mod cli;
mod collector;
mod commands;
mod context;
mod error;
mod execute;
pub mod exit_code;
mod host;
mod log;
mod options;
mod progress;
mod reference;
mod refusals;
mod runs;
mod screen;
mod signals;
mod spec;
mod table;
mod top;
mod ui;

use std::{ffi::OsString, process::ExitCode};

pub use host::Host;
#[doc(hidden)]
pub use reference::{GeneratedFile, generated_files};

use crate::{cli::Cli, context::Context, exit_code::Exit, ui::Ui};

/// Runs `ptest` with these arguments, the first being the program's own name, on this host. Never returns early by
/// ending the process; the caller passes the code on.
pub fn run(args: impl IntoIterator<Item = OsString>, host: Host) -> ExitCode {
    let early = Ui::before_arguments(&host);
    let args: Vec<OsString> = args.into_iter().collect();
    let (cli, format) = match Cli::read(args.iter().cloned()) {
        Ok(read) => read,
        Err(error) => return early.clap(&error).code(),
    };
    let ui = Ui::new(&host, &cli.global);
    let context = Context::new(host, &cli.global, args);
    let exit = match commands::run(&ui, &context, cli.command) {
        Ok(exit) => exit,
        Err(error) => {
            log::failure(&error);
            ui.failure(&error, format)
        }
    };
    context.tidy(&ui);
    exit.code()
}

impl Exit {
    fn code(self) -> ExitCode {
        ExitCode::from(self.number())
    }
}
