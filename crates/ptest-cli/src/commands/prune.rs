//! `ptest prune`: takes away environments that nobody has used for long.

use std::time::Duration;

use clap::Args;
use ptest::config::parse_duration;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    ui::Ui,
};
use ptest_report::RemovedReport;

/// Take away environments that are at rest and have not been active for a long time.
///
/// What they alone used goes with the next `ptest gc`. Snapshots stay.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// How long they must not have been active, such as 12h or 30d.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = parse_duration)]
    older_than: Duration,

    /// Only show which would go.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let pruned = store.prune(arguments.older_than, arguments.dry_run)?;
    let failed: Vec<(String, CliError)> = pruned
        .failed
        .into_iter()
        .map(|(label, error)| (label, error.into()))
        .collect();
    for (_, error) in &failed {
        ui.explain(error);
    }
    if arguments.report.format == Format::Json {
        ui.json(&RemovedReport::new(pruned.removed, &failed))?;
    } else {
        let verb = if arguments.dry_run {
            "Would remove"
        } else {
            "Removed"
        };
        for label in &pruned.removed {
            ui.done(verb, label);
        }
        if pruned.removed.is_empty() && failed.is_empty() {
            ui.note("there is no environment that was not used for that long");
        }
    }
    Ok(if failed.is_empty() {
        Exit::Success
    } else {
        Exit::Failed
    })
}
