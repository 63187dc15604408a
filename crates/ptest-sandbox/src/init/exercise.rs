//! Tries, inside a sandbox, what an overlay must be able to do. Used by [`crate::probe`].
//!
//! Some kernels and file systems mount an overlay and then fail at work; only doing it tells.

use std::fs;
use std::io;
use std::path::Path;

/// The first step changes the stack, the second reads the changes back from a new one.
pub(crate) const STEPS: [&str; 2] = ["change", "verify"];

/// Fills a directory that will be the bottom layer.
pub(crate) fn fill_lower(directory: &Path) -> io::Result<()> {
    fs::create_dir(directory.join("replaced"))?;
    fs::write(directory.join("replaced/old"), "old")?;
    fs::write(directory.join("changed"), "before")?;
    fs::write(directory.join("removed"), "there")
}

/// Does one step in a mounted stack.
pub(super) fn run(step: &std::ffi::OsStr, directory: &Path) -> io::Result<()> {
    match step.to_str() {
        Some("change") => change(directory),
        Some("verify") => verify(directory),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn change(directory: &Path) -> io::Result<()> {
    let replaced = directory.join("replaced");
    fs::remove_dir_all(&replaced)?;
    fs::create_dir(&replaced)?;
    fs::write(replaced.join("new"), "new")?;
    fs::remove_file(directory.join("removed"))?;
    // Opening for appending copies the file up.
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(directory.join("changed"))?;
    io::Write::write_all(&mut file, b", after")
}

fn verify(directory: &Path) -> io::Result<()> {
    let names = |path: &Path| -> io::Result<Vec<_>> {
        let mut names: Vec<_> = fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    };
    let right = names(directory)? == ["changed", "replaced"]
        && names(&directory.join("replaced"))? == ["new"]
        && fs::read(directory.join("changed"))? == b"before, after";
    if right {
        Ok(())
    } else {
        Err(io::Error::other("the stack does not show what was written"))
    }
}
