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

/// Chooses one distribution for each package of the lock file `text` that counts here.
pub(crate) fn choose(text: &str, choice: &Choice<'_>) -> Result<Vec<Pinned>, LockError> {
    let lock: Lock =
        toml::from_str(text).map_err(|error| LockError::Unusable(error.message().to_owned()))?;
    let ranks: HashMap<&str, usize> = choice.interpreter.tags().zip(0..).collect();
    let mut pins = Vec::new();
    for package in lock.packages {
        let counts = package
            .marker
            .as_deref()
            .map(MarkerTree::from_str)
            .transpose()
            .map_err(|error: Pep508Error<VerbatimUrl>| {
                LockError::Unusable(error.message.to_string())
            })?
            .is_none_or(|marker| marker.evaluate(choice.markers, &[]));
        if counts {
            pins.push(package.pin(choice, &ranks)?);
        }
    }
    Ok(pins)
}

/// Why a lock file gives no answer.
#[derive(Debug)]
pub(crate) enum LockError {
    /// It is malformed, or has nothing that fits.
    Unusable(String),
    /// What fits has none of the hashes that are allowed.
    Hash {
        name: String,
        expected: String,
        found: String,
    },
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
    fn pin(self, choice: &Choice<'_>, ranks: &HashMap<&str, usize>) -> Result<Pinned, LockError> {
        let name = normalize(&self.name);
        let nothing = || LockError::Unusable(format!("{name} has no file that fits this Python"));
        let source = if let Some(archive) = self.archive {
            archive.source(choice).ok_or_else(nothing)?
        } else if let Some(vcs) = self.vcs {
            vcs.source(choice)
        } else if let Some(directory) = self.directory {
            let staged = choice.stage.source(&directory.path, None);
            staged.ok_or_else(nothing)?
        } else {
            let files = Files {
                wheels: &self.wheels,
                sdist: self.sdist.as_ref(),
            };
            let allowed = choice.hashes.get(&name);
            match files.choose(allowed, choice, ranks) {
                Some(source) => source,
                None => return Err(files.refusal(&name, allowed, choice, ranks)),
            }
        };
        Ok(Pinned {
            name,
            version: self.version,
            source,
            requested: false,
        })
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

    fn is_allowed(&self, allowed: Option<&BTreeSet<String>>) -> bool {
        allowed.is_none_or(|allowed| {
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
        if let Some(source) = choice.stage.source(place, sha256.as_deref()) {
            return Some(source);
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

/// The files of one version of a distribution.
struct Files<'a> {
    wheels: &'a [File],
    sdist: Option<&'a File>,
}

impl Files<'_> {
    /// The wheel with the best tag, of two the one with the higher build number; else the source.
    fn choose(
        &self,
        allowed: Option<&BTreeSet<String>>,
        choice: &Choice<'_>,
        ranks: &HashMap<&str, usize>,
    ) -> Option<Source> {
        let best = self
            .wheels
            .iter()
            .filter(|file| file.is_allowed(allowed))
            .filter_map(|file| {
                let file_name = file.name()?;
                let wheel = WheelName::parse(&file_name)?;
                let ranks = wheel.tags.iter().filter_map(|tag| ranks.get(tag.as_str()));
                let rank = *ranks.min()?;
                Some((rank, wheel, file_name, file))
            })
            .min_by(|(one_rank, one, ..), (two_rank, two, ..)| {
                one_rank
                    .cmp(two_rank)
                    .then_with(|| two.build_order().cmp(&one.build_order()))
            });
        if let Some((_, _, file_name, file)) = best {
            return Some(Source::Wheel {
                url: file.url(choice)?,
                file_name,
                sha256: file.sha256(),
            });
        }
        let file = self.sdist.filter(|file| file.is_allowed(allowed))?;
        Some(Source::Sdist {
            url: file.url(choice)?,
            sha256: file.sha256(),
        })
    }

    /// Why nothing was chosen: nothing fits, or what fits is not allowed.
    fn refusal(
        &self,
        name: &str,
        allowed: Option<&BTreeSet<String>>,
        choice: &Choice<'_>,
        ranks: &HashMap<&str, usize>,
    ) -> LockError {
        match (self.choose(None, choice, ranks), allowed) {
            (Some(source), Some(allowed)) => LockError::Hash {
                name: name.to_owned(),
                expected: allowed.iter().cloned().collect::<Vec<_>>().join(" or "),
                found: format!("sha256:{}", source.sha256().unwrap_or("unknown")),
            },
            _ => LockError::Unusable(format!("{name} has no file that fits this Python")),
        }
    }
}
