//! `ptest config`: what is set, by whom, and how to set it.

use std::ffi::OsString;

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use ptest::config::{self, ConfigError, KEYS, Key, Place};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    table,
    ui::Ui,
};
use ptest_report::{ConfigPathsReport, ConfigReport};

/// Show and change settings.
///
/// Sources, each stronger than the one before: built in, /etc/ptest/config.toml, ~/.config/ptest/config.toml, the
/// project's ptest.toml or [tool.ptest] in its pyproject.toml, PTEST_* variables, options.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show every setting, its value and where that comes from.
    List(ReportOptions),
    /// Show the value of one setting.
    ///
    /// Prints nothing if it is not set.
    Get {
        /// The setting.
        #[arg(value_parser = keys())]
        key: String,
        #[command(flatten)]
        report: ReportOptions,
    },
    /// Set a value in the user's file.
    ///
    /// Comments and everything else in the file stay as they are. Lists are written with commas, lists of paths with
    /// colons, tables as NAME=VALUE, one a line.
    Set {
        /// The setting.
        #[arg(value_parser = keys())]
        key: String,
        /// The value.
        #[arg(allow_hyphen_values = true)]
        value: OsString,
    },
    /// Show which files are read, strongest last.
    Path(ReportOptions),
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    match arguments.action {
        Action::List(report) => list(ui, context, report.format),
        Action::Get { key, report } => get(ui, context, &key, report.format),
        Action::Set { key, value } => {
            let file = config::set(&context.host().sources(), &key, &value)?;
            ui.done("Set", format_args!("{key} in {}", file.display()));
            Ok(Exit::Success)
        }
        Action::Path(report) => path(ui, context, report.format),
    }
}

fn list(ui: &Ui, context: &Context, format: Format) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    if format == Format::Json {
        let settings = config.rows().into_iter().map(Into::into).collect();
        ui.json(&ConfigReport { settings })?;
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = config
        .rows()
        .into_iter()
        .map(|row| {
            vec![
                row.key.to_owned(),
                row.toml().unwrap_or_else(|| "-".to_owned()),
                row.origin.to_string(),
            ]
        })
        .collect();
    ui.data(table::render(&["SETTING", "VALUE", "ORIGIN"], &rows))?;
    Ok(Exit::Success)
}

fn get(ui: &Ui, context: &Context, key: &str, format: Format) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    // The parser lets only known keys through; this is for callers that do not come by it.
    let row = config.row(key).ok_or_else(|| ConfigError::UnknownKey {
        place: Place::Argument,
        key: key.to_owned(),
        nearest: Key::nearest(key),
    })?;
    if format == Format::Json {
        ui.json(&ConfigReport {
            settings: vec![row.into()],
        })?;
    } else if let Some(text) = row.text() {
        ui.data(text + "\n")?;
    } else {
        ui.note(format_args!("{key} is not set"));
    }
    Ok(Exit::Success)
}

fn path(ui: &Ui, context: &Context, format: Format) -> Result<Exit, CliError> {
    let files = context.host().sources().files()?;
    if format == Format::Json {
        ui.json(&ConfigPathsReport::from(files))?;
        return Ok(Exit::Success);
    }
    let all = [Some(files.system), files.user, files.project];
    let lines: String = all
        .iter()
        .flatten()
        .map(|file| format!("{}\n", file.display()))
        .collect();
    ui.data(lines)?;
    Ok(Exit::Success)
}

fn keys() -> PossibleValuesParser {
    KEYS.iter().map(|key| key.name).collect::<Vec<_>>().into()
}
