//! `ptest fork`: more environments that are what one is.

use std::{
    ffi::{OsStr, OsString},
    num::NonZeroU32,
    time::Instant,
};

use clap::Args;
use ptest::{Environment, Fork, Lifetime, Name, Ptest};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, LabelOptions, ReportOptions},
    ui::Ui,
};
use ptest_report::EnvironmentsReport;

/// Make environments that are what another one, or a snapshot, is now.
///
/// Packages, files, settings and labels are the same; from then on each is on its own. Nothing is installed anew. What runs in
/// the source is stopped for a moment and goes on.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// An environment's name or id, or a snapshot's name.
    source: OsString,

    /// The new environment's name.
    new: OsString,

    /// Make so many, named NEW-1, NEW-2 and so on: all of them or none.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU32>,

    #[command(flatten)]
    labels: LabelOptions,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let began = Instant::now();
    let names = names(&Name::from_os(&arguments.new)?, arguments.count)?;
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let fork = Fork {
        name: None,
        lifetime: Lifetime::Detached,
        engine: None,
        settings: None,
        labels: arguments.labels.labels(),
    };
    let environments = make(&ui, &store, &arguments.source, &each(&fork, &names))?;
    if arguments.report.format == Format::Json {
        let statuses = environments.iter().map(Environment::status);
        let statuses = statuses.collect::<Result<_, _>>()?;
        ui.json(&EnvironmentsReport::new(statuses))?;
    } else {
        let milliseconds = began.elapsed().as_secs_f64() * 1000.0;
        let made = match arguments.count {
            Some(count) => format!("{count} environments"),
            None => arguments.new.display().to_string(),
        };
        let source = arguments.source.display();
        ui.done(
            "Made",
            format_args!("{made} of {source} in {milliseconds:.1} ms"),
        );
    }
    Ok(Exit::Success)
}

/// Makes the environments, and says what they lack.
pub(super) fn make(
    ui: &Ui,
    store: &Ptest,
    source: &OsStr,
    forks: &[Fork],
) -> Result<Vec<Environment>, CliError> {
    // What is not UTF-8 is the name of nothing; the replacement shows where.
    let made = store.fork(&source.to_string_lossy(), forks)?;
    for sentence in made.left_out {
        ui.warning(sentence);
    }
    Ok(made.environments)
}

/// The same under each of these names.
pub(super) fn each(fork: &Fork, names: &[Name]) -> Vec<Fork> {
    let names = names.iter().cloned().map(Some);
    names
        .map(|name| Fork {
            name,
            ..fork.clone()
        })
        .collect()
}

/// The name, or so many that begin with it.
pub(super) fn names(name: &Name, count: Option<NonZeroU32>) -> Result<Vec<Name>, CliError> {
    let Some(count) = count else {
        return Ok(vec![name.clone()]);
    };
    let numbered = (1..=count.get()).map(|number| format!("{name}-{number}").parse());
    Ok(numbered.collect::<Result<_, ptest::Error>>()?)
}
