//! `ptest runs`: which commands were run.

use clap::Args;
use ptest::runs::RunRecord;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    runs, table,
    ui::Ui,
};
use ptest_report::RunsReport;

/// Show which commands were run, where, how they ended and what they used.
///
/// Those of an environment that is gone too, as long as they are remembered: the settings `keep_runs` and `keep_runs_for`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// In this environment only: its name or id.
    environment: Option<String>,

    /// Those that have not ended.
    #[arg(long)]
    active: bool,

    /// This many at most, the latest.
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 20)]
    last: u32,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let (active, most) = (arguments.active, arguments.last);
    let found = match &arguments.environment {
        Some(label) => {
            let environment = store.environment_of_runs(label)?;
            store.runs_of(&environment, active, most)?
        }
        None => store.runs(active, most)?,
    };
    if arguments.report.format == Format::Json {
        ui.json(&RunsReport::new(found))?;
    } else if found.is_empty() {
        ui.note("there is no run");
    } else {
        let rows: Vec<Vec<String>> = found.iter().map(row).collect();
        let header = [
            "RUN",
            "ENVIRONMENT",
            "NUMBER",
            "STARTED",
            "OUTCOME",
            "TIME",
            "CPU",
            "MEMORY",
            "COMMAND",
        ];
        ui.data(table::render(&header, &rows))?;
    }
    Ok(Exit::Success)
}

fn row(run: &RunRecord) -> Vec<String> {
    let [time, cpu, memory] = runs::usage(run);
    vec![
        run.id.to_string(),
        run.label.clone(),
        run.number.to_string(),
        run.started_at.to_string(),
        runs::outcome(run),
        time,
        cpu,
        memory,
        runs::command(&run.arguments),
    ]
}
