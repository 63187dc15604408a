//! The store, its database and the disk that they are on.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Finding, Health, Looked, found, said};
use crate::config::format_bytes;
use crate::environment::{EnvironmentId, Record, State};
use crate::error::{Error, Result};
use crate::ptest::Ptest;

/// A disk with less free is nearly full: a few environments with large packages need that.
const LITTLE: u64 = 1 << 30;
/// The same of files: an environment of many packages has some ten thousand.
const FEW: u64 = 10_000;

/// The store, unless its database is damaged.
pub(super) fn sound(ptest: &Ptest) -> Result<&Ptest, (String, Option<String>)> {
    match ptest.database_damage().map_err(|error| said(&error))? {
        None => Ok(ptest),
        Some(damage) => {
            let path = ptest.store().database().path().display();
            let hint = "`ptest recover --rebuild` makes it anew of what can be read";
            Err((
                format!("the database {path} is damaged: {damage}"),
                Some(hint.to_owned()),
            ))
        }
    }
}

/// Whether the store can be written, and everything in it is what it should be.
pub(super) fn examine(ptest: &Ptest) -> Finding {
    match ptest.store().database().write(|_| Ok::<_, Error>(())) {
        Ok(()) => found("store", Health::Degraded, in_order(ptest)),
        Err(error) => found("store", Health::Missing, Err(said(&error))),
    }
}

/// Whether everything in the store is what it should be, after what dead processes left was put right.
fn in_order(ptest: &Ptest) -> Looked {
    let home = ptest.store().home().display();
    let of_the_store = |error: ptest_store::Error| said(&error.into());
    let recovered = ptest.recover_store().map_err(|error| said(&error))?;
    let layers = ptest.store().layers().map_err(of_the_store)?.len();
    let environments = environments(ptest).map_err(|error| said(&error))?;
    let thrown_away = ptest.thrown_away().map_err(|error| said(&error))?;
    let mut detail = format!(
        "{home}: {}, {}",
        counted(layers, "layer"),
        counted(environments.all, "environment")
    );
    if thrown_away.entries > 0 {
        detail += &format!(
            ", {} that was thrown away and is not deleted yet",
            format_bytes(thrown_away.bytes)
        );
    }
    let problems = [
        (
            recovered.lost.iter().map(ToString::to_string).collect(),
            "layers were damaged and taken out of service",
            "damaged layers are made again when they are next needed",
        ),
        (
            recovered
                .foreign
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
            "files are not ptest's",
            "move files that are not ptest's away",
        ),
        (
            environments.empty,
            "environments have lost their files",
            "remove environments that have lost their files",
        ),
        (
            environments.failed,
            "environments could not be put right",
            "`ptest status` says why an environment failed; remove it",
        ),
    ];
    let found: Vec<&(Vec<String>, &str, &str)> = problems
        .iter()
        .filter(|(which, ..)| !which.is_empty())
        .collect();
    if found.is_empty() {
        return Ok(detail);
    }
    let told = found
        .iter()
        .map(|(which, what, _)| format!("; {} {what}: {}", which.len(), which.join(", ")));
    let hints: Vec<&str> = found.iter().map(|(.., hint)| *hint).collect();
    Err((detail + &told.collect::<String>(), Some(hints.join("; "))))
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The environments of a store, and those that are not what they should be, each by its label.
struct Environments {
    all: usize,
    empty: Vec<String>,
    failed: Vec<String>,
}

fn environments(ptest: &Ptest) -> Result<Environments> {
    let unrecovered: Vec<EnvironmentId> = ptest
        .recover()?
        .failed
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let instances = ptest.instances()?;
    let records = ptest.records()?;
    let labels = |chosen: &dyn Fn(&Record) -> bool| {
        let chosen = records.iter().filter(|record| chosen(record));
        chosen.map(|record| record.label().to_owned()).collect()
    };
    Ok(Environments {
        all: records.len(),
        // One that is just being made or removed has none for a moment.
        empty: labels(&|record| !record.state.is_transitional() && !instances.contains(&record.id)),
        failed: labels(&|record| record.state == State::Failed || unrecovered.contains(&record.id)),
    })
}

/// Whether the disk of the store at `home`, or that on which it will be, can be written and has room.
pub(super) fn disk(home: &Path) -> Finding {
    let place = home.ancestors().find(|path| path.exists()).unwrap_or(home);
    let room = match Room::of(place).and_then(|room| write_to(place).map(|()| room)) {
        Ok(room) => room,
        Err(error) => return found("disk", Health::Missing, Err(said(&error))),
    };
    let told = format!("{}: {room}", place.display());
    let looked = if room.is_little() {
        let hint = "`ptest prune` and `ptest gc` make room";
        Err((told, Some(hint.to_owned())))
    } else {
        Ok(told)
    };
    found("disk", Health::Degraded, looked)
}

/// Writes a file without a name, so that nothing can be left of it.
fn write_to(directory: &Path) -> Result<()> {
    let failed = |source| Error::io(format!("write a file in {}", directory.display()), source);
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file).write_all(&[1; 1 << 14]).map_err(failed),
        // Not every file system has such files: then its own figures must do.
        Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// What is free on a disk.
struct Room {
    free: u64,
    all: u64,
    /// How many more files there can be, where that has a limit of its own.
    files: Option<u64>,
}

impl Room {
    fn of(place: &Path) -> Result<Self> {
        let facts = rustix::fs::statvfs(place)
            .map_err(|errno| Error::io(format!("examine {}", place.display()), errno.into()))?;
        Ok(Self {
            free: facts.f_bavail.saturating_mul(facts.f_frsize),
            all: facts.f_blocks.saturating_mul(facts.f_frsize),
            files: (facts.f_files > 0).then_some(facts.f_favail),
        })
    }

    fn is_little(&self) -> bool {
        self.free < LITTLE || self.files.is_some_and(|files| files < FEW)
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, all) = (format_bytes(self.free), format_bytes(self.all));
        write!(f, "{free} of {all} are free")?;
        match self.files {
            Some(files) if files < FEW => write!(f, ", for {files} more files"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_nearly_full_when_bytes_or_files_run_out() {
        let room = |free, files| Room {
            free,
            all: 1 << 40,
            files,
        };
        assert!(!room(LITTLE, None).is_little());
        assert!(!room(LITTLE, Some(FEW)).is_little());
        assert!(room(LITTLE - 1, None).is_little());
        let few = room(1 << 39, Some(12));
        assert!(few.is_little());
        assert_eq!(
            few.to_string(),
            "512 GiB of 1.0 TiB are free, for 12 more files"
        );
    }
}
