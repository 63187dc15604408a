//! `ptest remove`: takes environments away.

use std::ffi::OsString;

use clap::Args;

use crate::{
    commands::many,
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions, SelectorOptions},
    ui::Ui,
};
use ptest_report::RemovedReport;

/// Take environments away: their processes, mounts and files.
///
/// Each is taken away or reported; one that fails does not keep the others.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Names or ids of environments.
    #[arg(
        required_unless_present_any = ["all", "selector"],
        conflicts_with_all = ["all", "selector"],
        value_name = "NAME"
    )]
    names: Vec<OsString>,

    /// All of them, except those that a running process keeps for itself.
    #[arg(long, conflicts_with = "selector")]
    all: bool,

    #[command(flatten)]
    selector: SelectorOptions,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let (records, mut failed) = if arguments.names.is_empty() {
        (many::detached(&store, &arguments.selector)?, Vec::new())
    } else {
        let (found, failed) = many::failures(many::named(context, &store, &arguments.names));
        (
            found.into_iter().map(|(_, record)| record).collect(),
            failed,
        )
    };
    let is_nothing = records.is_empty() && failed.is_empty();
    let outcomes = many::each(&ui, &store, &records, ptest::Environment::remove);
    let (removed, more) = many::failures(outcomes);
    failed.extend(more);
    if arguments.report.format == Format::Text {
        for (label, ()) in &removed {
            ui.done("Removed", label);
        }
        if is_nothing {
            ui.note(arguments.selector.nothing());
        }
    }
    let exit = many::explain(&ui, &failed);
    if arguments.report.format == Format::Json {
        let removed = removed.into_iter().map(|(label, ())| label).collect();
        ui.json(&RemovedReport::new(removed, &failed))?;
    }
    Ok(exit)
}
