//! `ptest shell`: a shell in an environment that is there.

use std::ffi::OsString;

use clap::Args;

use crate::{
    context::Context,
    error::CliError,
    execute::{Execution, Output, execute},
    exit_code::Exit,
    options::CommandOptions,
    ui::Ui,
};

/// Start a shell in an environment.
///
/// The shell is $SHELL, else /bin/sh. An environment at rest is activated first and stays active. Ends with the shell's
/// own code.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

    #[command(flatten)]
    command_options: CommandOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let signals = context.stop_making_on_signals()?;
    let store = context.open(&config, false)?;
    let environment = context.find(&store, &arguments.name)?;
    let shell = context
        .host()
        .variable("SHELL")
        .map_or_else(|| "/bin/sh".into(), OsString::from);
    execute(
        &ui,
        context.host(),
        &signals,
        &environment,
        Execution {
            arguments: vec![shell],
            variables: context.variables(&arguments.command_options),
            // A timeout for tests is not meant for the person at the keyboard.
            timeout: None,
            grace: *config.grace,
            output: Output::Passed,
        },
    )
}
