//! `ptest man`: the manual pages.

use std::{fs, io, path::PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use crate::{cli::Cli, context::Context, error::CliError, exit_code::Exit, ui::Ui};

/// Print the manual page, or write those of all commands.
///
/// To read it: `ptest man | man -l -`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Write the pages of all commands into this directory, which is made if it is not there.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    match arguments.dir {
        None => ui.data(page(Cli::command()).map_err(CliError::Output)?)?,
        Some(dir) => {
            let dir = context.host().absolute(&dir);
            fs::create_dir_all(&dir)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), &dir))
                .map_err(|source| CliError::Write {
                    what: format!("the manual pages into {}", dir.display()),
                    source,
                })?;
            ui.done(
                "Wrote",
                format_args!("the manual pages into {}", dir.display()),
            );
        }
    }
    Ok(Exit::Success)
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command).render(&mut text)?;
    Ok(text)
}
