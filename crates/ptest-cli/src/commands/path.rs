//! `ptest path`: an environment as editors and other programs of the machine see it.

use std::{ffi::OsString, os::unix::ffi::OsStrExt as _};

use clap::Args;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    ui::Ui,
};
use ptest_report::PathReport;

/// Say where an environment is for editors and type checkers, and make that directory.
///
/// It looks like a virtual environment: its packages are links to the environment's files, and the programs in its `bin`
/// run in the environment. What commands inside write there shows after the next `ptest path`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    name: OsString,

    /// Say where the programs are that run in the environment: what to put on PATH.
    #[arg(long)]
    shims: bool,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let view = context.find(&store, &arguments.name)?.view()?;
    if arguments.report.format == Format::Json {
        ui.json(&PathReport::from(view))?;
        return Ok(Exit::Success);
    }
    let path = if arguments.shims {
        view.shims
    } else {
        view.path
    };
    ui.data([path.as_os_str().as_bytes(), b"\n"].concat())?;
    Ok(Exit::Success)
}
