//! The whole of what an environment is to contain: single requirements and files of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pep508_rs::MarkerEnvironment;

use super::host::HostEnv;
use super::project;
use super::reqfile::{Content, RequirementsFile};
use super::requirement::{Requirement, RequirementError};

/// Requirements in the order they were given.
#[derive(Debug, Clone, Default)]
pub struct Requirements {
    /// Single requirements.
    pub items: Vec<Requirement>,
    /// Requirements and constraints files.
    pub files: Vec<RequirementsFile>,
}

impl Requirements {
    /// Understands single requirements and reads files.
    pub fn read<T: AsRef<str>, P: AsRef<Path>>(
        with: &[T],
        files: &[P],
        host: &HostEnv,
    ) -> Result<Self, RequirementError> {
        Ok(Self {
            items: with
                .iter()
                .map(|text| Requirement::parse(text.as_ref(), host))
                .collect::<Result<_, _>>()?,
            files: files
                .iter()
                .map(|path| RequirementsFile::read(path.as_ref(), false, host))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.files.is_empty()
    }

    /// A text that is equal for two requests that mean the same, for a recipe's key. Changes
    /// with the content of files and of local projects, never contains credentials. `None` if it
    /// cannot be known (a file at a URL), so that nothing may be reused.
    pub fn key(&self) -> Option<String> {
        let mut key = Vec::new();
        for item in &self.items {
            key.push(item.to_string());
        }
        for file in &self.files {
            if file.is_remote() {
                return None;
            }
            for part in file.closure() {
                let kind = if part.constraint { "c" } else { "r" };
                key.push(format!(
                    "{kind} {}",
                    blake3::hash(part.text.as_bytes()).to_hex()
                ));
                key.extend(part.variables().into_iter().map(|name| format!("${name}")));
            }
        }
        // Of two orders of the same words only the first counts for the result.
        for (requirement, _) in self.every(true) {
            let (local, state) = match requirement {
                Requirement::Local(local) => (local, project::fingerprint(&local.path)),
                Requirement::Editable(local) => (local, project::editable_fingerprint(&local.path)),
                _ => continue,
            };
            key.push(format!("{local} {}", state?));
        }
        Some(key.join("\n"))
    }

    /// The projects that are built from a copy, with what says that they have not changed since.
    pub(crate) fn projects(&self) -> BTreeMap<PathBuf, String> {
        let states = self.every(false).filter_map(|(requirement, _)| {
            let Requirement::Local(local) = requirement else {
                return None;
            };
            Some((local.path.clone(), project::fingerprint(&local.path)?))
        });
        states.collect()
    }

    /// Every project directory that installing writes into.
    pub fn editables(&self) -> Vec<&Path> {
        self.every(false)
            .filter_map(|(requirement, _)| match requirement {
                Requirement::Editable(local) => Some(local.path.as_path()),
                _ => None,
            })
            .collect()
    }

    /// All requirements (not constraints) that count for these markers, with their hashes.
    pub(crate) fn requested<'a>(
        &'a self,
        markers: &'a MarkerEnvironment,
    ) -> impl Iterator<Item = (&'a Requirement, &'a [String])> {
        self.every(false)
            .filter(|(requirement, _)| requirement.applies(markers))
    }

    /// Normalised names that were asked for.
    pub(crate) fn requested_names(&self, markers: &MarkerEnvironment) -> BTreeSet<String> {
        self.requested(markers)
            .filter_map(|(requirement, _)| requirement.name())
            .collect()
    }

    /// Normalised names of which one version is named, by a requirement or a constraint.
    pub(crate) fn exact_names(&self, markers: &MarkerEnvironment) -> BTreeSet<String> {
        self.every(true)
            .filter(|(requirement, _)| requirement.is_exact() && requirement.applies(markers))
            .filter_map(|(requirement, _)| requirement.name())
            .collect()
    }

    /// The hashes that are allowed for each name; empty if none are given at all.
    pub(crate) fn hashes(&self, markers: &MarkerEnvironment) -> BTreeMap<String, BTreeSet<String>> {
        let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (requirement, hashes) in self.every(true) {
            if !hashes.is_empty()
                && requirement.applies(markers)
                && let Some(name) = requirement.name()
            {
                allowed
                    .entry(name)
                    .or_default()
                    .extend(hashes.iter().cloned());
            }
        }
        allowed
    }

    /// URLs of indexes that the files name, with their credentials.
    pub(crate) fn index_urls(&self) -> Vec<&str> {
        self.files
            .iter()
            .flat_map(RequirementsFile::closure)
            .flat_map(|file| &file.lines)
            .filter_map(|line| match &line.content {
                Content::Index(url) => Some(url.as_str()),
                _ => None,
            })
            .collect()
    }

    fn every(&self, constraints: bool) -> impl Iterator<Item = (&Requirement, &[String])> {
        let items = self.items.iter().map(|item| (item, &[][..]));
        let lines = self
            .files
            .iter()
            .flat_map(RequirementsFile::closure)
            .filter(move |file| constraints || !file.constraint)
            .flat_map(|file| &file.lines)
            .filter_map(|line| match &line.content {
                Content::Requirement {
                    requirement,
                    hashes,
                    ..
                } => Some((requirement, hashes.as_slice())),
                _ => None,
            });
        items.chain(lines)
    }
}
