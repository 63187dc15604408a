//! One file for each command: its arguments first, then what it does.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod man;
pub(crate) mod reference;

use crate::{cli::Command, context::Context, error::CliError, exit_code::Exit, ui::Ui};

/// Runs a command.
pub(crate) fn run(ui: &Ui, context: &mut Context, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Config(arguments) => config::run(ui, context, arguments),
        Command::Completions(arguments) => completions::run(ui, arguments),
        Command::Man(arguments) => man::run(ui, context, arguments),
        Command::Reference(arguments) => reference::run(ui, arguments),
    }
}
