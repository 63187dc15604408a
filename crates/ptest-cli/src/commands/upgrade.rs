//! `ptest upgrade`: newer versions of distributions in an environment.

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

/// Bring distributions of an environment to their newest versions.
///
/// The newest that everything asked for allows; a requirement here (`requests>=2.30`) replaces the earlier one. Either
/// all is there afterwards, or nothing has changed.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

    /// What to upgrade.
    #[arg(value_name = "REQUIREMENT", required = true)]
    specifiers: Vec<String>,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let signals = context.stop_making_on_signals()?;
    // Versions known from before are exactly what is not wanted.
    let store = context.open(&config, true)?;
    let environment = context.find(&store, &arguments.name)?;
    let requirements = spec::requirements(
        context.host(),
        &arguments.specifiers,
        &FileOptions::default(),
    )?;
    let changed = {
        let progress = Shown::new(&ui);
        signals.outcome(environment.upgrade(&requirements, &progress))?
    };
    changes::report(&ui, &environment, changed, arguments.report.format)
}
