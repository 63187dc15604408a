//! `ptest completions`: scripts that teach a shell to complete.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{cli::Cli, error::CliError, exit_code::Exit, ui::Ui};

/// Print a shell's completion script.
///
/// For bash: `ptest completions bash > ~/.local/share/bash-completion/completions/ptest`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(ui: &Ui, arguments: Arguments) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "ptest", &mut script);
    ui.data(script)?;
    Ok(Exit::Success)
}
