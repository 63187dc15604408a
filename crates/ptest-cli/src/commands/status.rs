//! `ptest status`: all that is known of one environment.

use std::{ffi::OsString, time::Duration};

use clap::Args;
use ptest::{
    Failure, Ptest,
    config::{format_bytes, format_duration},
    engine::Processes,
    environment::{Record, Status},
    labels::Labels,
    monitor::Totals,
    runs::RunRecord,
    settings::amount,
};

use crate::{
    commands::{many, port},
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions, SelectorOptions},
    refusals::words,
    runs, table,
    ui::Ui,
};
use ptest_report::{BulkReport, EnvironmentReport, Known};

/// Show what an environment is and does.
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

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let Some(name) = &arguments.name else {
        return each(&ui, &store, &arguments);
    };
    let known = Known::of(&context.find(&store, name)?)?;
    if arguments.report.format == Format::Json {
        ui.json(&EnvironmentReport::from(known))?;
    } else {
        ui.data(text(&known))?;
    }
    Ok(Exit::Success)
}

fn each(ui: &Ui, store: &Ptest, arguments: &Arguments) -> Result<Exit, CliError> {
    let records = store.select(&arguments.selector.selector())?;
    let outcomes = many::each(ui, store, &records, |environment| Known::of(&environment));
    let (known, failed) = many::failures(outcomes);
    let exit = many::explain(ui, &failed);
    if arguments.report.format == Format::Json {
        let known = known.into_iter().map(|(_, known)| known);
        ui.json(&BulkReport::new(known, &failed))?;
        return Ok(exit);
    }
    if records.is_empty() {
        ui.note(arguments.selector.nothing());
    }
    let texts: Vec<String> = known.iter().map(|(_, known)| text(known)).collect();
    ui.data(texts.join("\n"))?;
    Ok(exit)
}

fn labels(labels: &Labels) -> String {
    let pairs = labels.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(", ")
}

/// How many refusals are told one by one.
const LATEST: usize = 5;

fn text(known: &Known) -> String {
    let Known {
        status,
        disk,
        refusals,
        runs,
        failure,
        totals,
        processes,
    } = known;
    let Status {
        record,
        usage,
        ports,
        ..
    } = status;
    let Record {
        id,
        engine,
        state,
        python,
        settings,
        achieved,
        error,
        created_at,
        ..
    } = record;
    let asked = settings
        .profile
        .map_or("the strongest there is", |profile| profile.as_str());
    let profile = match achieved {
        Some(achieved) => format!("{} (asked for: {asked})", achieved.profile),
        None => asked.to_owned(),
    };
    let mut lines = vec![
        ("name", record.label().to_owned()),
        ("id", id.to_string()),
        ("state", state.to_string()),
        (
            "python",
            format!(
                "{} {} ({})",
                python.implementation,
                python.version,
                python.executable.display()
            ),
        ),
        ("engine", engine.clone()),
        ("profile", profile),
        ("project", settings.project.root.display().to_string()),
        ("owner", record.owner.as_str().to_owned()),
        ("labels", labels(&settings.labels)),
        ("created", created_at.to_string()),
        (
            "ends",
            record
                .ends_at()
                .map_or_else(|| "when it is removed".to_owned(), |end| end.to_string()),
        ),
        ("cpu", format_duration(whole(usage.cpu))),
        (
            "memory",
            format!(
                "{}, {} at most",
                format_bytes(usage.memory),
                format_bytes(usage.memory_peak)
            ),
        ),
        (
            "transfers",
            format!(
                "{} read, {} written",
                format_bytes(usage.read),
                format_bytes(usage.written)
            ),
        ),
        (
            "disk",
            format!(
                "{} of its own, {} in layers",
                format_bytes(disk.private),
                format_bytes(disk.shared)
            ),
        ),
    ];
    lines.push(("in all", in_all(totals)));
    lines.extend(
        achieved
            .iter()
            .map(|achieved| ("network", achieved.network.to_string())),
    );
    lines.extend(ports.iter().map(|lease| ("port", port::full(lease))));
    lines.extend(usage.traffic.map(|traffic| {
        let (received, sent) = (format_bytes(traffic.received), format_bytes(traffic.sent));
        ("traffic", format!("{received} received, {sent} sent"))
    }));
    lines.extend(
        achieved
            .iter()
            .flat_map(|achieved| &achieved.limits)
            .map(|kept| {
                let amount = amount(kept.limit, kept.configured);
                (
                    "limit",
                    format!("{} {amount} ({})", kept.limit, kept.strength.as_str()),
                )
            }),
    );
    if !settings.allow.is_empty() {
        let rules: Vec<String> = settings.allow.iter().map(ToString::to_string).collect();
        lines.push(("allowed", rules.join(", ")));
        lines.push(("refused", refusals.total.to_string()));
        let latest = refusals.latest.iter().rev().take(LATEST).rev();
        lines.extend(latest.map(|one| ("", format!("{} {}", one.time, words(one)))));
    }
    lines.extend(runs.iter().map(|run| ("run", run_line(run))));
    lines.extend(failure.iter().map(|failure| {
        let Failure {
            operation,
            time,
            message,
            ..
        } = failure;
        ("failed", format!("{operation} at {time}: {message}"))
    }));
    lines.extend(error.iter().map(|error| ("error", error.clone())));
    lines.extend(
        achieved
            .iter()
            .flat_map(|achieved| &achieved.degraded)
            .map(|what| ("degraded", what.clone())),
    );
    lines.push(("processes", usage.processes.to_string()));
    lines.extend(tree(processes).into_iter().map(|line| ("", line)));
    lines
        .into_iter()
        .map(|(name, value)| match name {
            // Goes on with what is above.
            "" => format!("{:<10} {value}\n", ""),
            _ => format!("{:<10} {value}\n", format!("{name}:")),
        })
        .collect()
}

fn run_line(run: &RunRecord) -> String {
    let [elapsed, _, memory] = runs::usage(run);
    let parts = [runs::outcome(run), elapsed, memory];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!(
        "{} {} ({})",
        run.number,
        runs::command(&run.arguments),
        parts.join(", ")
    )
}

/// What was used since the environment was made.
fn in_all(totals: &Totals) -> String {
    let mut text = format!(
        "{} of cpu, {} of memory at most, {} read, {} written",
        format_duration(whole(totals.cpu)),
        format_bytes(totals.memory_peak),
        format_bytes(totals.read),
        format_bytes(totals.written)
    );
    if let Some(traffic) = totals.traffic {
        let (received, sent) = (format_bytes(traffic.received), format_bytes(traffic.sent));
        text += &format!(", {received} received, {sent} sent");
    }
    text
}

/// A time in whole milliseconds: what is measured is no more exact.
fn whole(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The processes, one a line, each below its parent.
fn tree(processes: &Processes) -> Vec<String> {
    let depths = processes.depths();
    let rows: Vec<Vec<String>> = processes
        .processes
        .iter()
        .zip(depths)
        .map(|(process, depth)| {
            vec![
                process.pid.to_string(),
                process.state.to_string(),
                format_duration(whole(process.cpu)),
                format_bytes(process.memory),
                format!(
                    "{}{}",
                    "  ".repeat(depth),
                    table::printable(&process.command)
                ),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let text = table::render(&["PID", "STATE", "CPU", "MEMORY", "COMMAND"], &rows);
    let more = (processes.left_out > 0).then(|| format!("and {} more", processes.left_out));
    text.lines().map(str::to_owned).chain(more).collect()
}
