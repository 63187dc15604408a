//! `ptest events`: what happened, and what happens.

use std::time::Duration;

use clap::{Args, Subcommand};
use ptest::{
    config::parse_duration,
    events::{EventFilter, Recorded},
    timestamp::Timestamp,
};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    ui::Ui,
};
use ptest_report::{EventReport, EventsReport};

/// Show what happened: environments made and removed, packages changed, limits struck, operations failed.
///
/// Events have numbers in the order in which they happened. With `--follow` those that come are shown as they come, also
/// when another ptest makes them; with `--format json` each is then one line.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// Of this environment only: its name or id, gone or not.
    environment: Option<String>,

    /// Go on with those that come, until interrupted.
    #[arg(long, short)]
    follow: bool,

    /// Of this kind only, such as `created`; the name of one that was emitted. Can be repeated.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,

    /// Those of this time only, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,

    /// Those after the one of this number.
    #[arg(long, value_name = "NUMBER")]
    after: Option<i64>,

    /// This many at most, the latest [default: 100; with --follow none, unless --since or --after is said].
    #[arg(long, short = 'n', value_name = "COUNT")]
    last: Option<usize>,

    #[command(flatten)]
    report: ReportOptions,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Emit(Emit),
}

/// Record an event of your own.
#[derive(Args, Debug)]
struct Emit {
    /// What happened, in one word.
    name: String,

    /// The environment that it is about.
    #[arg(long = "for", value_name = "ENV")]
    environment: Option<String>,

    /// What there is to say of it, as JSON.
    #[arg(long, value_name = "JSON", default_value = "null", value_parser = data)]
    data: serde_json::Value,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    if let Some(Command::Emit(emit)) = arguments.command {
        let sequence = store.emit(emit.environment.as_deref(), &emit.name, emit.data)?;
        let after = Some(sequence - 1);
        let recorded = store.events(
            &EventFilter {
                after,
                kinds: vec![emit.name],
                ..EventFilter::default()
            },
            usize::MAX,
        )?;
        if emit.report.format == Format::Json {
            let mut recorded = recorded.into_iter();
            if let Some(event) = recorded.find(|one| one.sequence == sequence) {
                ui.json(&EventReport { event })?;
            }
        } else {
            ui.done("Emitted", format_args!("event {sequence}"));
        }
        return Ok(Exit::Success);
    }
    let filter = EventFilter {
        environments: arguments.environment.into_iter().collect(),
        kinds: arguments.kinds,
        since: arguments.since.map(|age| Timestamp::now().before(age)),
        after: arguments.after,
    };
    let is_asked_for_past =
        filter.since.is_some() || filter.after.is_some() || arguments.last.is_some();
    if !arguments.follow {
        let events = store.events(&filter, arguments.last.unwrap_or(100))?;
        if arguments.report.format == Format::Json {
            ui.json(&EventsReport { events })?;
        } else if events.is_empty() {
            ui.note("nothing of that happened");
        } else {
            show(&ui, Format::Text, events)?;
        }
        return Ok(Exit::Success);
    }
    let format = arguments.report.format;
    // Before what was is shown, so that nothing falls in between.
    let mut follower = store.follow(EventFilter {
        after: None,
        since: None,
        ..filter.clone()
    })?;
    if is_asked_for_past {
        let until = follower.after();
        let mut past = store.events(&filter, arguments.last.unwrap_or(usize::MAX))?;
        past.retain(|event| event.sequence <= until);
        show(&ui, format, past)?;
    }
    loop {
        show(&ui, format, follower.next(None)?)?;
    }
}

fn show(ui: &Ui, format: Format, events: Vec<Recorded>) -> Result<(), CliError> {
    for event in events {
        ui.data(match format {
            Format::Json => ptest_report::to_line(&EventReport { event }),
            Format::Text => text(&event),
        })?;
    }
    Ok(())
}

fn text(recorded: &Recorded) -> String {
    let said = recorded.event.payload();
    let said = match said.as_object() {
        Some(fields) if fields.is_empty() => String::new(),
        _ => format!("  {said}"),
    };
    let label = recorded.label.as_deref().unwrap_or("-");
    format!(
        "{:>6}  {}  {label}  {}{said}\n",
        recorded.sequence,
        recorded.time,
        recorded.event.kind()
    )
}

fn data(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("{error}; a text is written with quotes: '\"text\"'"))
}
