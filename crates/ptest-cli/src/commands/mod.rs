//! One file for each command: its arguments first, then what it does.

pub(crate) mod activate;
pub(crate) mod apply;
mod changes;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod deactivate;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod fork;
pub(crate) mod gc;
pub(crate) mod hooks;
pub(crate) mod import;
pub(crate) mod improve;
pub(crate) mod install;
pub(crate) mod kernel;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod man;
mod many;
pub(crate) mod matrix;
pub(crate) mod metrics;
pub(crate) mod packages;
pub(crate) mod path;
pub(crate) mod port;
pub(crate) mod prune;
pub(crate) mod recover;
pub(crate) mod reference;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod shell;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod uninstall;
pub(crate) mod upgrade;
pub(crate) mod verify;

use crate::{cli::Command, context::Context, error::CliError, exit_code::Exit, ui::Ui};

/// Runs a command.
pub(crate) fn run(ui: &Ui, context: &Context, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Run(arguments) => run::run(ui, context, arguments),
        Command::Create(arguments) => create::run(ui, context, arguments),
        Command::Apply(arguments) => apply::run(ui, context, arguments),
        Command::Matrix(arguments) => matrix::run(ui, context, arguments),
        Command::Exec(arguments) => exec::run(ui, context, arguments),
        Command::Shell(arguments) => shell::run(ui, context, arguments),
        Command::Install(arguments) => install::run(ui, context, arguments),
        Command::Uninstall(arguments) => uninstall::run(ui, context, arguments),
        Command::Upgrade(arguments) => upgrade::run(ui, context, arguments),
        Command::Packages(arguments) => packages::run(ui, context, arguments),
        Command::Verify(arguments) => verify::run(ui, context, arguments),
        Command::Runs(arguments) => runs::run(ui, context, arguments),
        Command::Logs(arguments) => logs::run(ui, context, arguments),
        Command::Kill(arguments) => kill::run(ui, context, arguments),
        Command::List(arguments) => list::run(ui, context, arguments),
        Command::Status(arguments) => status::run(ui, context, arguments),
        Command::Stats(arguments) => stats::run(ui, context, arguments),
        Command::Top(arguments) => top::run(ui, context, arguments),
        Command::Metrics(arguments) => metrics::run(ui, context, arguments),
        Command::Path(arguments) => path::run(ui, context, arguments),
        Command::Kernel(arguments) => kernel::run(ui, context, arguments),
        Command::Activate(arguments) => activate::run(ui, context, arguments),
        Command::Deactivate(arguments) => deactivate::run(ui, context, arguments),
        Command::Snapshot(arguments) => snapshot::run(ui, context, arguments),
        Command::Fork(arguments) => fork::run(ui, context, arguments),
        Command::Export(arguments) => export::run(ui, context, arguments),
        Command::Import(arguments) => import::run(ui, context, arguments),
        Command::Hooks(arguments) => hooks::run(ui, context, arguments),
        Command::Events(arguments) => events::run(ui, context, arguments),
        Command::Port(arguments) => port::run(ui, context, arguments),
        Command::Remove(arguments) => remove::run(ui, context, arguments),
        Command::Prune(arguments) => prune::run(ui, context, arguments),
        Command::Recover(arguments) => recover::run(ui, context, arguments),
        Command::Gc(arguments) => gc::run(ui, context, arguments),
        Command::Improve(arguments) => improve::run(ui, context, arguments),
        Command::Diff(arguments) => diff::run(ui, context, arguments),
        Command::Doctor(arguments) => doctor::run(ui, context, arguments),
        Command::Config(arguments) => config::run(ui, context, arguments),
        Command::Man(arguments) => man::run(ui, context, arguments),
        Command::Completions(arguments) => completions::run(ui, arguments),
        Command::Reference(arguments) => reference::run(ui, arguments),
    }
}
