//! `ptest top`: what environments use, as it changes.

use std::time::Duration;

use clap::Args;
use ptest::{
    Ptest,
    config::format_bytes,
    environment::{State, Status},
    labels::Selector,
    timestamp::Timestamp,
};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    table, top,
    ui::Ui,
};
use ptest_report::EnvironmentsReport;

/// How old the last sample of a busy environment may be.
const LATELY: Duration = Duration::from_secs(3);

/// Watch what environments use, and end what uses too much.
///
/// A view that fills the terminal and looks once a second: `?` tells its keys. Where standard output or input is no
/// terminal, or with `--once`, what there is now is written once, busiest first.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Write what there is now, and end.
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let terminals = context.host().terminals;
    let is_json = arguments.report.format == Format::Json;
    if !arguments.once && !is_json && terminals.stdin && terminals.stdout {
        top::live::run(&store)?;
        return Ok(Exit::Success);
    }
    let mut seen: Vec<(Status, f64)> = store
        .statuses(&Selector::default())?
        .into_iter()
        .map(|status| {
            let cpus = cpus(&store, &status);
            (status, cpus)
        })
        .collect();
    seen.sort_by(|one, other| other.1.total_cmp(&one.1));
    if is_json {
        let (statuses, cpus): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
        ui.json(&EnvironmentsReport::new(statuses).with_cpus(&cpus))?;
    } else if seen.is_empty() {
        ui.note("there is no environment");
    } else {
        let header = [
            "NAME",
            "STATE",
            "CPU",
            "MEMORY",
            "PEAK",
            "PROCESSES",
            "READ",
            "WRITTEN",
            "AGE",
        ];
        let rows: Vec<Vec<String>> = seen.iter().map(row).collect();
        ui.data(table::render(&header, &rows))?;
    }
    Ok(Exit::Success)
}

/// How many processors an environment has kept busy in the last second that is known; one that rests, or is gone, none.
fn cpus(store: &Ptest, status: &Status) -> f64 {
    if status.record.state != State::Active {
        return 0.0;
    }
    let stats = store
        .find(status.record.id.as_str())
        .and_then(|environment| environment.stats(LATELY));
    let points = stats.map(|stats| stats.points).unwrap_or_default();
    // The last second is not over, and may not have been sampled yet.
    let last = points.iter().rev().take(2).map(|point| point.cpus);
    last.fold(0.0, f64::max)
}

fn row((status, cpus): &(Status, f64)) -> Vec<String> {
    let Status { record, usage, .. } = status;
    vec![
        record.label().to_owned(),
        record.state.to_string(),
        top::percent(*cpus),
        format_bytes(usage.memory),
        format_bytes(usage.memory_peak),
        usage.processes.to_string(),
        format_bytes(usage.read),
        format_bytes(usage.written),
        top::age(record.created_at, Timestamp::now()),
    ]
}
