//! `ptest improve`: environments that start faster.

use clap::Args;
use ptest::config::Origin;

use crate::{
    background,
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    progress::Shown,
    ui::Ui,
};
use ptest_report::ImprovedReport;

/// Make what was used start faster: compile its bytecode, and make deep stacks one layer.
///
/// ptest does this by itself, in the background and at low priority, after a command that used something new; here it is
/// done now. Nothing changes by it but time.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// At the lowest priority, apart from the caller.
    #[arg(long, hide = true)]
    background: bool,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    if arguments.background {
        background::enter();
    }
    let (mut config, ui) = context.config(ui)?;
    // Nor does what cannot be done go on behind the caller's back.
    config.improve.replace(Some(false), Origin::OPTION);
    let store = context.open(&config, false)?;
    let improved = {
        let progress = Shown::new(&ui);
        store.improve(&progress)?
    };
    if arguments.report.format == Format::Json {
        ui.json(&ImprovedReport::from(improved))?;
    } else {
        ui.done(
            "Improved",
            format_args!(
                "{} distributions compiled, {} stacks made one layer",
                improved.compiled, improved.flattened
            ),
        );
    }
    Ok(Exit::Success)
}
