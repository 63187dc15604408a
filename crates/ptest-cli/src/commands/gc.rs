//! `ptest gc`: gives back the room of what nobody uses.

use std::time::Duration;

use clap::Args;
use ptest::{
    Collected, Collection,
    config::{format_bytes, parse_bytes, parse_duration},
};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    ui::Ui,
};
use ptest_report::CollectedReport;

/// Delete what nothing uses any more: layers, recipes, caches.
///
/// What an environment uses is never taken, nor what another ptest is working with. Everything that goes is made again
/// when it is next asked for.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Only show what would go.
    #[arg(long)]
    dry_run: bool,

    /// Leave what was used within this time, such as 12h or 30d.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = parse_duration)]
    older_than: Duration,

    /// Delete more, what was used least recently first, until the store is no larger than this, such as 20G.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    keep_size: Option<u64>,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let Arguments {
        dry_run,
        older_than,
        keep_size,
        report,
    } = arguments;
    let collected = store.collect(&Collection {
        older_than,
        keep_size,
        dry_run,
    })?;
    if report.format == Format::Json {
        let size = store.size()?;
        ui.json(&CollectedReport::new(dry_run, &collected, &size))?;
    } else {
        let verb = if dry_run { "Would free" } else { "Freed" };
        ui.done(verb, text(&collected));
        if collected.thrown_away.entries > 0 {
            let verb = if dry_run { "Would delete" } else { "Deleted" };
            let bytes = format_bytes(collected.thrown_away.bytes);
            ui.done(verb, format_args!("{bytes} that was thrown away before"));
        }
    }
    Ok(Exit::Success)
}

fn text(collected: &Collected) -> String {
    let counts = [
        (collected.layers, "layer", "layers"),
        (collected.recipes, "recipe", "recipes"),
        (collected.caches, "cache", "caches"),
        (collected.programs, "program", "programs"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }))
        .collect();
    let bytes = format_bytes(collected.bytes);
    if counts.is_empty() {
        return bytes;
    }
    format!("{bytes}: {}", counts.join(", "))
}
