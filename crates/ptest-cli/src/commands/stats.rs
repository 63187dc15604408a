//! `ptest stats`: what an environment has used over time.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ptest::{
    config::{format_bytes, format_duration, parse_duration},
    monitor::{Point, Stats},
    timestamp::Timestamp,
};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
    widgets::Widget as _,
};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    screen::{self, Chart},
    ui::Ui,
};
use ptest_report::StatsReport;

/// Show what an environment has used over time.
///
/// What is done in an environment is recorded once a second: kept by seconds for an hour, by minutes for a day and by
/// hours for a month, until the environment is removed. Nothing is recorded while nothing runs.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

    /// How far to look back, such as 90s, 10m or 12h.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    since: Duration,

    /// How to report: as charts for people, as comma-separated values, or as one JSON object.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// Comma-separated values.
    Csv,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let environment = context.find(&store, &arguments.name)?;
    let stats = environment.stats(arguments.since)?;
    let label = environment.record()?.label().to_owned();
    match arguments.format {
        Form::Json => ui.json(&StatsReport::new(&label, &stats))?,
        Form::Csv => ui.data(StatsReport::new(&label, &stats).csv())?,
        Form::Text if stats.points.is_empty() => {
            let since = format_duration(arguments.since);
            ui.note(format_args!("nothing was done in {label} for {since}"));
        }
        Form::Text => {
            let drawn = drawing(&label, &stats, context.host().columns());
            ui.data(screen::to_text(&drawn, ui.colors_data()))?;
        }
    }
    Ok(Exit::Success)
}

/// The rows of one chart, with its title.
const CHART: u16 = 6;
/// The narrowest and the widest drawing.
const WIDTHS: (u16, u16) = (40, 160);

pub(crate) fn drawing(label: &str, stats: &Stats, columns: u16) -> Buffer {
    let width = columns.clamp(WIDTHS.0, WIDTHS.1);
    let charts = charts(stats, Chart::columns(width));
    let height = 2 + (CHART + 1) * charts.len() as u16;
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    let step = format_duration(stats.resolution);
    let since = elapsed(stats.from, stats.to).as_secs();
    let heading = format!(
        "{label}, the last {} by {step}",
        format_duration(Duration::from_secs(since))
    );
    buffer.set_string(0, 0, heading, Style::new().bold());
    for (number, (series, values)) in charts.iter().enumerate() {
        let area = Rect::new(0, 2 + (CHART + 1) * number as u16, width, CHART);
        let chart = Chart {
            title: series.title,
            details: (series.details)(stats),
            values,
            least_top: series.least_top,
            format: series.format,
            color: series.color,
        };
        chart.render(area, &mut buffer);
    }
    buffer
}

/// One of the charts.
struct Series {
    title: &'static str,
    value: fn(&Point) -> f64,
    details: fn(&Stats) -> String,
    least_top: f64,
    format: fn(f64) -> String,
    color: Color,
}

fn charts(stats: &Stats, columns: usize) -> Vec<(Series, Vec<f64>)> {
    let series = [
        Series {
            title: "cpu",
            value: |point| point.cpus,
            details: |stats| {
                let most = stats
                    .points
                    .iter()
                    .map(|point| point.cpus)
                    .fold(0.0, f64::max);
                let total =
                    format_duration(Duration::from_millis(stats.totals.cpu.as_millis() as u64));
                format!(
                    "{} now, {most:.2} at most, {total} in all",
                    now(stats, |point| format!("{:.2}", point.cpus))
                )
            },
            least_top: 1.0,
            format: |value| format!("{value:.1}"),
            color: Color::Green,
        },
        Series {
            title: "memory",
            value: |point| point.memory_most as f64,
            details: |stats| {
                let most = stats.points.iter().map(|point| point.memory_most).max();
                format!(
                    "{} now, {} at most",
                    now(stats, |point| format_bytes(point.memory)),
                    format_bytes(most.unwrap_or_default())
                )
            },
            least_top: 1.0,
            format: |value| format_bytes(value as u64),
            color: Color::Cyan,
        },
        Series {
            title: "processes",
            value: |point| point.processes,
            details: |stats| {
                let most = stats.points.iter().map(|point| point.processes_most).max();
                format!(
                    "{} now, {} at most",
                    now(stats, |point| format!("{:.0}", point.processes)),
                    most.unwrap_or_default()
                )
            },
            least_top: 1.0,
            format: |value| format!("{value:.0}"),
            color: Color::Yellow,
        },
        Series {
            title: "disk transfers",
            value: |point| (point.read + point.written) as f64,
            details: |stats| {
                let (read, written) = stats.points.iter().fold((0, 0), |sum, point| {
                    (sum.0 + point.read, sum.1 + point.written)
                });
                format!(
                    "{} read, {} written",
                    format_bytes(read),
                    format_bytes(written)
                )
            },
            least_top: 1.0,
            format: |value| format_bytes(value as u64),
            color: Color::Magenta,
        },
        Series {
            title: "network",
            value: |point| {
                point
                    .traffic
                    .map_or(0.0, |traffic| (traffic.received + traffic.sent) as f64)
            },
            details: |stats| {
                let traffic = stats.points.iter().filter_map(|point| point.traffic);
                let (received, sent) = traffic.fold((0, 0), |sum, traffic| {
                    (sum.0 + traffic.received, sum.1 + traffic.sent)
                });
                format!(
                    "{} received, {} sent",
                    format_bytes(received),
                    format_bytes(sent)
                )
            },
            least_top: 1.0,
            format: |value| format_bytes(value as u64),
            color: Color::Blue,
        },
    ];
    let has_network = stats.points.iter().any(|point| point.traffic.is_some());
    series
        .into_iter()
        .filter(|series| has_network || series.title != "network")
        .map(|series| {
            let values = in_time(stats, series.value);
            let values = screen::resampled(&values, columns);
            (series, values)
        })
        .collect()
}

/// What is so in the last point, if that is of now.
fn now(stats: &Stats, word: impl Fn(&Point) -> String) -> String {
    let last = stats.points.last();
    let is_now = |point: &&Point| elapsed(point.time, stats.to) < stats.resolution * 2;
    last.filter(is_now)
        .map_or_else(|| "nothing".to_owned(), word)
}

/// A value for each step of the time, nothing where nothing is known.
fn in_time(stats: &Stats, value: fn(&Point) -> f64) -> Vec<f64> {
    let place = |time| {
        (elapsed(stats.from, time).as_millis() / stats.resolution.as_millis().max(1)) as usize
    };
    let mut values = vec![0.0; place(stats.to) + 1];
    for point in &stats.points {
        if let Some(place) = values.get_mut(place(point.time)) {
            *place = value(point);
        }
    }
    values
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    let milliseconds = to.as_millisecond().saturating_sub(from.as_millisecond());
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default())
}
