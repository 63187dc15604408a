//! `ptest metrics`: what there is, for Prometheus.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::{context::Context, error::CliError, exit_code::Exit, ui::Ui};

/// Write metrics of the store and of every environment, as Prometheus reads them.
///
/// With `--output`, the file is there wholly or as it was: for the textfile collector of node_exporter, by a timer.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Write them to this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let text = store.metrics_text()?;
    match &arguments.output {
        Some(path) => {
            let path = context.host().absolute(path);
            let what = path.display().to_string();
            replace(&path, &text).map_err(|source| CliError::Write { what, source })?;
        }
        None => ui.data(text)?,
    }
    Ok(Exit::Success)
}

/// Puts a file in the place of another in one step. Who reads it is another user, perhaps.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let new = path.with_file_name(name);
    let written = fs::File::create(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // Why it failed is what the caller must know.
        let _ = fs::remove_file(&new);
    }
    written
}
