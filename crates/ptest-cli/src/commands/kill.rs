//! `ptest kill`: a signal to a command that runs.

use clap::Args;
use ptest::{Error, ErrorKind, runs::RunChoice};
use rustix::process::Signal;

use crate::{context::Context, error::CliError, exit_code::Exit, ui::Ui};

/// Send a signal to a command that runs in an environment, whichever ptest waits for it.
///
/// The command and the process group that it leads get it. How the command ends is that ptest's to tell; see `ptest runs`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The environment's name or id.
    environment: String,

    /// Which of its runs: its number, its id (r17), or `last`.
    run: RunChoice,

    /// Which signal: TERM, INT, HUP, QUIT, KILL, STOP, CONT, USR1, USR2 or a number.
    #[arg(long, short, value_name = "SIGNAL", default_value = "TERM", value_parser = signal)]
    signal: i32,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let environment = store.environment_of_runs(&arguments.environment)?;
    let run = store.run_of(&environment, arguments.run)?;
    if !store.signal_run(&run, arguments.signal)? {
        let error = Error::new(ErrorKind::IllegalState, format!("run {} has ended", run.id));
        return Err(error
            .with_hint("`ptest runs --active` shows which have not")
            .into());
    }
    ui.done("signalled", run.id);
    Ok(Exit::Success)
}

fn signal(text: &str) -> Result<i32, &'static str> {
    let name = text.to_ascii_uppercase();
    let named = match name.strip_prefix("SIG").unwrap_or(&name) {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "TERM" => Signal::TERM,
        "CONT" => Signal::CONT,
        "STOP" => Signal::STOP,
        number => {
            let number = number.parse().ok();
            return number
                .filter(|number| (1..=64).contains(number))
                .ok_or("it is neither a signal that is known nor a number from 1 to 64");
        }
    };
    Ok(named.as_raw())
}
