//! `ptest install`: more distributions in an environment.

use std::ffi::OsString;

use clap::Args;

use crate::{
    commands::changes,
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{FileOptions, ReportOptions},
    progress::Shown,
    spec,
    ui::Ui,
};

/// Install distributions in an environment.
///
/// What is there stays as it is where that is possible. Either all is there afterwards, or nothing has changed.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

    /// What to install: requirements, URLs, or paths of projects or wheels.
    #[arg(value_name = "REQUIREMENT", required_unless_present_any = ["files", "editables"])]
    specifiers: Vec<String>,

    #[command(flatten)]
    files: FileOptions,

    /// Choose versions anew, whatever is known.
    #[arg(long)]
    refresh: bool,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let signals = context.stop_making_on_signals()?;
    let store = context.open(&config, arguments.refresh)?;
    let environment = context.find(&store, &arguments.name)?;
    let requirements = spec::requirements(context.host(), &arguments.specifiers, &arguments.files)?;
    let changed = {
        let progress = Shown::new(&ui);
        signals.outcome(environment.install(&requirements, &progress))?
    };
    changes::report(&ui, &environment, changed, arguments.report.format)
}
