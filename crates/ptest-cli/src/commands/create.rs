//! `ptest create`: an environment that stays.

use std::{ffi::OsString, time::Instant};

use clap::Args;
use ptest::{EnvironmentName, Lifetime};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    json::EnvironmentReport,
    options::{CommandOptions, EnvironmentOptions, Format, ReportOptions},
    progress::Shown,
    spec,
    ui::Ui,
};

/// Make an environment that stays until it is removed.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Its name: letters, digits, `-`, `_` and `.`, at most 63.
    name: OsString,

    #[command(flatten)]
    environment: EnvironmentOptions,

    #[command(flatten)]
    command_options: CommandOptions,

    #[command(flatten)]
    report: ReportOptions,
}

impl Arguments {
    pub(crate) fn format(&self) -> Format {
        self.report.format
    }
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let began = Instant::now();
    let name = EnvironmentName::from_os(&arguments.name)?;
    let (config, ui) = context.config(ui)?;
    let signals = context.stop_making_on_signals()?;
    let store = context.open(&config, arguments.environment.refresh)?;
    let mut spec = spec::environment(
        &ui,
        context.host(),
        &config,
        Some(name),
        Lifetime::Detached,
        &arguments.environment,
    )?;
    spec.settings
        .variables
        .extend(kept(&arguments.command_options)?);
    let environment = {
        let progress = Shown::new(&ui);
        signals.outcome(store.create(&spec, &progress))?
    };
    let status = environment.status()?;
    if arguments.report.format == Format::Json {
        ui.json(&EnvironmentReport::from(status))?;
    } else {
        let record = &status.record;
        ui.done(
            "Created",
            format_args!(
                "{} with Python {} in {:.1} ms",
                record.label(),
                record.python.version,
                began.elapsed().as_secs_f64() * 1000.0
            ),
        );
    }
    Ok(Exit::Success)
}

/// What is kept with an environment is text.
fn kept(options: &CommandOptions) -> Result<Vec<(String, String)>, CliError> {
    let text = |value: &OsString| {
        value
            .to_str()
            .map(str::to_owned)
            .ok_or_else(|| CliError::Usage {
                message: format!("`{}` is not UTF-8", value.display()),
                hint: Some("`exec --env` takes any bytes"),
            })
    };
    options
        .env
        .iter()
        .map(|(name, value)| Ok((text(name)?, text(value)?)))
        .collect()
}
