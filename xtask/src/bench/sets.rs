//! The sets of distributions that are installed: nothing, a web service's, a scientist's.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Result;

/// A set, pinned to the last distribution by a lock that is checked in.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    /// What a person would ask for, each with the version of the lock.
    pub(crate) requirements: Vec<String>,
    /// The whole closure, one `name==version` a line; `None` for the empty set.
    pub(crate) lock: Option<PathBuf>,
    /// How many distributions the lock holds.
    pub(crate) size: usize,
    /// A statement that imports what a program of such a kind begins with.
    pub(crate) imports: &'static str,
}

/// The sets, smallest first.
///
/// # Errors
///
/// When a file of `directory` cannot be read or a lock lacks what it was made for.
pub(crate) fn all(directory: &Path, quick: bool) -> Result<Vec<Set>> {
    let mut sets = vec![Set {
        name: "empty",
        requirements: Vec::new(),
        lock: None,
        size: 0,
        imports: "pass",
    }];
    sets.push(read(directory, "web", "import fastapi, httpx, sqlalchemy")?);
    if !quick {
        let imports = "import numpy, pandas, scipy.stats, sklearn.linear_model, matplotlib.pyplot";
        sets.push(read(directory, "science", imports)?);
    }
    Ok(sets)
}

/// `requirements` without the two at `round`: another combination for each round, of the same distributions.
pub(crate) fn combination(requirements: &[String], round: usize) -> Vec<&str> {
    let count = requirements.len();
    let pairs: Vec<(usize, usize)> = (0..count)
        .flat_map(|first| (first + 1..count).map(move |second| (first, second)))
        .collect();
    let (first, second) = pairs
        .get(round % pairs.len().max(1))
        .copied()
        .unwrap_or((count, count));
    requirements
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != first && *index != second)
        .map(|(_, requirement)| requirement.as_str())
        .collect()
}

fn read(directory: &Path, name: &'static str, imports: &'static str) -> Result<Set> {
    let text = |extension: &str| {
        let path = directory.join(name).with_extension(extension);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (asked, lock) = (text("in")?, text("txt")?);
    let requirements = asked
        .lines()
        .map(|asked| {
            lock.lines()
                .find(|pin| pin.split_once("==").is_some_and(|(name, _)| name == asked))
                .map(str::to_owned)
                .ok_or_else(|| format!("bench/{name}.txt does not pin {asked}"))
        })
        .collect::<std::result::Result<_, _>>()?;
    Ok(Set {
        name,
        requirements,
        size: lock.lines().count(),
        lock: Some(directory.join(name).with_extension("txt")),
        imports,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_round_has_another_combination() {
        let requirements: Vec<String> = (0..5).map(|number| number.to_string()).collect();
        let combinations: BTreeSet<Vec<&str>> = (0..10)
            .map(|round| combination(&requirements, round))
            .collect();
        assert_eq!(combinations.len(), 10);
        assert!(
            combinations
                .iter()
                .all(|combination| combination.len() == 3)
        );
    }

    #[test]
    fn the_locks_pin_what_they_were_made_for() {
        let sets = all(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench"),
            false,
        )
        .unwrap();
        assert_eq!(
            sets.iter()
                .map(|set| set.requirements.len())
                .collect::<Vec<_>>(),
            [0, 5, 12]
        );
    }
}
