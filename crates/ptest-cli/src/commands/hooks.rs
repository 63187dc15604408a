//! `ptest hooks`: what is called when something happens.

use clap::{Args, Subcommand};
use ptest::hooks::HookStatus;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    table,
    ui::Ui,
};
use ptest_report::{HooksReport, ServedReport};

/// Show what is called when something happens: the hooks of the configuration and of files that were applied.
///
/// Commands never wait for hooks. A process in the background calls them, from the first command that uses the store until a
/// second after the last one.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    report: ReportOptions,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Serve),
}

/// Call hooks for what happened and what happens, until nobody uses the store any more.
///
/// ptest does this by itself, in the background.
#[derive(Args, Debug)]
struct Serve {
    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    if let Some(Command::Serve(serve)) = arguments.command {
        let store = context.open_to_serve(&config)?;
        let served = store.serve_hooks(&config.hooks)?;
        if serve.report.format == Format::Json {
            ui.json(&ServedReport::from(served))?;
        } else {
            ui.done(
                "Called",
                format_args!("hooks {} times, {} failed", served.called, served.failed),
            );
        }
        return Ok(Exit::Success);
    }
    let store = context.open(&config, false)?;
    let hooks = store.hooks(&config.hooks)?;
    if arguments.report.format == Format::Json {
        ui.json(&HooksReport::from(hooks))?;
    } else if hooks.is_empty() {
        ui.note("nothing is called when something happens");
    } else {
        let rows: Vec<Vec<String>> = hooks.into_iter().map(row).collect();
        ui.data(table::render(
            &["EVENTS", "ENVIRONMENTS", "CALLS", "WAITING", "SOURCE"],
            &rows,
        ))?;
    }
    Ok(Exit::Success)
}

fn row(status: HookStatus) -> Vec<String> {
    let environments = match &status.hook.environments[..] {
        [] => "all".to_owned(),
        names => names.join(", "),
    };
    vec![
        status.hook.events.join(", "),
        environments,
        status.hook.action.to_string(),
        status.waiting.to_string(),
        status.source.unwrap_or_else(|| "configuration".to_owned()),
    ]
}
