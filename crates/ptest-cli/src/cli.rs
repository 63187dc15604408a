//! The command line's grammar: the global options and the list of commands. Each command's own arguments are in its
//! file below `commands`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use ptest::config::{ColorChoice, parse_duration};

use crate::{
    commands::{
        activate, apply, completions, config, create, deactivate, diff, doctor, events, exec,
        export, fork, gc, hooks, import, improve, install, kernel, kill, list, logs, man, matrix,
        metrics, packages, path, port, prune, recover, reference, remove, run, runs, shell,
        snapshot, stats, status, top, uninstall, upgrade, verify,
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

impl Cli {
    /// Reads a command line, and how its command reports, so that an error is reported in the same way.
    pub(crate) fn read(
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<(Self, Format), clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(args)?;
        let cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        Ok((cli, format(&matches)))
    }
}

/// What is said by `--format` of the innermost command; text where there is no such option.
fn format(matches: &ArgMatches) -> Format {
    if let Some((_, inner)) = matches.subcommand() {
        return format(inner);
    }
    // As it was written: a command may know other formats besides.
    let words = matches.try_get_raw("format").ok().flatten();
    if words.into_iter().flatten().any(|word| word == "json") {
        Format::Json
    } else {
        Format::Text
    }
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
    Runs(runs::Arguments),
    Logs(logs::Arguments),
    Kill(kill::Arguments),
    List(list::Arguments),
    Status(status::Arguments),
    Stats(stats::Arguments),
    Top(top::Arguments),
    Metrics(metrics::Arguments),
    Path(path::Arguments),
    Kernel(kernel::Arguments),
    Activate(activate::Arguments),
    Deactivate(deactivate::Arguments),
    Snapshot(snapshot::Arguments),
    Diff(diff::Arguments),
    Fork(fork::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Events(events::Arguments),
    Hooks(hooks::Arguments),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_reported_as_the_innermost_command_reports() {
        let format = |line: &str| {
            let words = line.split(' ').map(OsString::from);
            Cli::read(words).unwrap().1
        };
        for line in [
            "ptest list --format json",
            "ptest --quiet snapshot list --format json",
            "ptest events emit done --format json",
        ] {
            assert_eq!(format(line), Format::Json, "{line}");
        }
        for line in [
            "ptest list",
            "ptest config set log off",
            "ptest run -- x --format json",
        ] {
            assert_eq!(format(line), Format::Text, "{line}");
        }
    }
}
