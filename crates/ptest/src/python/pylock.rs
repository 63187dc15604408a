//! Reads a `pylock.toml` (PEP 751) for one interpreter.
//!
//! A lock file lists every wheel of a version; here the one that fits best is chosen, by the
//! interpreter's own tags, as pip would.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;

use pep508_rs::{MarkerEnvironment, MarkerTree, Pep508Error, VerbatimUrl};
use serde::Deserialize;

use super::installer::{Pinned, Source};
use super::interpreter::Interpreter;
use super::name::{WheelName, file_url, normalize, path_of_file_url, url_file_name};
use super::redact::without_user;
use super::stage::Stage;

/// Which files of a lock are allowed and asked for.
pub(crate) struct Choice<'a> {
    pub(crate) interpreter: &'a Interpreter,
    pub(crate) markers: &'a MarkerEnvironment,
    pub(crate) stage: &'a Stage,
    /// Allowed hashes by name; a name that is not in it is free.
    pub(crate) hashes: &'a BTreeMap<String, BTreeSet<String>>,
}

/// Why a lock file leads to no distributions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It cannot be understood, or a package has no file for this interpreter.
    Answer(String),
    /// Files of a package fit, but the requirements allow none of their hashes.
    Hash {
        /// The package.
        name: String,
        /// The hashes that are allowed.
        expected: String,
        /// The hashes that there are.
        found: String,
    },
}

/// Chooses one distribution for each package of the lock file `text` that counts here.
pub(crate) fn choose(text: &str, choice: &Choice<'_>) -> Result<Vec<Pinned>, Unusable> {
    let lock: Lock =
        toml::from_str(text).map_err(|error| Unusable::Answer(error.message().to_owned()))?;
    let ranks: HashMap<&str, usize> = choice.interpreter.tags().zip(0..).collect();
    let mut pins = Vec::new();
    for package in lock.packages {
        let counts = package
            .marker
            .as_deref()
            .map(MarkerTree::from_str)
            .transpose()
            .map_err(|error: Pep508Error<VerbatimUrl>| Unusable::Answer(error.message.to_string()))?
            .is_none_or(|marker| marker.evaluate(choice.markers, &[]));
        if counts {
            pins.push(package.pin(choice, &ranks)?);
        }
    }
    Ok(pins)
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    #[serde(default)]
    wheels: Vec<File>,
    sdist: Option<File>,
    archive: Option<Archive>,
    vcs: Option<Vcs>,
    directory: Option<Directory>,
}

#[derive(Deserialize)]
struct File {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Archive {
    #[serde(flatten)]
    file: File,
    subdirectory: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Vcs {
    r#type: String,
    url: Option<String>,
    path: Option<String>,
    requested_revision: Option<String>,
    commit_id: String,
    subdirectory: Option<String>,
}

#[derive(Deserialize)]
struct Directory {
    path: String,
}

impl Package {
    fn pin(self, choice: &Choice<'_>, ranks: &HashMap<&str, usize>) -> Result<Pinned, Unusable> {
        let name = normalize(&self.name);
        let source = if let Some(archive) = self.archive {
            archive.source(choice)
        } else if let Some(vcs) = self.vcs {
            Some(vcs.source(choice))
        } else if let Some(directory) = self.directory {
            let staged = choice.stage.find(&directory.path);
            staged.map(|staged| Source::Project {
                path: staged.path.clone(),
                copy: choice.stage.directory.join(&staged.name),
                editable: staged.editable,
            })
        } else {
            self.choose_file(&name, choice, ranks)?
        };
        match source {
            Some(source) => Ok(Pinned {
                name,
                version: self.version,
                source,
                requested: false,
            }),
            None => Err(Unusable::Answer(format!(
                "{name} has no file that fits this Python"
            ))),
        }
    }

    /// The wheel with the best tag, of two the one with the higher build number; else the
    /// source. uv locks all files of a version and leaves the choice by hash to whoever installs.
    fn choose_file(
        &self,
        name: &str,
        choice: &Choice<'_>,
        ranks: &HashMap<&str, usize>,
    ) -> Result<Option<Source>, Unusable> {
        let mut fitting: Vec<_> = self
            .wheels
            .iter()
            .filter_map(|file| {
                let file_name = file.name()?;
                let wheel = WheelName::parse(&file_name)?;
                let rank = *wheel
                    .tags
                    .iter()
                    .filter_map(|tag| ranks.get(tag.as_str()))
                    .min()?;
                Some((rank, wheel, file_name, file))
            })
            .collect();
        fitting.sort_by(|(one_rank, one, ..), (two_rank, two, ..)| {
            one_rank
                .cmp(two_rank)
                .then_with(|| two.build_order().cmp(&one.build_order()))
        });
        if let Some((_, _, file_name, file)) = fitting
            .iter()
            .find(|(.., file)| file.is_allowed(name, choice))
        {
            return Ok(file.url(choice).map(|url| Source::Wheel {
                url,
                file_name: file_name.clone(),
                sha256: file.sha256(),
            }));
        }
        if let Some(file) = self
            .sdist
            .as_ref()
            .filter(|file| file.is_allowed(name, choice))
        {
            return Ok(file.url(choice).map(|url| Source::Sdist {
                url,
                sha256: file.sha256(),
            }));
        }
        let found: Vec<String> = fitting
            .iter()
            .map(|(.., file)| *file)
            .chain(&self.sdist)
            .flat_map(|file| &file.hashes)
            .map(|(kind, hash)| format!("{kind}:{hash}"))
            .collect();
        match choice.hashes.get(name) {
            Some(allowed) if !found.is_empty() => Err(Unusable::Hash {
                name: name.to_owned(),
                expected: allowed.iter().cloned().collect::<Vec<_>>().join(" or "),
                found: found.join(" and "),
            }),
            _ => Ok(None),
        }
    }
}

impl File {
    fn sha256(&self) -> Option<String> {
        self.hashes.get("sha256").map(|hash| hash.to_lowercase())
    }

    fn url(&self, choice: &Choice<'_>) -> Option<String> {
        match (&self.url, &self.path) {
            (Some(url), _) => Some(without_user(url)),
            (None, Some(path)) => Some(file_url(&choice.stage.directory.join(path))),
            (None, None) => None,
        }
    }

    fn name(&self) -> Option<String> {
        self.name
            .clone()
            .or_else(|| self.url.as_deref().and_then(url_file_name))
            .or_else(|| self.path.as_deref().and_then(url_file_name))
    }

    fn is_allowed(&self, name: &str, choice: &Choice<'_>) -> bool {
        choice.hashes.get(name).is_none_or(|allowed| {
            // Without a hash in the lock it is checked once the file is there.
            self.hashes.is_empty()
                || self.hashes.iter().any(|(kind, hash)| {
                    allowed.contains(&format!("{kind}:{}", hash.to_lowercase()))
                })
        })
    }
}

impl Archive {
    fn source(self, choice: &Choice<'_>) -> Option<Source> {
        let sha256 = self.file.sha256();
        let place = self.file.path.as_ref().or(self.file.url.as_ref())?;
        if let Some(staged) = choice.stage.find(place) {
            return Some(Source::File {
                path: staged.path.clone(),
                sha256,
            });
        }
        let url = self.file.url(choice)?;
        let url = url.split('#').next().unwrap_or_default().to_owned();
        Some(match path_of_file_url(&url) {
            Some(path) => Source::File { path, sha256 },
            None => Source::Archive {
                url,
                sha256,
                subdirectory: self.subdirectory,
            },
        })
    }
}

impl Vcs {
    fn source(self, choice: &Choice<'_>) -> Source {
        let url = self.url.unwrap_or_else(|| {
            file_url(&choice.stage.directory.join(self.path.unwrap_or_default()))
        });
        Source::Repository {
            system: self.r#type,
            url: without_user(&url),
            commit: self.commit_id,
            requested_revision: self.requested_revision,
            subdirectory: self.subdirectory,
        }
    }
}
