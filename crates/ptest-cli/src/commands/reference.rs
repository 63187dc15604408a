//! `ptest reference` (hidden): prints one of the generated files of the repository, for `cargo xtask docs`.

use clap::Args;

use crate::{error::CliError, exit_code::Exit, reference, ui::Ui};

/// Print a generated file of the repository, or list them.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Its path in the repository.
    path: Option<String>,
}

pub(crate) fn run(ui: &Ui, arguments: Arguments) -> Result<Exit, CliError> {
    let files = reference::generated_files();
    match arguments.path {
        None => ui.data(
            files
                .iter()
                .map(|file| format!("{}\n", file.path))
                .collect::<String>(),
        )?,
        Some(path) => {
            let file =
                files
                    .iter()
                    .find(|file| file.path == path)
                    .ok_or_else(|| CliError::Usage {
                        message: format!("`{path}` is no generated file"),
                        hint: Some("without a path the command lists them"),
                    })?;
            ui.data(&file.contents)?;
        }
    }
    Ok(Exit::Success)
}
