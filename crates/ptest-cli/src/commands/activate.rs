//! `ptest activate`: starts an environment's init, so that commands in it start at once.

use std::ffi::OsString;

use clap::Args;
use ptest::Ptest;

use crate::{
    commands::many,
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions, SelectorOptions},
    ui::Ui,
};
use ptest_report::EnvironmentReport;

/// Make an environment ready, so that commands in it start at once.
///
/// Does nothing to one that is active. `exec` and `shell` do this by themselves.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    #[arg(required_unless_present = "selector", conflicts_with = "selector")]
    name: Option<OsString>,

    #[command(flatten)]
    selector: SelectorOptions,

    #[command(flatten)]
    report: ReportOptions,
}

fn each(ui: &Ui, store: &Ptest, arguments: &Arguments) -> Result<Exit, CliError> {
    let records = many::detached(store, &arguments.selector)?;
    let outcomes = many::each(ui, store, &records, |environment| {
        environment.activate()?;
        environment.status()
    });
    many::report(ui, arguments.report.format, outcomes, |done| {
        many::say(ui, "Activated", &arguments.selector, done);
    })
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let Some(name) = &arguments.name else {
        return each(&ui, &store, &arguments);
    };
    let environment = context.find(&store, name)?;
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
