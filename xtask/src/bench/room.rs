//! What an environment takes of the disk and of memory. Not times: those are `works`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Serialize;

use super::program::Program;
use super::sets::Set;
use crate::process::{self, Result};

/// How many environments share the disk.
const ENVIRONMENTS: u32 = 100;

/// One figure.
#[derive(Serialize)]
pub(crate) struct Room {
    pub(crate) key: &'static str,
    pub(crate) title: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// Takes every figure with environments of one set, in a store with nothing else.
///
/// # Errors
///
/// When ptest fails.
pub(crate) fn take(program: &Program, scratch: &Path, set: &Set) -> Result<Vec<Room>> {
    let alone = program.in_another_store(&scratch.join("room"), set)?;
    let figures = [disk(&alone, set)?, memory(&alone, set)?];
    alone.end();
    Ok(figures.into())
}

fn disk(program: &Program, set: &Set) -> Result<Room> {
    let mut names = vec![program.fresh()];
    process::output(&mut program.create(&names[0], set))?;
    let one = allocated(program.home())?;
    for _ in 1..ENVIRONMENTS {
        let name = program.fresh();
        process::output(&mut program.create(&name, set))?;
        names.push(name);
    }
    let all = allocated(program.home())?;
    for name in &names {
        process::output(&mut program.command(&["remove", name]))?;
    }
    Ok(Room {
        key: "disk-100",
        title: format!(
            "Disk of {ENVIRONMENTS} environments of one recipe ({}), against the disk of one",
            set.name
        ),
        value: all as f64 / one as f64,
        unit: "times",
    })
}

fn memory(program: &Program, set: &Set) -> Result<Room> {
    let name = program.active(set)?;
    let resident = resident(&program.home().join("bin"))?;
    process::output(&mut program.command(&["remove", &name]))?;
    Ok(Room {
        key: "memory-idle",
        title: format!(
            "Resident memory of an idle active environment ({})",
            set.name
        ),
        value: resident as f64,
        unit: "bytes",
    })
}

/// The bytes that the disk has given to everything below a directory.
fn allocated(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        bytes += facts.blocks() * 512;
        if facts.is_dir() {
            bytes += allocated(&entry.path())?;
        }
    }
    Ok(bytes)
}

/// The resident memory of one process that runs a program of this directory.
fn resident(programs: &Path) -> Result<u64> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        if !fs::read_link(process.join("exe")).is_ok_and(|exe| exe.starts_with(programs)) {
            continue;
        }
        // One that has just ended has no status.
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse::<u64>().ok());
        found.extend(kilobytes.map(|number| number * 1024));
    }
    let largest = found.into_iter().max();
    largest.ok_or_else(|| "no init runs".into())
}
