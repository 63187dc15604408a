//! Writes the figures for people (a Markdown table) and for programs (JSON). Times in JSON are seconds.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::Outcome;
use super::clock::Measured;
use super::machine::Machine;
use super::room::Room;
use crate::process::Result;

/// The table of one work. The ratio says how many times as long as the first contender each one takes.
pub(crate) fn table(outcome: &Outcome) -> String {
    let mut text =
        String::from("| | p50 | p10 – p90 | ratio | rounds |\n|---|---:|---:|---:|---:|\n");
    let first = outcome
        .measured
        .first()
        .map_or(Duration::ZERO, Measured::median);
    for measured in &outcome.measured {
        let _ = writeln!(
            text,
            "| {} | {} | {} – {} | {} | {} |",
            measured.name,
            human(measured.median()),
            human(measured.quantile(0.1)),
            human(measured.quantile(0.9)),
            ratio(measured.median(), first),
            measured.rounds(),
        );
    }
    text
}

/// The whole report; `notes` are its last chapters.
pub(crate) fn markdown(
    machine: &Machine,
    versions: &[String],
    outcomes: &[Outcome],
    room: &[Room],
    notes: &str,
) -> String {
    let mut text = String::from(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench`. Contenders take turns in one run, with warm caches and without the network; \
         a ratio compares medians with the first line of its table. `ptest <command>` is the whole process as a user \
         starts it, `ptest library` the call alone. Ratios travel between machines, times do not.\n\n",
    );
    let gibibytes = machine.memory_bytes as f64 / f64::from(1 << 30);
    let _ = writeln!(
        text,
        "Machine: {}, {} cores, {gibibytes:.0} GiB; {}, Linux {}; {}; uid {}.\n\nVersions: {}.",
        machine.cpu,
        machine.cores,
        machine.system,
        machine.kernel,
        machine.filesystem,
        machine.uid,
        versions.join(", "),
    );
    for outcome in outcomes {
        let _ = write!(text, "\n## {}\n\n{}", outcome.title, table(outcome));
    }
    if !room.is_empty() {
        text.push_str("\n## Room\n\n| | |\n|---|---:|\n");
    }
    for Room {
        title, value, unit, ..
    } in room
    {
        let value = match *unit {
            "bytes" => format!("{} MiB", digits(value / f64::from(1 << 20))),
            unit => format!("{value:.4} {unit}"),
        };
        let _ = writeln!(text, "| {title} | {value} |");
    }
    let _ = write!(text, "\n{notes}");
    text
}

/// A report in which only some works were measured anew; those that are new to it come before what was taken of the disk.
pub(crate) fn renewed(report: &str, outcomes: &[Outcome]) -> String {
    let mut chapters: Vec<String> = report.split("\n## ").map(str::to_owned).collect();
    for outcome in outcomes {
        let chapter = format!("{}\n\n{}", outcome.title, table(outcome));
        let is_it = |known: &&mut String| known.lines().next() == Some(&outcome.title);
        if let Some(known) = chapters.iter_mut().find(is_it) {
            *known = chapter;
        } else {
            let room = chapters
                .iter()
                .position(|known| known.starts_with("Room\n"));
            chapters.insert(room.unwrap_or(chapters.len()), chapter);
        }
    }
    chapters.join("\n## ")
}

/// The same for programs.
///
/// # Errors
///
/// When it cannot be written as JSON.
pub(crate) fn json(
    machine: &Machine,
    versions: &[String],
    outcomes: &[Outcome],
    room: &[Room],
) -> Result<String> {
    let works = outcomes.iter().map(Work::of).collect();
    let report = Report {
        schema: Schema {
            name: "ptest.benchmarks",
            version: 1,
        },
        machine,
        versions,
        works,
        room,
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// A report for programs in which only some works were measured anew.
///
/// # Errors
///
/// When it is no such report.
pub(crate) fn renewed_json(report: &str, outcomes: &[Outcome]) -> Result<String> {
    let mut report: serde_json::Value = serde_json::from_str(report)?;
    let works = report["works"]
        .as_array_mut()
        .ok_or("the report has no works")?;
    for outcome in outcomes {
        let work = serde_json::to_value(Work::of(outcome))?;
        match works
            .iter_mut()
            .find(|known| known["title"] == work["title"])
        {
            Some(known) => *known = work,
            None => works.push(work),
        }
    }
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

#[derive(Serialize)]
struct Report<'a> {
    schema: Schema,
    machine: &'a Machine,
    versions: &'a [String],
    works: Vec<Work<'a>>,
    room: &'a [Room],
}

#[derive(Serialize)]
struct Schema {
    name: &'static str,
    version: u32,
}

#[derive(Serialize)]
struct Work<'a> {
    key: &'a str,
    title: &'a str,
    contenders: Vec<Figures<'a>>,
}

impl<'a> Work<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        Self {
            key: outcome.key,
            title: &outcome.title,
            contenders: outcome.measured.iter().map(Figures::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct Figures<'a> {
    name: &'a str,
    p10: f64,
    p50: f64,
    p90: f64,
    rounds: usize,
}

impl<'a> Figures<'a> {
    fn of(measured: &'a Measured) -> Self {
        let seconds = |share| measured.quantile(share).as_secs_f64();
        Self {
            name: &measured.name,
            p10: seconds(0.1),
            p50: seconds(0.5),
            p90: seconds(0.9),
            rounds: measured.rounds(),
        }
    }
}

/// Three digits and a unit.
fn human(time: Duration) -> String {
    let (value, unit) = match time.as_nanos() {
        0..1_000_000 => (time.as_secs_f64() * 1e6, "µs"),
        1_000_000..1_000_000_000 => (time.as_secs_f64() * 1e3, "ms"),
        _ => (time.as_secs_f64(), "s"),
    };
    format!("{} {unit}", digits(value))
}

fn ratio(time: Duration, first: Duration) -> String {
    if first.is_zero() {
        String::from("–")
    } else {
        digits(time.as_secs_f64() / first.as_secs_f64())
    }
}

fn digits(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let times = [120, 4_500, 31_000, 2_470_000, 12_000_000]
            .map(|micros| human(Duration::from_micros(micros)));
        assert_eq!(times, ["120 µs", "4.50 ms", "31.0 ms", "2.47 s", "12.0 s"]);
    }

    #[test]
    fn what_was_measured_anew_takes_its_old_place_and_the_rest_stays() {
        let outcome = |title: &str| Outcome {
            key: "work",
            title: title.to_owned(),
            measured: Vec::new(),
        };
        let report = "# Benchmarks\n\nMachine.\n\n## One\n\nold\n\n## Room\n\nroom\n\n## Notes\n";
        let table = table(&outcome("One"));
        assert_eq!(
            renewed(report, &[outcome("One"), outcome("Two")]),
            format!(
                "# Benchmarks\n\nMachine.\n\n## One\n\n{table}\n## Two\n\n{table}\n## Room\n\nroom\n\n## Notes\n"
            )
        );
    }

    #[test]
    fn ratios_compare_with_the_first() {
        assert_eq!(
            ratio(Duration::from_millis(1300), Duration::from_millis(1)),
            "1300"
        );
        assert_eq!(ratio(Duration::from_millis(1), Duration::ZERO), "–");
    }
}
