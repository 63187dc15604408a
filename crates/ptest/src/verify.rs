//! Whether what is installed in an environment is still what was installed.
//!
//! Looks at every file of every layer, at what was written over them inside, and at the interpreter. Not for repairing,
//! and not for what a command inside installed: ptest never saw that whole, so it has nothing to compare it with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ptest_store::{Depth, Kind, Verdict, View};

use crate::engine::{Change, ChangeKind};
use crate::environment::Environment;
use crate::error::Result;
use crate::packages::dist_infos;
use crate::parallel;
use crate::recipe::{self, Contents, Pin};

/// What a look at everything found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// How many packages were looked at.
    pub packages: usize,
    /// How many files and links were looked at.
    pub files: usize,
    /// What is not as it was installed.
    pub problems: Vec<Problem>,
}

/// Something that is not as it was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The package that it belongs to (its normalised name), if it belongs to one.
    pub package: Option<String>,
    /// Where, relative to the environment, if it is one file or directory.
    pub path: Option<PathBuf>,
    /// What is wrong, to follow the path or the package.
    pub detail: String,
}

impl Environment {
    /// Compares everything that was installed with what is there.
    ///
    /// An environment that is whole has no problems. Packages that a command inside replaced or took away are its own
    /// affair and no problem. `depth` says how closely its layers are looked at.
    pub fn verify(&self, depth: Depth) -> Result<Verification> {
        self.operation("verify", || self.verify_now(depth))
    }

    fn verify_now(&self, depth: Depth) -> Result<Verification> {
        let record = self.record()?;
        let store = self.ptest.store();
        let Contents { pins, written } = recipe::contents(store.database(), &record.stack)?;
        let stack = store.stack(&record.stack)?;
        let owners = owners(&pins);
        let mut problems = Vec::new();
        if !record.python.executable.exists() {
            problems.push(Problem {
                package: None,
                path: None,
                detail: format!(
                    "the interpreter {} is gone",
                    record.python.executable.display()
                ),
            });
        }
        let verdicts = parallel::try_map(stack.layers(), parallel::processors(), |layer| {
            store.verify(layer, depth)
        })?;
        for (layer, verdict) in stack.layers().iter().zip(verdicts) {
            if let Verdict::Corrupt { detail } = verdict {
                problems.push(Problem {
                    package: owners.get(&layer.to_string()).cloned(),
                    path: None,
                    detail,
                });
            }
        }
        let installed = stack.layers().iter().filter(|it| !written.contains(it));
        let view = store.resolve(&installed.copied().collect())?;
        let mut changes = Vec::new();
        for layer in &written {
            changes.extend(self.ptest.written_in(layer)?);
        }
        changes.extend(self.changes(&record)?);
        problems.extend(written_over(&view, &owners, &changes));
        let files = view
            .iter()
            .filter(|(_, visible)| !matches!(visible.kind, Kind::Directory { .. }))
            .count();
        Ok(Verification {
            packages: pins.len(),
            files,
            problems,
        })
    }
}

/// The package of each layer.
fn owners(pins: &[Pin]) -> BTreeMap<String, String> {
    pins.iter()
        .map(|pin| (pin.layer.clone(), pin.name.clone()))
        .collect()
}

/// What a command inside changed or deleted of what was installed.
fn written_over(
    view: &View,
    owners: &BTreeMap<String, String>,
    changes: &[Change],
) -> Vec<Problem> {
    let replaced: BTreeSet<String> = dist_infos(changes, ChangeKind::Deleted)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let mut problems = Vec::new();
    for change in changes {
        let Some(visible) = view.get(change.path.as_os_str().as_encoded_bytes()) else {
            continue;
        };
        // A directory that something was written into is not changed by that.
        if change.kind == ChangeKind::Written && matches!(visible.kind, Kind::Directory { .. }) {
            continue;
        }
        let package = owners.get(&visible.layer.to_string()).cloned();
        if package
            .as_ref()
            .is_some_and(|package| replaced.contains(package))
        {
            continue;
        }
        let what = match change.kind {
            ChangeKind::Written => "was changed by a command inside",
            ChangeKind::Deleted => "was deleted by a command inside",
        };
        problems.push(Problem {
            package,
            path: Some(change.path.clone()),
            detail: what.to_owned(),
        });
    }
    problems
}
