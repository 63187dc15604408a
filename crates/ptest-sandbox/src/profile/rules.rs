//! Paths of the host that are to be read, written or hidden, as steps of a plan.

use std::fs;
use std::path::{Path, PathBuf};

use super::host::{COVERED, is_below_any};
use super::{Shape, host};
use crate::error::{Error, Result};
use crate::plan::{Access, Mount, Overlay};

/// What is done with a path. Later ones go over earlier ones of the same path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Read,
    Write,
    /// By the number of the scratch directory.
    Scratch(usize),
    Hide,
}

/// The paths to read, write and hide, from the shortest to the longest.
pub(super) fn of(shape: &Shape) -> Result<Vec<Mount>> {
    let mut rules = Vec::new();
    for path in &shape.read {
        // What does not exist stays in the list, to be reported as left out.
        let places = places(path).or_else(|error| match error {
            Error::Io { .. } => Ok((path.clone(), vec![path.clone()])),
            other => Err(other),
        })?;
        rules.extend(each(places, Rule::Read));
    }
    for path in &shape.write {
        rules.extend(each(places(path)?, Rule::Write));
    }
    for (number, scratch) in shape.scratch.iter().enumerate() {
        rules.extend(each(places(&scratch.path)?, Rule::Scratch(number)));
    }
    for path in &shape.hide {
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        rules.extend(each((place.clone(), vec![place]), Rule::Hide));
    }
    rules.sort_by_key(|(path, rule, _)| (path.components().count(), *rule));
    rules.dedup();

    let mut mounts = Vec::new();
    let mut changed: Vec<&Path> = Vec::new();
    let mut hidden: Vec<&Path> = Vec::new();
    for (path, rule, real) in &rules {
        // A link in a directory that is seen is seen with it.
        let is_link_there = path != real && is_below_any(path, &changed);
        if is_link_there && !is_below_any(path, &hidden) {
            continue;
        }
        match rule {
            Rule::Read if host::shows(shape.level, path) && !is_below_any(path, &changed) => {
                continue;
            }
            Rule::Read => mounts.push(Mount::bind(real, path, Access::ReadOnly).or_left_out()),
            Rule::Write => mounts.push(Mount::bind(real, path, Access::ReadWrite)),
            Rule::Scratch(number) => mounts.push(Mount::Overlay(Overlay {
                lowers: vec![real.clone()],
                upper: Some(shape.scratch[*number].upper.clone()),
                target: path.clone(),
            })),
            Rule::Hide => mounts.push(Mount::Hide {
                target: path.clone(),
            }),
        }
        if *rule == Rule::Hide {
            hidden.push(path);
        }
        changed.push(path);
    }
    Ok(mounts)
}

/// A rule for each place at which what really is at `real` appears.
fn each(
    (real, places): (PathBuf, Vec<PathBuf>),
    rule: Rule,
) -> impl Iterator<Item = (PathBuf, Rule, PathBuf)> {
    places
        .into_iter()
        .map(move |place| (place, rule, real.clone()))
}

/// Where a path really is, and where it must appear so that it is found as it was given: there, and, when it leads there
/// from a private place, at that too.
fn places(path: &Path) -> Result<(PathBuf, Vec<PathBuf>)> {
    if !path.is_absolute() || path == Path::new("/") {
        return Err(Error::Invalid {
            what: "path",
            value: path.into(),
        });
    }
    let real = fs::canonicalize(path).map_err(|source| Error::Io {
        action: "find",
        path: path.to_owned(),
        source,
    })?;
    let mut places = vec![real.clone()];
    if real != path && is_below_any(path, &COVERED) {
        places.push(path.to_owned());
    }
    Ok((real, places))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Level;

    fn rules(shape: &Shape) -> Vec<Mount> {
        of(shape).unwrap()
    }

    #[test]
    fn the_longer_path_decides_whatever_the_order_it_was_given_in() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (outer, inner) = (root.join("a"), root.join("a/b"));
        fs::create_dir_all(&inner).unwrap();
        let shape = Shape {
            read: vec![inner.clone()],
            write: vec![outer.clone()],
            ..Shape::default()
        };
        let expected = [
            Mount::same(&outer, Access::ReadWrite),
            Mount::same(&inner, Access::ReadOnly).or_left_out(),
        ];
        assert_eq!(rules(&shape), expected);

        let shape = Shape {
            read: vec![inner.clone()],
            hide: vec![outer.clone()],
            ..Shape::default()
        };
        assert_eq!(rules(&shape)[0], Mount::Hide { target: outer });
        assert_eq!(
            rules(&shape)[1],
            Mount::same(inner, Access::ReadOnly).or_left_out()
        );
    }

    #[test]
    fn what_is_visible_anyway_is_not_bound_again() {
        let shape = Shape {
            read: vec!["/usr".into()],
            ..Shape::default()
        };
        assert!(rules(&shape).is_empty());
    }

    #[test]
    fn the_root_and_relative_paths_cannot_be_written() {
        for path in ["/", "relative", ""] {
            let shape = Shape {
                write: vec![path.into()],
                ..Shape::default()
            };
            assert!(matches!(of(&shape), Err(Error::Invalid { .. })), "{path:?}");
        }
    }

    #[test]
    fn a_link_in_a_private_place_leads_where_it_led() {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/usr", &link).unwrap();
        let shape = Shape {
            read: vec![link.clone()],
            ..Shape::default()
        };
        assert_eq!(
            rules(&shape),
            [Mount::bind("/usr", link, Access::ReadOnly).or_left_out()]
        );
    }

    #[test]
    fn a_link_in_a_directory_that_is_seen_needs_nothing() {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let root = directory.path().canonicalize().unwrap();
        let link = root.join("link");
        std::os::unix::fs::symlink("/usr", &link).unwrap();
        let shape = Shape {
            read: vec![link.clone()],
            write: vec![root.clone()],
            ..Shape::default()
        };
        assert_eq!(rules(&shape), [Mount::same(&root, Access::ReadWrite)]);
        let shape = Shape {
            hide: vec![root.clone()],
            write: Vec::new(),
            ..shape
        };
        assert!(rules(&shape).contains(&Mount::bind("/usr", link, Access::ReadOnly).or_left_out()));
    }

    #[test]
    fn a_strict_sandbox_is_shown_what_is_no_system_directory_only_by_name() {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let shape = Shape {
            level: Level::Strict,
            read: vec!["/usr/lib".into(), "/etc".into(), directory.path().into()],
            ..Shape::default()
        };
        let expected = ["/etc".as_ref(), directory.path()]
            .map(|path| Mount::same(path, Access::ReadOnly).or_left_out());
        assert_eq!(rules(&shape), expected);
    }
}
