//! `ptest create`: an environment that stays, or a plain virtual environment that needs ptest no more.

use std::{
    ffi::OsString,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use ptest::{
    Environment, EnvironmentSpec, Fork, Lifetime, Name, config::Config, environment::Status,
};

use crate::{
    commands::{fork, many},
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{CommandOptions, EnvironmentOptions, Format, PythonOptions, ReportOptions},
    progress::Shown,
    spec,
    ui::Ui,
};
use ptest_report::{EnvironmentReport, MaterializedReport};

/// What a plain virtual environment, which commands use as they do any directory, cannot be told.
const OF_AN_ENVIRONMENT: [&str; 23] = [
    "name",
    "count",
    "label",
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

    /// Make so many, named NAME-1, NAME-2 and so on. One that fails does not keep the others; with `--from` all are made
    /// or none.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU32>,

    #[command(flatten)]
    python: PythonOptions,

    #[command(flatten)]
    environment: EnvironmentOptions,

    #[command(flatten)]
    command_options: CommandOptions,

    #[command(flatten)]
    report: ReportOptions,
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
    let (mut config, ui) = context.config_for(ui, arguments.environment.profile)?;
    arguments.python.over(&mut config);
    let signals = context.stop_making_on_signals()?;
    let store = context.open(&config, arguments.environment.refresh)?;
    let names = fork::names(&name, arguments.count)?;
    let mut made: Vec<Result<Environment, CliError>> = if let Some(source) = &arguments.from {
        let fork = like_a_source(&ui, context, &config, name, arguments)?;
        let made = fork::make(&ui, &store, source, &fork::each(&fork, &names))?;
        made.into_iter().map(Ok).collect()
    } else {
        let spec = as_asked(&ui, context, &config, name, arguments)?;
        let progress = Shown::new(&ui);
        let made = match arguments.count {
            Some(_) => store.create_all(&each(&spec, &names), &progress),
            None => vec![store.create(&spec, &progress)],
        };
        let made = made.into_iter().map(|made| signals.outcome(made));
        made.collect()
    };
    let format = arguments.report.format;
    if arguments.count.is_none()
        && let Some(made) = made.pop()
    {
        return created(&ui, format, began, &made?);
    }
    let statuses = made
        .into_iter()
        .map(|made| made.and_then(|environment| Ok(environment.status()?)));
    let labels = names.iter().map(Name::to_string);
    many::report(&ui, format, labels.zip(statuses).collect(), |made| {
        say(&ui, began, made);
    })
}

fn like_a_source(
    ui: &Ui,
    context: &Context,
    config: &Config,
    name: Name,
    arguments: &Arguments,
) -> Result<Fork, CliError> {
    let mut fork = spec::fork(ui, context.host(), config, name, &arguments.environment)?;
    if let Some(settings) = &mut fork.settings {
        let variables = context.variables(&arguments.command_options);
        settings.variables.extend(spec::kept(variables)?);
    }
    Ok(fork)
}

fn as_asked(
    ui: &Ui,
    context: &Context,
    config: &Config,
    name: Name,
    arguments: &Arguments,
) -> Result<EnvironmentSpec, CliError> {
    let options = &arguments.environment;
    let detached = Lifetime::Detached;
    let mut spec = spec::environment(ui, context.host(), config, Some(name), detached, options)?;
    let variables = context.variables(&arguments.command_options);
    spec.settings.variables.extend(spec::kept(variables)?);
    Ok(spec)
}

fn each(spec: &EnvironmentSpec, names: &[Name]) -> Vec<EnvironmentSpec> {
    let names = names.iter().cloned().map(Some);
    names
        .map(|name| EnvironmentSpec {
            name,
            ..spec.clone()
        })
        .collect()
}

fn created(
    ui: &Ui,
    format: Format,
    began: Instant,
    environment: &Environment,
) -> Result<Exit, CliError> {
    let status = environment.status()?;
    if format == Format::Json {
        ui.json(&EnvironmentReport::from(status))?;
        return Ok(Exit::Success);
    }
    say(ui, began, &[(status.record.label().to_owned(), status)]);
    Ok(Exit::Success)
}

/// Says what was made.
fn say(ui: &Ui, began: Instant, made: &[(String, Status)]) {
    let (Some((first, status)), Some((last, _))) = (made.first(), made.last()) else {
        return;
    };
    let what = match made.len() {
        1 => first.clone(),
        count => format!("{count} environments, {first} to {last},"),
    };
    let python = &status.record.python.version;
    let time = milliseconds(began);
    ui.done(
        "Created",
        format_args!("{what} with Python {python} in {time}"),
    );
}

fn materialize(
    ui: &Ui,
    context: &Context,
    destination: &Path,
    arguments: &Arguments,
) -> Result<Exit, CliError> {
    let began = Instant::now();
    let (mut config, ui) = context.config_for(ui, arguments.environment.profile)?;
    arguments.python.over(&mut config);
    let signals = context.stop_making_on_signals()?;
    let options = &arguments.environment;
    let host = context.host();
    if host.working_directory.is_none() {
        return Err(CliError::NoWorkingDirectory);
    }
    let store = context.open(&config, options.refresh)?;
    let requirements = spec::asked(host, &config, options).installed(&host.library())?;
    let made = {
        let progress = Shown::new(&ui);
        signals.outcome(store.materialize(
            config.python.as_deref(),
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
