//! The command line's grammar: the global options and the list of commands. Each command's own arguments are in its
//! file below `commands`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use ptest::config::{ColorChoice, parse_duration};

use crate::{
    commands::{
        activate, apply, completions, config, create, deactivate, diff, doctor, events, exec,
        export, fork, gc, import, improve, install, list, man, matrix, packages, path, port, prune,
        recover, reference, remove, run, shell, snapshot, status, uninstall, upgrade, verify,
    },
    options::Format,
};

/// Clean, reproducible, disposable environments in about a millisecond.
///
/// `ptest run --with requests -- python script.py` makes a fresh environment, runs the command in it and takes it away
/// without a trace. `ptest create` makes one that stays until `ptest remove`.
#[derive(Debug, Parser)]
#[command(
    name = "ptest",
    version,
    propagate_version = false,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: the command's own; 1 findings, 2 usage, 124 timed out, 125 ptest failed, 126 not \
                  executable, 127 not found, 128+N ended by signal N."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Where the store is [default: PTEST_HOME, else as configured].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) ptest_home: Option<PathBuf>,

    /// Say nothing but errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    /// Say every step.
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Refuse what another operation is at, instead of waiting for that to end.
    #[arg(long, global = true)]
    pub(crate) no_wait: bool,

    /// Wait this long for room where as much is there as there may be, such as 5m [default: refuse].
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,

    /// Draw no progress.
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,

    /// When to colour messages [default: auto].
    #[arg(long, global = true, value_name = "WHEN", value_parser = crate::options::words::<ColorChoice>(ColorChoice::WORDS))]
    pub(crate) color: Option<ColorChoice>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::Arguments),
    Create(create::Arguments),
    Apply(apply::Arguments),
    Matrix(matrix::Arguments),
    Exec(exec::Arguments),
    Shell(shell::Arguments),
    Install(install::Arguments),
    Uninstall(uninstall::Arguments),
    Upgrade(upgrade::Arguments),
    Packages(packages::Arguments),
    Verify(verify::Arguments),
    List(list::Arguments),
    Status(status::Arguments),
    Path(path::Arguments),
    Activate(activate::Arguments),
    Deactivate(deactivate::Arguments),
    Snapshot(snapshot::Arguments),
    Diff(diff::Arguments),
    Fork(fork::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Events(events::Arguments),
    Port(port::Arguments),
    Remove(remove::Arguments),
    Prune(prune::Arguments),
    Gc(gc::Arguments),
    Recover(recover::Arguments),
    Improve(improve::Arguments),
    Doctor(doctor::Arguments),
    Config(config::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
    #[command(hide = true)]
    Reference(reference::Arguments),
}

impl Command {
    /// How the command reports, so that an error is reported in the same way.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::Create(arguments) => arguments.format(),
            Self::Apply(arguments) => arguments.format(),
            Self::Matrix(arguments) => arguments.format(),
            Self::Install(arguments) => arguments.format(),
            Self::Uninstall(arguments) => arguments.format(),
            Self::Upgrade(arguments) => arguments.format(),
            Self::Packages(arguments) => arguments.format(),
            Self::Verify(arguments) => arguments.format(),
            Self::List(arguments) => arguments.format(),
            Self::Status(arguments) => arguments.format(),
            Self::Path(arguments) => arguments.format(),
            Self::Activate(arguments) => arguments.format(),
            Self::Deactivate(arguments) => arguments.format(),
            Self::Snapshot(arguments) => arguments.format(),
            Self::Diff(arguments) => arguments.format(),
            Self::Fork(arguments) => arguments.format(),
            Self::Export(arguments) => arguments.format(),
            Self::Import(arguments) => arguments.format(),
            Self::Events(arguments) => arguments.format(),
            Self::Port(arguments) => arguments.format(),
            Self::Remove(arguments) => arguments.format(),
            Self::Prune(arguments) => arguments.format(),
            Self::Recover(arguments) => arguments.format(),
            Self::Gc(arguments) => arguments.format(),
            Self::Improve(arguments) => arguments.format(),
            Self::Doctor(arguments) => arguments.format(),
            Self::Config(arguments) => arguments.format(),
            Self::Run(_)
            | Self::Exec(_)
            | Self::Shell(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Reference(_) => Format::Text,
        }
    }
}
