//! `ptest snapshot`: what environments were at a moment, under names.

use std::{ffi::OsString, fmt::Write as _, path::Path};

use clap::{Args, Subcommand};
use ptest::{FileChange, Name, config::format_bytes};

use crate::{
    commands::changes,
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    table,
    ui::Ui,
};
use ptest_report::{
    DifferenceReport, RemovedSnapshotsReport, RestoredReport, SnapshotReport, SnapshotsReport,
};

/// Keep what environments are under names, and go back to it.
///
/// A snapshot is the Python, the packages and the files of an environment at a moment. It takes no more room than what
/// commands have written, and stays when the environment is removed. `ptest fork` and `ptest create --from` make
/// environments of it.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Keep what an environment is now.
    ///
    /// What runs in it is stopped while what it has written is copied, and goes on then. The snapshot is on the disk
    /// when this ends.
    Create {
        /// The environment's name or id.
        environment: OsString,
        /// The snapshot's name, which no environment has [default: the environment's with a number].
        name: Option<OsString>,
        #[command(flatten)]
        report: ReportOptions,
    },
    /// Show which snapshots there are.
    List(ReportOptions),
    /// Make an environment what a snapshot is.
    ///
    /// What was written since is gone. It is wholly as it was or wholly as the snapshot, whatever happens meanwhile.
    /// Refused while a command runs in it.
    Restore {
        /// The environment's name or id.
        environment: OsString,
        /// The snapshot's name.
        snapshot: OsString,
        #[command(flatten)]
        report: ReportOptions,
    },
    /// Show what differs between two environments or snapshots: packages, then files with their sizes.
    Diff {
        /// An environment's name or id, or a snapshot's name.
        before: OsString,
        /// Another one.
        after: OsString,
        #[command(flatten)]
        report: ReportOptions,
    },
    /// Take snapshots away.
    ///
    /// What was made of them stays. `ptest gc` gives back the room.
    Remove {
        /// The snapshots' names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<OsString>,
        #[command(flatten)]
        report: ReportOptions,
    },
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    match arguments.action {
        Action::Create {
            environment,
            name,
            report,
        } => create(ui, context, &environment, name.as_ref(), report.format),
        Action::List(report) => list(ui, context, report.format),
        Action::Restore {
            environment,
            snapshot,
            report,
        } => restore(ui, context, &environment, &snapshot, report.format),
        Action::Diff {
            before,
            after,
            report,
        } => diff(ui, context, &before, &after, report.format),
        Action::Remove { names, report } => remove(ui, context, names, report.format),
    }
}

fn create(
    ui: &Ui,
    context: &Context,
    environment: &OsString,
    name: Option<&OsString>,
    format: Format,
) -> Result<Exit, CliError> {
    let name = name.map(|name| Name::from_os(name)).transpose()?;
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let taken = context.find(&store, environment)?.snapshot(name)?;
    for sentence in &taken.left_out {
        ui.warning(sentence);
    }
    let snapshot = taken.snapshot;
    if format == Format::Json {
        let distributions = store.distributions(&snapshot.stack)?;
        ui.json(&SnapshotReport::new(
            snapshot,
            distributions,
            taken.left_out,
        ))?;
    } else {
        ui.done(
            "Kept",
            format_args!("{} as {}", snapshot.of.label, snapshot.name),
        );
    }
    Ok(Exit::Success)
}

fn list(ui: &Ui, context: &Context, format: Format) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let snapshots = store.snapshots()?;
    if format == Format::Json {
        let snapshots = snapshots.into_iter().map(|snapshot| {
            let distributions = store.distributions(&snapshot.stack)?;
            Ok((snapshot, distributions))
        });
        let snapshots = snapshots.collect::<Result<_, CliError>>()?;
        ui.json(&SnapshotsReport::new(snapshots))?;
        return Ok(Exit::Success);
    }
    if snapshots.is_empty() {
        ui.note("there is no snapshot");
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = snapshots
        .iter()
        .map(|snapshot| {
            vec![
                snapshot.name.to_string(),
                snapshot.of.label.clone(),
                snapshot.python.version.clone(),
                snapshot.author.clone(),
                snapshot.created_at.to_string(),
            ]
        })
        .collect();
    ui.data(table::render(
        &["NAME", "OF", "PYTHON", "BY", "CREATED"],
        &rows,
    ))?;
    Ok(Exit::Success)
}

fn restore(
    ui: &Ui,
    context: &Context,
    environment: &OsString,
    snapshot: &OsString,
    format: Format,
) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let environment = context.find(&store, environment)?;
    let snapshot = environment.restore(&snapshot.to_string_lossy())?;
    let status = environment.status()?;
    if format == Format::Json {
        ui.json(&RestoredReport::new(&snapshot.name, status))?;
    } else {
        ui.done(
            "Restored",
            format_args!("{} to {}", status.record.label(), snapshot.name),
        );
    }
    Ok(Exit::Success)
}

fn diff(
    ui: &Ui,
    context: &Context,
    before: &OsString,
    after: &OsString,
    format: Format,
) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let (before, after) = (before.to_string_lossy(), after.to_string_lossy());
    let difference = store.diff(&before, &after)?;
    if format == Format::Json {
        ui.json(&DifferenceReport::new(&before, &after, difference))?;
    } else if difference.packages.is_empty() && difference.files.is_empty() {
        ui.note(format_args!("{before} and {after} are the same"));
    } else {
        let mut text: String = difference.packages.iter().map(changes::line).collect();
        if !difference.packages.is_empty() && !difference.files.is_empty() {
            text.push('\n');
        }
        text.extend(difference.files.iter().map(file_line));
        ui.data(text)?;
    }
    Ok(Exit::Success)
}

fn remove(
    ui: &Ui,
    context: &Context,
    names: Vec<OsString>,
    format: Format,
) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let mut removed = Vec::new();
    let mut failed = Vec::new();
    for name in names {
        let name = name.to_string_lossy().into_owned();
        match store.remove_snapshot(&name) {
            Ok(()) => {
                if format == Format::Text {
                    ui.done("Removed", &name);
                }
                removed.push(name);
            }
            Err(error) => {
                let error = error.into();
                ui.explain(&error);
                failed.push((name, error));
            }
        }
    }
    let exit = if failed.is_empty() {
        Exit::Success
    } else {
        Exit::Failed
    };
    if format == Format::Json {
        ui.json(&RemovedSnapshotsReport::new(removed, &failed))?;
    }
    Ok(exit)
}

fn file_line(change: &FileChange) -> String {
    let path = shown(&change.path);
    match (change.before, change.after) {
        (None, Some(after)) => format!("+ {path} {}\n", format_bytes(after)),
        (Some(before), None) => format!("- {path} {}\n", format_bytes(before)),
        (Some(before), Some(after)) => {
            let (before, after) = (format_bytes(before), format_bytes(after));
            format!("~ {path} {before} -> {after}\n")
        }
        (None, None) => String::new(),
    }
}

/// A path on one line, whatever is in it.
fn shown(path: &Path) -> String {
    let mut text = String::new();
    for character in path.to_string_lossy().chars() {
        if character.is_control() {
            // Writing to a text cannot fail.
            let _ = write!(text, "{}", character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}
