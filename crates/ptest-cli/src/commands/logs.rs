//! `ptest logs`: what a command wrote.

use std::io::{self, Write};

use clap::Args;
use ptest::{
    StreamKind,
    runs::{Lines, OutputFilter, Piece, RunChoice, RunOutput},
};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    ui::Ui,
};
use ptest_report::LogReport;

/// Show what a command wrote, as far as that is kept.
///
/// All of it for commands that were run with `--log` or `--detach`, both streams in the order in which they came: what was
/// written to standard error goes there. Of commands whose output a program took by the library, the beginning and the end.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id; it may be gone.
    environment: String,

    /// Which of its runs: its number, its id (r17), or `last`.
    #[arg(default_value = "last")]
    run: RunChoice,

    /// Go on with what comes, until the command has ended.
    #[arg(long, short, conflicts_with = "head")]
    follow: bool,

    /// Only what was written to standard output.
    #[arg(long)]
    stdout: bool,

    /// Only what was written to standard error; it goes to standard output here.
    #[arg(long, conflicts_with = "stdout")]
    stderr: bool,

    /// This many lines, the first.
    #[arg(long, value_name = "COUNT", conflicts_with = "tail")]
    head: Option<u64>,

    /// This many lines, the last.
    #[arg(long, value_name = "COUNT")]
    tail: Option<u64>,

    #[command(flatten)]
    report: ReportOptions,
}

impl Arguments {
    fn filter(&self) -> OutputFilter {
        OutputFilter {
            stream: match (self.stdout, self.stderr) {
                (true, _) => Some(StreamKind::Stdout),
                (_, true) => Some(StreamKind::Stderr),
                _ => None,
            },
            lines: match (self.head, self.tail) {
                (Some(count), _) => Lines::First(count),
                (_, Some(count)) => Lines::Last(count),
                _ => Lines::All,
            },
            follow: self.follow,
        }
    }
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let environment = store.environment_of_runs(&arguments.environment)?;
    let run = store.run_of(&environment, arguments.run)?;
    let mut output = store.output(&run, arguments.filter())?;
    if arguments.report.format == Format::Json {
        let mut pieces = Vec::new();
        while let Some(piece) = output.piece()? {
            pieces.push(piece);
        }
        // It may have ended while it was followed.
        let run = store.run_of(&environment, RunChoice::Id(run.id))?;
        ui.json(&LogReport::new(run, pieces))?;
    } else {
        show(&ui, &mut output, arguments.stderr)?;
    }
    Ok(Exit::Success)
}

/// Writes each stream to its own. `only_errors` are what was asked for, and so are data.
fn show(ui: &Ui, output: &mut RunOutput, only_errors: bool) -> Result<(), CliError> {
    while let Some(piece) = output.piece()? {
        match piece {
            Piece::Bytes(StreamKind::Stderr, bytes) if !only_errors => {
                let mut stderr = io::stderr().lock();
                stderr.write_all(&bytes).map_err(CliError::Output)?;
            }
            Piece::Bytes(_, bytes) => ui.data(&bytes)?,
            Piece::LeftOut(kind, count) => {
                let stream = match kind {
                    StreamKind::Stdout => "standard output",
                    StreamKind::Stderr => "standard error",
                };
                ui.note(format_args!("[{count} bytes of its {stream} are not kept]"));
            }
        }
    }
    Ok(())
}
