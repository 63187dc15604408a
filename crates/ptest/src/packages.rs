//! Packages of one environment: what there is, more of it, less of it, newer ones.
//!
//! An operation computes a new stack and swaps it: nothing is written into the
//! upper, and what fails leaves the stack as it was. What the user's own pip did
//! inside is in the upper, or in a layer that a snapshot made of one; as long as
//! it is there, these operations are refused, for they could not tell what the
//! result would be. Everything else that commands wrote stays on top.

use std::collections::{BTreeMap, BTreeSet};

use ptest_store::{Kind, LayerId, Stack, StackId};

use crate::engine::{Change, ChangeKind, Upper};
use crate::environment::Environment;
use crate::environment::table::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::progress::Progress;
use crate::provision::Preference;
use crate::ptest::Ptest;
use crate::python::HostEnv;
use crate::python::name::normalize;
use crate::python::requirement::Requirement;
use crate::recipe::{self, Contents, Pin};
use crate::spec::Requirements;
use crate::swap::Target;

/// A distribution that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name, normalised (PEP 503).
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it was asked for itself, not only needed by another.
    pub requested: bool,
    /// The project that it is an editable install of, if it is one.
    pub editable: Option<String>,
    /// Whether it came by a command inside (the user's own pip), not by ptest.
    pub foreign: bool,
}

/// What became of one distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageChange {
    /// Its name, normalised.
    pub name: String,
    /// The version before, if it was there.
    pub before: Option<String>,
    /// The version after, if it is there.
    pub after: Option<String>,
}

/// A distribution that ptest put there, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Its name, normalised.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it was asked for itself, not only needed by another.
    pub requested: bool,
    /// The project that it is an editable install of, if it is one.
    pub editable: Option<String>,
    /// The file that it was made from.
    pub file: String,
    /// The SHA-256 of that file.
    pub sha256: String,
    /// Where that file, or what it was built from, was found, as a URL without credentials.
    pub found_at: Option<String>,
}

impl Ptest {
    /// The distributions of a stack that ptest put there, by name.
    pub fn distributions(&self, stack: &StackId) -> Result<Vec<Distribution>> {
        let pins = recipe::pins(self.store().database(), stack)?;
        let distributions = pins.into_iter().map(|pin| Distribution {
            name: pin.name,
            version: pin.version,
            requested: pin.requested,
            editable: pin.editable,
            file: pin.file,
            sha256: pin.sha256,
            found_at: pin.found_at,
        });
        Ok(distributions.collect())
    }

    /// What is installed where these are the layers and `upper` is what was written on top of
    /// them, by name: the truth, whoever installed it.
    pub(crate) fn packages_of(
        &self,
        contents: &Contents,
        upper: &[Change],
    ) -> Result<Vec<Package>> {
        let pins = contents.pins.iter().map(|pin| Package {
            name: pin.name.clone(),
            version: pin.version.clone(),
            requested: pin.requested,
            editable: pin.editable.clone(),
            foreign: false,
        });
        let mut packages: BTreeMap<String, Package> = pins
            .map(|package| (package.name.clone(), package))
            .collect();
        for layer in &contents.written {
            apply(&mut packages, &self.written_in(layer)?);
        }
        apply(&mut packages, upper);
        Ok(packages.into_values().collect())
    }

    /// What commands wrote that is a layer now.
    pub(crate) fn written_in(&self, layer: &LayerId) -> Result<Vec<Change>> {
        let manifest = self.store().manifest(layer)?;
        let changes = manifest.entries().iter().filter_map(|entry| {
            let kind = match entry.kind {
                Kind::Directory { .. } | Kind::Opaque { .. } => return None,
                Kind::Whiteout => ChangeKind::Deleted,
                Kind::File { .. } | Kind::Symlink { .. } => ChangeKind::Written,
            };
            let path = entry.path.as_path().to_owned();
            Some(Change { path, kind })
        });
        Ok(changes.collect())
    }
}

/// Changes packages by what commands did to their metadata.
fn apply(packages: &mut BTreeMap<String, Package>, changes: &[Change]) {
    for (name, version) in dist_infos(changes, ChangeKind::Deleted) {
        if packages
            .get(&name)
            .is_some_and(|package| package.version == version)
        {
            packages.remove(&name);
        }
    }
    for (name, version) in dist_infos(changes, ChangeKind::Written) {
        let package = Package {
            name: name.clone(),
            version,
            requested: true,
            editable: None,
            foreign: true,
        };
        packages.insert(name, package);
    }
}

impl Environment {
    /// What is installed, by name: the truth, whoever installed it.
    pub fn packages(&self) -> Result<Vec<Package>> {
        let record = self.record()?;
        let contents = recipe::contents(self.ptest.store().database(), &record.stack)?;
        self.ptest.packages_of(&contents, &self.changes(&record)?)
    }

    /// The distribution of this name, in whatever spelling: `Zope.Interface` is `zope-interface`.
    pub fn package(&self, name: &str) -> Result<Option<Package>> {
        let name = normalize(name);
        let mut packages = self.packages()?.into_iter();
        Ok(packages.find(|package| package.name == name))
    }

    /// Installs more, leaving what is there as it is where that is possible.
    pub fn install(
        &self,
        more: &Requirements,
        progress: &dyn Progress,
    ) -> Result<Vec<PackageChange>> {
        self.restack("install", progress, |record, pins| {
            let wanted = joined(&record.requirements, more, self.ptest.host())?;
            Ok((wanted, Preference::Keep(versions(pins))))
        })
    }

    /// Brings distributions to the newest version that what was asked for allows.
    pub fn upgrade(
        &self,
        names: &Requirements,
        progress: &dyn Progress,
    ) -> Result<Vec<PackageChange>> {
        self.restack("upgrade", progress, |record, pins| {
            let upgraded = names_of(&names.specifiers, self.ptest.host())?;
            refuse_missing(&upgraded, record, pins)?;
            let wanted = joined(&record.requirements, names, self.ptest.host())?;
            let mut kept = versions(pins);
            kept.retain(|name, _| !upgraded.contains(name));
            Ok((wanted, Preference::Keep(kept)))
        })
    }

    /// Takes distributions away, and only those: what they needed stays, as with pip.
    pub fn uninstall(
        &self,
        names: &[String],
        progress: &dyn Progress,
    ) -> Result<Vec<PackageChange>> {
        let names = names_of(names, self.ptest.host())?;
        self.restack("uninstall", progress, |record, pins| {
            refuse_missing(&names, record, pins)?;
            Ok((
                Requirements::clone(&record.requirements),
                Preference::Without(names.clone()),
            ))
        })
    }

    /// What was written in the environment, on top of its stack.
    pub fn changes(&self, record: &Record) -> Result<Vec<Change>> {
        let engine = self.ptest.engine(&record.engine)?;
        let instance = self.ptest.instance(record)?;
        self.ptest.block_on(engine.changes(&instance))
    }

    /// What commands changed in the project, where that is kept apart from it: sorted paths of this machine.
    pub fn scratch_changes(&self) -> Result<Vec<Change>> {
        let record = self.record()?;
        let engine = self.ptest.engine(&record.engine)?;
        let instance = self.ptest.instance(&record)?;
        self.ptest.block_on(engine.scratch_changes(&instance))
    }

    /// Computes a new stack by what `wanted` says and swaps it.
    pub(crate) fn restack(
        &self,
        kind: &'static str,
        progress: &dyn Progress,
        wanted: impl FnOnce(&Record, &[Pin]) -> Result<(Requirements, Preference)>,
    ) -> Result<Vec<PackageChange>> {
        self.operation(kind, || self.restack_now(progress, wanted))
    }

    fn restack_now(
        &self,
        progress: &dyn Progress,
        wanted: impl FnOnce(&Record, &[Pin]) -> Result<(Requirements, Preference)>,
    ) -> Result<Vec<PackageChange>> {
        let (lock, record) = self.operate()?;
        let store = self.ptest.store();
        self.ptest.record(&record, &Event::PackagesChanging {})?;
        let before = recipe::contents(store.database(), &record.stack)?;
        self.refuse_foreign(&record, &before)?;
        let (requirements, preference) = wanted(&record, &before.pins)?;
        let provisioned = self.ptest.provisioner().reprovision(
            store,
            (&record.python, &record.stack),
            &before.pins,
            &requirements,
            preference,
            progress,
        )?;
        let pins = recipe::pins(store.database(), &provisioned.stack.id())?;
        let changes = versions_differ(&versions(&before.pins), &versions(&pins));
        let stack = self.under(&provisioned.stack, pins, &before.written)?;
        let id = stack.id();
        if id != record.stack || requirements != *record.requirements {
            let target = Target {
                stack: &stack,
                id,
                recipe: &provisioned.recipe,
                python: &provisioned.python,
                requirements: &provisioned.requirements,
                event: &Event::from(&changes[..]),
            };
            let now = store.stack(&record.stack)?;
            self.swap(record, now, &target, Upper::Keep)?;
        }
        drop(lock);
        Ok(changes)
    }

    /// The stack with what commands wrote on top of it. The lease that keeps the one keeps the
    /// other.
    fn under(&self, stack: &Stack, pins: Vec<Pin>, written: &[LayerId]) -> Result<Stack> {
        if written.is_empty() {
            return Ok(stack.clone());
        }
        let store = self.ptest.store();
        store.touch(written)?;
        let whole = stack.layers().iter().chain(written).copied().collect();
        let whole = store.without_ghosts(&whole)?;
        let on_top = whole
            .layers()
            .iter()
            .filter(|it| !stack.layers().contains(it));
        let contents = Contents {
            pins,
            written: on_top.copied().collect(),
        };
        store
            .database()
            .write(|transaction| recipe::know(transaction, &whole, &contents))?;
        Ok(whole)
    }

    fn refuse_foreign(&self, record: &Record, contents: &Contents) -> Result<()> {
        let packages = self.ptest.packages_of(contents, &self.changes(record)?)?;
        let is_own = |name: &str| {
            let mut own = packages.iter().filter(|package| !package.foreign);
            own.any(|package| package.name == name)
        };
        let pins = contents.pins.iter().map(|pin| &pin.name);
        let names = packages.iter().map(|package| &package.name);
        let foreign: BTreeSet<&str> = pins
            .chain(names)
            .map(String::as_str)
            .filter(|name| !is_own(name))
            .collect();
        if foreign.is_empty() {
            return Ok(());
        }
        let foreign: Vec<&str> = foreign.into_iter().collect();
        Err(Error::new(
            ErrorKind::IllegalState,
            format!(
                "`{}` has packages that were changed by a command inside it: {}",
                record.label(),
                foreign.join(", ")
            ),
        )
        .with_hint("go on with pip inside the environment, or make a new one"))
    }
}

/// The distributions whose metadata directory was written or deleted: `name`, version.
pub(crate) fn dist_infos(changes: &[Change], kind: ChangeKind) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = changes
        .iter()
        .filter(|change| change.kind == kind)
        .filter_map(|change| {
            let mut components = change.path.components().rev();
            let last = components.next()?.as_os_str().to_str()?;
            // A directory that is gone stands for itself; one that is there, for its metadata:
            // pip writes REQUESTED and the like into directories that it did not make.
            let directory = match kind {
                ChangeKind::Deleted => last,
                ChangeKind::Written if last == "METADATA" => {
                    components.next()?.as_os_str().to_str()?
                }
                ChangeKind::Written => return None,
            };
            let (name, version) = directory.strip_suffix(".dist-info")?.rsplit_once('-')?;
            Some((normalize(name), version.to_owned()))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

pub(crate) fn versions(pins: &[Pin]) -> BTreeMap<String, String> {
    pins.iter()
        .map(|pin| (pin.name.clone(), pin.version.clone()))
        .collect()
}

fn refuse_missing(names: &BTreeSet<String>, record: &Record, pins: &[Pin]) -> Result<()> {
    let Some(name) = names
        .iter()
        .find(|name| pins.iter().all(|pin| pin.name != **name))
    else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::NotFound,
        format!("`{name}` is not installed in `{}`", record.label()),
    )
    .with_hint(format!("`ptest packages {}` shows what is", record.label())))
}

/// The normalised names that requirements are for. One without a name is refused.
fn names_of(texts: &[String], host: &HostEnv) -> Result<BTreeSet<String>> {
    texts
        .iter()
        .map(|text| {
            Requirement::parse(text, host)?.name().ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidInput,
                    format!("`{}` is not the name of a package", text.escape_debug()),
                )
            })
        })
        .collect()
}

/// Both, each once: what is asked for again replaces what was asked for before.
fn joined(old: &Requirements, more: &Requirements, host: &HostEnv) -> Result<Requirements> {
    let name = |text: &String| Ok::<_, Error>(Requirement::parse(text, host)?.name());
    let renewed: Vec<String> = more
        .specifiers
        .iter()
        .filter_map(|text| name(text).transpose())
        .collect::<Result<_>>()?;
    let mut joined = old.clone();
    joined.specifiers.clear();
    for text in &old.specifiers {
        if name(text)?.is_none_or(|name| !renewed.contains(&name)) {
            joined.specifiers.push(text.clone());
        }
    }
    append(&mut joined.specifiers, &more.specifiers);
    append(&mut joined.editables, &more.editables);
    append(&mut joined.files, &more.files);
    append(&mut joined.constraints, &more.constraints);
    Ok(joined)
}

fn append<T: Clone + PartialEq>(into: &mut Vec<T>, from: &[T]) {
    for item in from {
        if !into.contains(item) {
            into.push(item.clone());
        }
    }
}

/// What differs between two lists of packages, by name.
pub(crate) fn difference(before: &[Package], after: &[Package]) -> Vec<PackageChange> {
    let versions = |packages: &[Package]| {
        let pairs = packages.iter();
        pairs
            .map(|package| (package.name.clone(), package.version.clone()))
            .collect()
    };
    versions_differ(&versions(before), &versions(after))
}

fn versions_differ(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<PackageChange> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| PackageChange {
            name: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, kind: ChangeKind) -> Change {
        Change {
            path: path.into(),
            kind,
        }
    }

    #[test]
    fn a_package_that_pip_upgraded_inside_is_seen_gone_and_there() {
        let changes = [
            change(
                "lib/python3.12/site-packages/six-1.16.0.dist-info",
                ChangeKind::Deleted,
            ),
            change(
                "lib/python3.12/site-packages/six-1.17.0.dist-info/METADATA",
                ChangeKind::Written,
            ),
            change(
                "lib/python3.12/site-packages/six-1.17.0.dist-info/RECORD",
                ChangeKind::Written,
            ),
            change("lib/python3.12/site-packages/six.py", ChangeKind::Written),
        ];
        let pair = |version: &str| vec![("six".to_owned(), version.to_owned())];
        assert_eq!(dist_infos(&changes, ChangeKind::Deleted), pair("1.16.0"));
        assert_eq!(dist_infos(&changes, ChangeKind::Written), pair("1.17.0"));
    }

    #[test]
    fn asking_for_a_package_again_replaces_what_was_asked_before() {
        let old = Requirements {
            specifiers: vec!["six==1.16".into(), "attrs".into()],
            ..Requirements::default()
        };
        let more = Requirements {
            specifiers: vec!["Six>=1.17".into()],
            ..Requirements::default()
        };
        assert_eq!(
            joined(&old, &more, &HostEnv::default()).unwrap().specifiers,
            ["attrs", "Six>=1.17"]
        );
    }
}
