//! `ptest uninstall`: fewer distributions in an environment.

use std::ffi::OsString;

use clap::Args;

use crate::{
    commands::changes, context::Context, error::CliError, exit_code::Exit, options::ReportOptions,
    progress::Shown, ui::Ui,
};

/// Take distributions out of an environment.
///
/// Only these: what they needed stays, as with pip. Either all are gone afterwards, or nothing has changed.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

    /// Names of distributions.
    #[arg(value_name = "PACKAGE", required = true)]
    packages: Vec<String>,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let signals = context.stop_making_on_signals()?;
    let store = context.open(&config, false)?;
    let environment = context.find(&store, &arguments.name)?;
    let changed = {
        let progress = Shown::new(&ui);
        signals.outcome(environment.uninstall(&arguments.packages, &progress))?
    };
    changes::report(&ui, &environment, changed, arguments.report.format)
}
