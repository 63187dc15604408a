//! `ptest packages`: what is installed in an environment.

use std::ffi::OsString;

use clap::Args;
use ptest::Package;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    table,
    ui::Ui,
};
use ptest_report::PackagesReport;

/// Show what is installed in an environment, whoever installed it.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let environment = context.find(&store, &arguments.name)?;
    let packages = environment.packages()?;
    if arguments.report.format == Format::Json {
        ui.json(&PackagesReport::new(
            environment.record()?.label(),
            packages,
        ))?;
    } else if packages.is_empty() {
        ui.note(format_args!(
            "nothing is installed in {}",
            environment.record()?.label()
        ));
    } else {
        let rows: Vec<Vec<String>> = packages
            .iter()
            .map(|package| {
                vec![
                    package.name.clone(),
                    package.version.clone(),
                    notes(package),
                ]
            })
            .collect();
        ui.data(table::render(&["PACKAGE", "VERSION", "NOTE"], &rows))?;
    }
    Ok(Exit::Success)
}

fn notes(package: &Package) -> String {
    let mut notes = Vec::new();
    if package.requested && !package.foreign {
        notes.push("asked for".to_owned());
    }
    if package.foreign {
        notes.push("installed by a command inside".to_owned());
    }
    notes.extend(
        package
            .editable
            .iter()
            .map(|project| format!("editable, from {project}")),
    );
    notes.join(", ")
}
