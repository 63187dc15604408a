//! `ptest doctor`: whether ptest can do its work here.

use std::path::Path;

use clap::Args;
use ptest::doctor::{self, Health};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    json::DoctorReport,
    options::{Format, ReportOptions},
    table::render,
    ui::Ui,
};

/// Check what ptest needs and can use: there or not, why, what to do.
///
/// Ends with 1 if something is missing that ptest needs.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
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
    let beside = context.host().program.as_deref().and_then(Path::parent);
    let findings = doctor::examine(&store, beside)?;
    if arguments.report.format == Format::Json {
        ui.json(&DoctorReport {
            findings: findings.iter().map(Into::into).collect(),
        })?;
    } else {
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|finding| {
                let hint = finding.hint.as_deref().map(|hint| format!(" ({hint})"));
                vec![
                    finding.name.to_owned(),
                    finding.health.as_str().to_owned(),
                    format!("{}{}", finding.detail, hint.unwrap_or_default()),
                ]
            })
            .collect();
        ui.data(render(&["NAME", "STATE", "DETAIL"], &rows))?;
    }
    let missing = findings
        .iter()
        .any(|finding| finding.health == Health::Missing);
    Ok(if missing {
        Exit::Findings
    } else {
        Exit::Success
    })
}
