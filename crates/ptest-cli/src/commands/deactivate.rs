//! `ptest deactivate`: ends what runs in an environment and lets it rest.

use std::{ffi::OsString, time::Duration};

use clap::Args;
use ptest::config::parse_duration;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    json::EnvironmentReport,
    options::{Format, ReportOptions},
    ui::Ui,
};

/// End everything that runs in an environment and let it rest.
///
/// What was written in it stays. Does nothing to one at rest.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

    /// How long what runs has between SIGTERM and SIGKILL [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    grace: Option<Duration>,

    #[command(flatten)]
    report: ReportOptions,
}

impl Arguments {
    pub(crate) fn format(&self) -> Format {
        self.report.format
    }
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let environment = context.find(&store, &arguments.name)?;
    let changed = environment.deactivate(arguments.grace.unwrap_or(*config.grace))?;
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
