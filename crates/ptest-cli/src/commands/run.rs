//! `ptest run`: one command in an environment of its own.

use std::ffi::OsString;

use clap::Args;
use ptest::{Environment, Lifetime};

use crate::{
    context::Context,
    error::CliError,
    execute::{Execution, execute},
    exit_code::Exit,
    options::{CommandOptions, EnvironmentOptions, PythonOptions, TimeOptions},
    progress::Shown,
    spec,
    ui::Ui,
};

/// Run a command in a fresh environment and take that away again.
///
/// Ends with the command's own code. Options end where the command begins: `ptest run --with requests python -c "..."`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    python: PythonOptions,

    #[command(flatten)]
    environment: EnvironmentOptions,

    #[command(flatten)]
    command_options: CommandOptions,

    #[command(flatten)]
    time: TimeOptions,

    /// Keep the environment, and say its id.
    #[arg(long)]
    keep: bool,

    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (mut config, ui) = context.config_for(ui, arguments.environment.profile)?;
    arguments.python.over(&mut config);
    let signals = context.stop_making_on_signals()?;
    let store = context.open(&config, arguments.environment.refresh)?;
    let lifetime = if arguments.keep {
        Lifetime::Detached
    } else {
        Lifetime::Process
    };
    let spec = spec::environment(
        &ui,
        context.host(),
        &config,
        None,
        lifetime,
        &arguments.environment,
    )?;
    let environment = {
        let progress = Shown::new(&ui);
        signals.outcome(store.create(&spec, &progress))?
    };
    let ended = execute(
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
        },
    );
    if arguments.keep {
        ui.note(format_args!("the environment is {}", environment.id()));
        return ended;
    }
    take_away(&ui, environment, ended)
}

/// Takes the environment away whatever became of the command. A command that failed keeps its code; one that succeeded
/// does not stand for an environment that is still there.
fn take_away(
    ui: &Ui,
    environment: Environment,
    ended: Result<Exit, CliError>,
) -> Result<Exit, CliError> {
    match (environment.remove(), ended) {
        (Ok(()), ended) => ended,
        (Err(error), Ok(exit)) if exit.number() == 0 => Err(error.into()),
        (Err(error), ended) => {
            ui.explain(&error.into());
            ended
        }
    }
}
