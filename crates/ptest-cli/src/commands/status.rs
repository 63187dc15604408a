//! `ptest status`: all that is known of one environment.

use std::ffi::OsString;

use clap::Args;
use ptest::{
    Refusals,
    config::{format_bytes, format_duration},
    environment::{Disk, Record, Status},
    runs::RunRecord,
};

use crate::{
    commands::port,
    context::Context,
    error::CliError,
    exit_code::Exit,
    json::EnvironmentReport,
    options::{Format, ReportOptions},
    refusals::words,
    runs,
    ui::Ui,
};

/// Show what an environment is and does.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

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
    let environment = context.find(&store, &arguments.name)?;
    let (status, disk) = (environment.status()?, environment.disk()?);
    let refusals = environment.refusals()?;
    let runs = environment.runs(LATEST)?;
    if arguments.report.format == Format::Json {
        let report = EnvironmentReport::from(status);
        ui.json(
            &report
                .with_disk(disk)
                .with_refusals(&refusals)
                .with_runs(runs),
        )?;
    } else {
        ui.data(text(&status, &disk, &refusals, &runs))?;
    }
    Ok(Exit::Success)
}

/// How many refusals and runs are told one by one.
const LATEST: u32 = 5;

fn text(status: &Status, disk: &Disk, refusals: &Refusals, runs: &[RunRecord]) -> String {
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
        ("created", created_at.to_string()),
        ("processes", usage.processes.to_string()),
        ("cpu", format_duration(usage.cpu)),
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
                let amount = kept.limit.amount(kept.configured);
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
        let latest = refusals.latest.iter().rev().take(LATEST as usize).rev();
        lines.extend(latest.map(|one| ("", format!("{} {}", one.time, words(one)))));
    }
    lines.extend(runs.iter().map(|run| ("run", run_line(run))));
    lines.extend(error.iter().map(|error| ("error", error.clone())));
    lines.extend(
        achieved
            .iter()
            .flat_map(|achieved| &achieved.degraded)
            .map(|what| ("degraded", what.clone())),
    );
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
