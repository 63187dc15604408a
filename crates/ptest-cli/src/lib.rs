//! The command line of ptest as a library: [`run`] is the whole program.
//!
//! It reads arguments, calls the `ptest` library and writes what comes back: data to stdout, everything for people to
//! stderr. What a command does is not decided here.

mod background;
mod cells;
mod cli;
mod commands;
mod context;
mod error;
mod execute;
pub mod exit_code;
mod host;
mod json;
mod log;
mod options;
mod progress;
mod reference;
mod refusals;
mod runs;
mod signals;
mod spec;
mod table;
mod ui;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;

pub use host::Host;
#[doc(hidden)]
pub use reference::{GeneratedFile, generated_files};

use crate::{cli::Cli, context::Context, exit_code::Exit, ui::Ui};

/// Runs `ptest` with these arguments, the first being the program's own name, on this host. Never returns early by
/// ending the process; the caller passes the code on.
pub fn run(args: impl IntoIterator<Item = OsString>, host: Host) -> ExitCode {
    let early = Ui::before_arguments(&host);
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return early.clap(&error).code(),
    };
    let ui = Ui::new(&host, &cli.global);
    let format = cli.command.format();
    let context = Context::new(host, &cli.global);
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
