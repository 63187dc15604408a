//! `ptest exec`: a command in an environment that is there.

use std::ffi::OsString;

use clap::Args;

use crate::{
    background,
    context::Context,
    error::CliError,
    execute::{self, Execution, execute},
    exit_code::Exit,
    options::{CommandOptions, LogOptions, TimeOptions},
    ui::Ui,
};

/// Run a command in an environment.
///
/// One at rest is activated first and stays active. Ends with the command's own code.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

    #[command(flatten)]
    command_options: CommandOptions,

    #[command(flatten)]
    time: TimeOptions,

    #[command(flatten)]
    log: LogOptions,

    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    if arguments.log.detach {
        return background::detach(ui, context);
    }
    let (config, ui) = context.config(ui)?;
    let signals = context.stop_making_on_signals()?;
    let store = context.open(&config, false)?;
    let environment = context.find(&store, &arguments.name)?;
    execute(
        &ui,
        context.host(),
        &signals,
        &environment,
        Execution {
            arguments: arguments.command,
            variables: context.variables(&arguments.command_options),
            timeout: arguments
                .time
                .timeout
                .or(*config.timeout)
                .map(ptest::config::Timeout::duration),
            grace: arguments.time.grace.unwrap_or(*config.grace),
            output: execute::Output::of(arguments.log, &config),
        },
    )
}
