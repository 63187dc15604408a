//! `ptest activate`: starts an environment's init, so that commands in it start at once.

use std::ffi::OsString;

use clap::Args;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    json::EnvironmentReport,
    options::{Format, ReportOptions},
    ui::Ui,
};

/// Make an environment ready, so that commands in it start at once.
///
/// Does nothing to one that is active. `exec` and `shell` do this by themselves.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

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
    let changed = environment.activate()?;
    let status = environment.status()?;
    for sentence in status
        .record
        .achieved
        .iter()
        .flat_map(|achieved| &achieved.degraded)
    {
        ui.warning(sentence);
    }
    if arguments.report.format == Format::Json {
        ui.json(&EnvironmentReport::from(status))?;
    } else if changed {
        ui.done("Activated", status.record.label());
    } else {
        ui.note(format_args!("{} is active already", status.record.label()));
    }
    Ok(Exit::Success)
}
