//! `ptest recover`: puts right what dead processes left, as every opening of the store does, or makes a damaged database
//! anew.

use clap::Args;
use ptest::{Rebuilt, Recovery, config::format_bytes, environment::EnvironmentId};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    table::render,
    ui::Ui,
};
use ptest_report::{RebuiltReport, RecoveredReport};

/// Put right what dead processes left, and take away environments whose time is over.
///
/// Every command does so when it opens the store. Called by a timer, this does it where no other command is called.
///
/// With --rebuild a database that is damaged or gone is made anew, of what can be read of it and of what is on the disk. The
/// damaged one is kept; environments that it does not tell of any more are ended, and what was written in them is moved to
/// where it can be looked at. No other command may use the store meanwhile.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Make a damaged database anew.
    #[arg(long)]
    rebuild: bool,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    if arguments.rebuild {
        return rebuild(&ui, &context.rebuild(&config)?, arguments.report.format);
    }
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
    let thrown_away = store.thrown_away()?;
    if arguments.report.format == Format::Json {
        ui.json(&RecoveredReport::new(
            &removed,
            &settled,
            released_ports,
            &lost,
            &failed,
            thrown_away,
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
        if thrown_away.entries > 0 {
            let bytes = format_bytes(thrown_away.bytes);
            ui.note(format_args!(
                "{bytes} that was thrown away is not deleted yet; `ptest gc` does it now"
            ));
        }
    }
    Ok(if failed.is_empty() {
        Exit::Success
    } else {
        Exit::Failed
    })
}

fn rebuild(ui: &Ui, rebuilt: &Rebuilt, format: Format) -> Result<Exit, CliError> {
    if format == Format::Json {
        ui.json(&RebuiltReport::from(rebuilt))?;
        return Ok(Exit::Success);
    }
    ui.note(format_args!("damaged: {}", rebuilt.damage));
    let rows: Vec<Vec<String>> = rebuilt
        .tables
        .iter()
        .map(|table| {
            let whole = if table.is_whole { "all" } else { "in part" };
            vec![
                table.table.clone(),
                table.rows.to_string(),
                whole.to_owned(),
            ]
        })
        .collect();
    ui.data(render(&["TABLE", "ROWS", "READ"], &rows))?;
    ui.done("Rebuilt", "the database");
    match rebuilt.layers {
        0 => {}
        1 => ui.done("Found", "1 layer"),
        layers => ui.done("Found", format_args!("{layers} layers")),
    }
    if let Some(aside) = &rebuilt.aside {
        ui.done("Kept", format_args!("the damaged one: {}", aside.display()));
    }
    for (id, place) in &rebuilt.lost {
        ui.warning(format_args!(
            "environment {id} is lost; what was written in it: {}",
            place.display()
        ));
    }
    Ok(Exit::Success)
}
