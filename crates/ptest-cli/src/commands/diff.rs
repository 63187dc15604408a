//! `ptest diff`: what commands changed in a project that they only seem to write.

use std::ffi::OsString;

use clap::Args;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    ui::Ui,
};
use ptest_report::{ScratchChange, ScratchReport};

/// List what commands changed in the project of an environment with `--scratch`.
///
/// `+` is new, `~` is changed, `-` is deleted; the project itself is as it was. What changed in the environment is told by
/// `ptest snapshot diff`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let environment = context.find(&store, &arguments.name)?;
    let record = environment.record()?;
    if !record.settings.scratch {
        return Err(CliError::Usage {
            message: format!("`{}` writes in its project", record.label()),
            hint: Some("`--scratch` keeps that apart, when an environment is made"),
        });
    }
    let changes: Vec<ScratchChange> = environment
        .scratch_changes()?
        .into_iter()
        .map(ScratchChange::from)
        .collect();
    if arguments.report.format == Format::Json {
        ui.json(&ScratchReport { changes })?;
    } else {
        ui.data(changes.iter().map(ScratchChange::line).collect::<String>())?;
    }
    Ok(Exit::Success)
}
