//! The layers of the distributions of a recipe: those that are there, and those that are fetched or built.
//!
//! Not for which distributions those are: that is the installer's.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ptest_store::LayerId;

use super::build::{Build, DEADLINE, commit, has, named};
use crate::error::{Error, Result};
use crate::lock::FileLock;
use crate::parallel;
use crate::progress::Step;
use crate::python::fetch::{self, FetchRequest, Fetched};
use crate::python::installer::{Installer, Pinned, Resolution, Source};
use crate::python::provenance;
use crate::python::wheel::{self, Layout};
use crate::recipe::{self, Content, Pin};

/// A distribution whose layer is there.
type Known = (Pinned, LayerId, Content);

impl Build<'_> {
    /// A layer for each distribution; what is missing is fetched and made, many at once.
    pub(super) fn distributions(
        &self,
        installer: &dyn Installer,
        resolution: &Resolution,
        work: &Path,
    ) -> Result<Vec<Pin>> {
        let (mut known, mut missing) = self.sorted(&resolution.distributions)?;
        let locks = self.wait_for_builds(&missing)?;
        if !locks.is_empty() {
            (known, missing) = self.sorted(&resolution.distributions)?;
        }
        let layers: Vec<LayerId> = known.iter().map(|(_, layer, _)| *layer).collect();
        let kept: BTreeSet<LayerId> = self.store.touch(&layers)?.into_iter().collect();
        let mut pins = Vec::new();
        for (pin, layer, content) in known {
            // Collected since it was found.
            if kept.contains(&layer) {
                pins.push(named(&pin, &layer, content, provenance::direct_url(&pin)));
            } else {
                missing.push(pin);
            }
        }
        if missing.is_empty() {
            return Ok(pins);
        }
        self.progress.step(Step::Missing(missing.len()));
        for pin in &missing {
            if let Source::Project {
                path,
                editable: true,
                ..
            } = &pin.source
            {
                let project = path.clone();
                self.progress.step(Step::WritingInto { project });
            }
        }
        fs::create_dir(work)
            .map_err(|source| Error::io(format!("create {}", work.display()), source))?;
        let fetched = fetch::fetch(&FetchRequest {
            context: self.context(work),
            installer,
            offline_first: !self.options.refresh,
            pins: &missing,
            requirements: &self.asked.requirements,
            on_wheel: &|pin| {
                self.progress.step(Step::Fetched {
                    name: pin.name.clone(),
                });
            },
        })?;
        pins.extend(parallel::try_map(
            &fetched,
            parallel::processors(),
            |fetched| -> Result<Pin> {
                let (layer, content) = self.layer(fetched)?;
                let direct_url = provenance::direct_url(&fetched.pin);
                Ok(named(&fetched.pin, &layer, content, direct_url))
            },
        )?);
        for lock in locks {
            lock.discard()?;
        }
        Ok(pins)
    }

    /// Those whose layers are there, and the others.
    fn sorted(&self, pins: &[Pinned]) -> Result<(Vec<Known>, Vec<Pinned>)> {
        let mut known = Vec::new();
        let mut missing = Vec::new();
        for pin in pins {
            match self.known(pin)? {
                Some((layer, content)) => known.push((pin.clone(), layer, content)),
                None => missing.push(pin.clone()),
            }
        }
        Ok((known, missing))
    }

    /// By what the layer of a distribution is known, if that can be said before it is made.
    fn layer_key(&self, pin: &Pinned) -> Option<String> {
        match &pin.source {
            Source::Project {
                path,
                editable: false,
                ..
            } => {
                let tag = self.interpreter.build_tag();
                Some(format!("project 1 {tag} {}", self.projects.get(path)?))
            }
            _ => wheel::distribution_key(pin, self.interpreter),
        }
    }

    /// Waits for who builds one of these projects for this interpreter: then it need not be built again.
    fn wait_for_builds(&self, missing: &[Pinned]) -> Result<Vec<FileLock>> {
        let is_project = |pin: &&Pinned| matches!(pin.source, Source::Project { .. });
        let keys = missing
            .iter()
            .filter(is_project)
            .filter_map(|pin| self.layer_key(pin));
        // In one order everywhere, or two could wait for each other.
        let keys: BTreeSet<String> = keys.collect();
        keys.iter()
            .map(|key| {
                let name = format!("recipe-{}", blake3::hash(key.as_bytes()).to_hex());
                FileLock::acquire(
                    &self.store.dir("locks")?.join(name),
                    DEADLINE,
                    "the project",
                )
            })
            .collect()
    }

    pub(super) fn known(&self, pin: &Pinned) -> Result<Option<(LayerId, Content)>> {
        let Some(key) = self.layer_key(pin) else {
            return Ok(None);
        };
        let Some((layer, content)) = recipe::known_layer(self.store.database(), &key)? else {
            return Ok(None);
        };
        Ok(has(self.store, &layer)?.then_some((layer, content)))
    }

    /// Makes the layer of a distribution from its wheel alone.
    pub(super) fn layer(&self, fetched: &Fetched) -> Result<(LayerId, Content)> {
        let staging = self.store.stage()?;
        let unpacked = wheel::unpack(
            &fetched.wheel,
            &Layout::of(self.interpreter),
            staging.path(),
        )?;
        let layer = commit(self.store, staging)?;
        let content = Content {
            name: unpacked.name,
            version: unpacked.version,
            dist_info: unpacked.dist_info,
            file: fetched
                .wheel
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            sha256: fetched.sha256.clone(),
        };
        if let Some(key) = self.layer_key(&fetched.pin) {
            recipe::know_layer(self.store.database(), &key, &layer, &content)?;
        }
        self.progress.step(Step::Layered {
            name: content.name.clone(),
            version: content.version.clone(),
        });
        Ok((layer, content))
    }
}
