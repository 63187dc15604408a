//! `ptest create`: an environment that stays, or a plain virtual environment that needs ptest no more.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use ptest::{Lifetime, Name};

use crate::{
    commands::fork,
    context::Context,
    error::CliError,
    exit_code::Exit,
    json::{EnvironmentReport, MaterializedReport},
    options::{CommandOptions, EnvironmentOptions, Format, ReportOptions},
    progress::Shown,
    spec,
    ui::Ui,
};

/// What a plain virtual environment, which commands use as they do any directory, cannot be told.
const OF_AN_ENVIRONMENT: [&str; 21] = [
    "name",
    "engine",
    "profile",
    "network",
    "allow",
    "home",
    "write",
    "read",
    "bind_socket",
    "scratch",
    "degrade",
    "pass",
    "port",
    "memory",
    "cpus",
    "pids",
    "cpu_time",
    "open_files",
    "file_size",
    "disk",
    "env",
];

/// What a snapshot says already.
const OF_A_SNAPSHOT: [&str; 8] = [
    "python",
    "with",
    "files",
    "editables",
    "constraints",
    "no_pip",
    "refresh",
    "materialize",
];

/// Make an environment that stays until it is removed.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Its name: letters, digits, `-`, `_` and `.`, at most 63.
    #[arg(required_unless_present = "materialize")]
    name: Option<OsString>,

    /// Make a plain virtual environment there instead, which needs ptest no more and which ptest does not know. Nothing
    /// must be there, or an empty directory.
    #[arg(long, value_name = "DIR", conflicts_with_all = OF_AN_ENVIRONMENT)]
    materialize: Option<PathBuf>,

    /// Begin with what this snapshot or environment is: its Python, its packages and its files.
    #[arg(long, value_name = "SNAPSHOT", conflicts_with_all = OF_A_SNAPSHOT)]
    from: Option<OsString>,

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
    match (&arguments.name, &arguments.materialize) {
        (_, Some(destination)) => materialize(ui, context, destination, &arguments),
        (Some(name), None) => create(ui, context, Name::from_os(name)?, &arguments),
        (None, None) => Err(CliError::Usage {
            message: "an environment that stays has a name".to_owned(),
            hint: None,
        }),
    }
}

fn create(ui: &Ui, context: &Context, name: Name, arguments: &Arguments) -> Result<Exit, CliError> {
    let began = Instant::now();
    let (config, ui) = context.config_for(ui, arguments.environment.profile)?;
    let signals = context.stop_making_on_signals()?;
    let store = context.open(&config, arguments.environment.refresh)?;
    let options = &arguments.environment;
    let variables = kept(&arguments.command_options)?;
    let made = if let Some(source) = &arguments.from {
        let mut fork = spec::fork(&ui, context.host(), &config, name, options)?;
        if let Some(settings) = &mut fork.settings {
            settings.variables.extend(variables);
        }
        fork::make(&ui, &store, source, &[fork])?
    } else {
        let detached = Lifetime::Detached;
        let mut spec =
            spec::environment(&ui, context.host(), &config, Some(name), detached, options)?;
        spec.settings.variables.extend(variables);
        let progress = Shown::new(&ui);
        vec![signals.outcome(store.create(&spec, &progress))?]
    };
    for environment in made {
        let status = environment.status()?;
        if arguments.report.format == Format::Json {
            ui.json(&EnvironmentReport::from(status))?;
        } else {
            let record = &status.record;
            let (name, python) = (record.label(), &record.python.version);
            let time = milliseconds(began);
            ui.done(
                "Created",
                format_args!("{name} with Python {python} in {time}"),
            );
        }
    }
    Ok(Exit::Success)
}

fn materialize(
    ui: &Ui,
    context: &Context,
    destination: &Path,
    arguments: &Arguments,
) -> Result<Exit, CliError> {
    let began = Instant::now();
    let (config, ui) = context.config_for(ui, arguments.environment.profile)?;
    let signals = context.stop_making_on_signals()?;
    let options = &arguments.environment;
    let host = context.host();
    if host.working_directory.is_none() {
        return Err(CliError::NoWorkingDirectory);
    }
    let store = context.open(&config, options.refresh)?;
    let (python, requirements) = spec::contents(host, &config, options)?;
    let made = {
        let progress = Shown::new(&ui);
        signals.outcome(store.materialize(
            python.as_deref(),
            &requirements,
            &host.absolute(destination),
            &progress,
        ))?
    };
    if arguments.report.format == Format::Json {
        ui.json(&MaterializedReport::from(made))?;
    } else {
        ui.done(
            "Made",
            format_args!(
                "{} with Python {} in {}",
                made.path.display(),
                made.python,
                milliseconds(began)
            ),
        );
    }
    Ok(Exit::Success)
}

fn milliseconds(began: Instant) -> String {
    format!("{:.1} ms", began.elapsed().as_secs_f64() * 1000.0)
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
