//! `ptest verify`: whether what is installed is what was installed.

use std::ffi::OsString;

use clap::Args;
use ptest::Problem;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    json::VerificationReport,
    options::{Format, ReportOptions},
    ui::Ui,
};

/// Check that what is installed is what was installed, file by file.
///
/// Shows what is not, and then ends with 1. What commands inside installed is not looked at.
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
    let verification = environment.verify()?;
    let is_whole = verification.problems.is_empty();
    let record = environment.record()?;
    if arguments.report.format == Format::Json {
        ui.json(&VerificationReport::new(record.label(), verification))?;
    } else if is_whole {
        let (packages, files) = (verification.packages, verification.files);
        ui.done(
            "Verified",
            format_args!("{}: {packages} packages, {files} files", record.label()),
        );
    } else {
        ui.data(verification.problems.iter().map(line).collect::<String>())?;
    }
    Ok(if is_whole {
        Exit::Success
    } else {
        Exit::Findings
    })
}

fn line(problem: &Problem) -> String {
    let Problem {
        package,
        path,
        detail,
    } = problem;
    let path = path
        .as_ref()
        .map(|path| format!("{} ", path.display()))
        .unwrap_or_default();
    match package {
        Some(package) => format!("{package}: {path}{detail}\n"),
        None => format!("{path}{detail}\n"),
    }
}
