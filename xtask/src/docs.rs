//! `cargo xtask docs`: writes the generated files, or checks that they are current.
//!
//! The built program lists and prints them (`ptest reference`, hidden), so that they are made from the very definitions
//! that run.

use std::fs;
use std::process::Command;

use crate::process::{self, Result};
use crate::workspace::Workspace;

/// Write the generated files
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail when a file is not what would be written
    #[arg(long)]
    check: bool,
}

/// Writes or checks every generated file.
///
/// # Errors
///
/// When the program fails, or with `--check` when a file is not current.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    // With the features that it has in the whole workspace: with its own alone the library would be compiled once more.
    process::run(
        workspace
            .cargo()
            .args(["build", "--quiet", "--workspace", "--bin", "ptest"]),
    )?;
    let program = workspace.target.join("debug/ptest");
    let reference =
        |path: Option<&str>| process::captured(Command::new(&program).arg("reference").args(path));
    let mut stale = Vec::new();
    for name in reference(None)?.lines() {
        let text = reference(Some(name))?;
        let path = workspace.root.join(name);
        if fs::read_to_string(&path).is_ok_and(|current| current == text) {
            continue;
        }
        if arguments.check {
            stale.push(name.to_owned());
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("wrote {name}");
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("not current: {}; run `cargo xtask docs`", stale.join(", ")).into())
}

/// Checks every generated file.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    run(workspace, &Arguments { check: true })
}
