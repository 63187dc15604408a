//! `ptest import`: an environment or a snapshot from a file that `ptest export` made.

use std::{ffi::OsString, path::PathBuf, time::Instant};

use clap::Args;
use ptest::Name;

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    progress::Shown,
    spec,
    ui::Ui,
};
use ptest_report::UnpackedReport;

/// Unpack an environment or a snapshot that `ptest export` packed, here or on another machine.
///
/// Needs the same Python, wherever it lies; what is not quite the same is said, and what cannot run is refused. Everything
/// in the file is verified. How far the environment is kept apart is as configured here.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The file.
    file: PathBuf,

    /// Another name than it had.
    #[arg(long, value_name = "NAME")]
    name: Option<OsString>,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let began = Instant::now();
    let name = arguments.name.as_deref().map(Name::from_os).transpose()?;
    let (config, ui) = context.config(ui)?;
    let signals = context.stop_making_on_signals()?;
    let store = context.open(&config, false)?;
    let import = spec::import(&ui, context.host(), &config, name)?;
    let file = context.host().absolute(&arguments.file);
    let unpacked = {
        let progress = Shown::new(&ui);
        signals.outcome(store.import(&file, &import, &progress))?
    };
    for difference in &unpacked.differs {
        ui.warning(difference);
    }
    if arguments.report.format == Format::Json {
        ui.json(&UnpackedReport::from(unpacked))?;
    } else {
        let what = if unpacked.is_snapshot {
            "snapshot"
        } else {
            "environment"
        };
        ui.done(
            "Unpacked",
            format_args!(
                "{what} {} with Python {}: {} new layers, {} shared, in {:.1} s",
                unpacked.label,
                unpacked.python,
                unpacked.added,
                unpacked.shared,
                began.elapsed().as_secs_f64()
            ),
        );
    }
    Ok(Exit::Success)
}
