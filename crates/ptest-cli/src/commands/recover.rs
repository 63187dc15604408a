//! `ptest recover`: puts right what dead processes left, as every opening of the store does.

use clap::Args;
use ptest::{Recovery, environment::EnvironmentId};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    json::RecoveredReport,
    options::{Format, ReportOptions},
    ui::Ui,
};

/// Put right what dead processes left, and take away environments whose time is over.
///
/// Every command does so when it opens the store. Called by a timer, this does it where no other command is called.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let Recovery {
        removed,
        settled,
        released_ports,
        lost,
        failed,
    } = store.recovered();
    let failed: Vec<(EnvironmentId, CliError)> = failed
        .into_iter()
        .map(|(id, error)| (id, error.into()))
        .collect();
    for (_, error) in &failed {
        ui.explain(error);
    }
    if arguments.report.format == Format::Json {
        ui.json(&RecoveredReport::new(
            &removed,
            &settled,
            released_ports,
            &lost,
            &failed,
        ))?;
    } else {
        for id in &removed {
            ui.done("Removed", id);
        }
        for id in &settled {
            ui.done("Settled", id);
        }
        for id in &lost {
            ui.done("Lost", format_args!("run {id}"));
        }
        for port in &released_ports {
            ui.done("Released", format_args!("port {port}"));
        }
        let is_right = removed.is_empty() && settled.is_empty();
        if is_right && released_ports.is_empty() && lost.is_empty() && failed.is_empty() {
            ui.note("there is nothing to put right");
        }
    }
    Ok(if failed.is_empty() {
        Exit::Success
    } else {
        Exit::Failed
    })
}
