//! `ptest remove`: takes environments away.

use std::ffi::OsString;

use clap::Args;
use ptest::{Ptest, environment::Owner};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    json::RemovedReport,
    options::{Format, ReportOptions},
    ui::Ui,
};

/// Take environments away: their processes, mounts and files.
///
/// Each is taken away or reported; one that fails does not keep the others.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Names or ids of environments.
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "NAME"
    )]
    names: Vec<OsString>,

    /// All of them, except those that a running process keeps for itself.
    #[arg(long)]
    all: bool,

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
    let names = if arguments.all {
        detached(&store)?
    } else {
        arguments.names
    };
    let mut removed = Vec::new();
    let mut failed = Vec::new();
    for name in &names {
        let result = context
            .find(&store, name)
            .and_then(|environment| Ok(environment.remove()?));
        match result {
            Ok(()) => {
                if arguments.report.format == Format::Text {
                    ui.done("Removed", name.display());
                }
                removed.push(name.to_string_lossy().into_owned());
            }
            Err(error) => {
                ui.explain(&error);
                failed.push((name.to_string_lossy().into_owned(), error));
            }
        }
    }
    let exit = if failed.is_empty() {
        Exit::Success
    } else {
        Exit::Failed
    };
    if arguments.report.format == Format::Json {
        ui.json(&RemovedReport::new(removed, &failed))?;
    } else if names.is_empty() {
        ui.note("there is no environment");
    }
    Ok(exit)
}

fn detached(store: &Ptest) -> Result<Vec<OsString>, CliError> {
    let records = store.records()?;
    let detached = records
        .iter()
        .filter(|record| matches!(record.owner, Owner::Detached));
    Ok(detached.map(|record| record.label().into()).collect())
}
