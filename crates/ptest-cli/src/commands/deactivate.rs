//! `ptest deactivate`: ends what runs in an environment and lets it rest.

use std::{ffi::OsString, time::Duration};

use clap::Args;
use ptest::{Ptest, config::parse_duration};

use crate::{
    commands::many,
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions, SelectorOptions},
    ui::Ui,
};
use ptest_report::EnvironmentReport;

/// End everything that runs in an environment and let it rest.
///
/// What was written in it stays. Does nothing to one at rest.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    #[arg(required_unless_present = "selector", conflicts_with = "selector")]
    name: Option<OsString>,

    #[command(flatten)]
    selector: SelectorOptions,

    /// How long what runs has between SIGTERM and SIGKILL [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    grace: Option<Duration>,

    #[command(flatten)]
    report: ReportOptions,
}

fn each(ui: &Ui, store: &Ptest, arguments: &Arguments, grace: Duration) -> Result<Exit, CliError> {
    let records = many::detached(store, &arguments.selector)?;
    let outcomes = many::each(ui, store, &records, |environment| {
        environment.deactivate(grace)?;
        environment.status()
    });
    many::report(ui, arguments.report.format, outcomes, |done| {
        many::say(ui, "Deactivated", &arguments.selector, done);
    })
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let grace = arguments.grace.unwrap_or(*config.grace);
    let Some(name) = &arguments.name else {
        return each(&ui, &store, &arguments, grace);
    };
    let environment = context.find(&store, name)?;
    let changed = environment.deactivate(grace)?;
    let status = environment.status()?;
    if arguments.report.format == Format::Json {
        ui.json(&EnvironmentReport::from(status))?;
    } else if changed {
        ui.done("Deactivated", status.record.label());
    } else {
        ui.note(format_args!("{} is at rest already", status.record.label()));
    }
    Ok(Exit::Success)
}
