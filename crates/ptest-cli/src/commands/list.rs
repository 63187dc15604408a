//! `ptest list`: which environments there are.

use clap::Args;
use ptest::environment::Status;

use crate::{
    commands::port,
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions, SelectorOptions},
    table,
    ui::Ui,
};
use ptest_report::EnvironmentsReport;

/// Show which environments there are.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selector: SelectorOptions,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let statuses = store.statuses(&arguments.selector.selector())?;
    if arguments.report.format == Format::Json {
        ui.json(&EnvironmentsReport::new(statuses))?;
        return Ok(Exit::Success);
    }
    if statuses.is_empty() {
        ui.note(arguments.selector.nothing());
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = statuses
        .iter()
        .map(|Status { record, ports, .. }| {
            vec![
                record.label().to_owned(),
                record.state.to_string(),
                record.python.version.clone(),
                record.engine.clone(),
                record.owner.as_str().to_owned(),
                port::brief(ports),
                record.created_at.to_string(),
            ]
        })
        .collect();
    ui.data(table::render(
        &[
            "NAME", "STATE", "PYTHON", "ENGINE", "OWNER", "PORTS", "CREATED",
        ],
        &rows,
    ))?;
    Ok(Exit::Success)
}
