//! `ptest verify`: whether what is installed is what was installed.

use std::ffi::OsString;

use clap::{Args, ValueEnum};
use ptest::{DamagedLayer, Depth, Environment, Outcome, Problem, Ptest};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    progress::Shown,
    ui::Ui,
};
use ptest_report::{StoreVerificationReport, VerificationReport};

/// Check that what is installed is what was installed, file by file.
///
/// Shows what is not, and then ends with 1. What commands inside installed is not looked at.
///
/// With --store every layer is checked. Those that are damaged are taken out of service; those that environments
/// or snapshots are made of are made again, and these are named.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    #[arg(required_unless_present = "store", conflicts_with = "store")]
    name: Option<OsString>,

    /// Check every layer of the store, and mend what can be mended.
    #[arg(long)]
    store: bool,

    /// How closely to look at layers: at the contents of every file, or of about 64 files a layer, other ones each time.
    #[arg(long, value_enum, default_value_t = Layers::Full, value_name = "DEPTH")]
    layers: Layers,

    #[command(flatten)]
    report: ReportOptions,
}

/// How closely to look at layers.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Layers {
    Full,
    Sampled,
}

impl From<Layers> for Depth {
    fn from(layers: Layers) -> Self {
        match layers {
            Layers::Full => Self::Full,
            Layers::Sampled => Self::Sampled,
        }
    }
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let depth = arguments.layers.into();
    let is_whole = match &arguments.name {
        Some(name) => {
            let environment = context.find(&store, name)?;
            one(&ui, &environment, depth, arguments.report.format)?
        }
        None => all(&ui, context, &store, depth, arguments.report.format)?,
    };
    Ok(if is_whole {
        Exit::Success
    } else {
        Exit::Findings
    })
}

/// Verifies an environment; says whether it is whole.
fn one(ui: &Ui, environment: &Environment, depth: Depth, format: Format) -> Result<bool, CliError> {
    let verification = environment.verify(depth)?;
    let is_whole = verification.problems.is_empty();
    let record = environment.record()?;
    if format == Format::Json {
        ui.json(&VerificationReport::new(record.label(), verification))?;
    } else if is_whole {
        let (packages, files) = (verification.packages, verification.files);
        ui.done(
            "Verified",
            format_args!("{}: {packages} packages, {files} files", record.label()),
        );
    } else {
        ui.data(verification.problems.iter().map(line).collect::<String>())?;
    }
    Ok(is_whole)
}

/// Verifies the store; says whether every layer was whole.
fn all(
    ui: &Ui,
    context: &Context,
    store: &Ptest,
    depth: Depth,
    format: Format,
) -> Result<bool, CliError> {
    let signals = context.stop_making_on_signals()?;
    let verification = {
        let progress = Shown::new(ui);
        signals.outcome(store.verify_store(depth, &progress))?
    };
    if format == Format::Json {
        ui.json(&StoreVerificationReport::from(&verification))?;
    } else if verification.damaged.is_empty() {
        ui.done("Verified", format_args!("{} layers", verification.layers));
    } else {
        ui.data(verification.damaged.iter().map(damage).collect::<String>())?;
    }
    Ok(verification.damaged.is_empty())
}

fn damage(layer: &DamagedLayer) -> String {
    let users: Vec<&str> = layer
        .environments
        .iter()
        .chain(&layer.snapshots)
        .map(String::as_str)
        .collect();
    let users = if users.is_empty() {
        String::new()
    } else {
        format!(" (of {})", users.join(", "))
    };
    let outcome = match &layer.outcome {
        Outcome::MadeAgain => "made again".to_owned(),
        Outcome::Unused => "out of service".to_owned(),
        Outcome::Failed(error) => format!("out of service, for {error}"),
    };
    format!("{}{users}: {}: {outcome}\n", layer.id, layer.detail)
}

fn line(problem: &Problem) -> String {
    let Problem {
        package,
        path,
        detail,
    } = problem;
    let path = path
        .as_ref()
        .map(|path| format!("{} ", path.display()))
        .unwrap_or_default();
    match package {
        Some(package) => format!("{package}: {path}{detail}\n"),
        None => format!("{path}{detail}\n"),
    }
}
