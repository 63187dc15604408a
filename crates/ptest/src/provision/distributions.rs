//! The layers of the distributions of a recipe: those that are there, and those that are fetched or built.
//!
//! Not for which distributions those are: that is the installer's.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ptest_store::LayerId;

use super::build::{Build, DEADLINE, commit, named};
use super::known::Keys;
use crate::error::{Error, Result};
use crate::lock::{Lock, Locks};
use crate::parallel;
use crate::progress::Step;
use crate::python::fetch::{self, FetchRequest, Fetched};
use crate::python::installer::{Installer, Pinned, Resolution, Source};
use crate::python::provenance;
use crate::python::wheel::{self, Layout};
use crate::recipe::{Content, Pin};

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
        drop(locks);
        Ok(pins)
    }

    /// Those whose layers are there, and the others.
    fn sorted(&self, pins: &[Pinned]) -> Result<(Vec<Known>, Vec<Pinned>)> {
        let mut known = Vec::new();
        let mut missing = Vec::new();
        for pin in pins {
            let keys = self.keys(pin);
            match keys.map(|keys| self.known(&keys)).transpose()?.flatten() {
                Some((layer, content)) => known.push((pin.clone(), layer, content)),
                None => missing.push(pin.clone()),
            }
        }
        Ok((known, missing))
    }

    /// Waits for who builds one of these projects: then it need not be built again.
    fn wait_for_builds(&self, missing: &[Pinned]) -> Result<Vec<Lock>> {
        let mut locks = Vec::new();
        // Sorted by name: in one order everywhere, or two could wait for each other.
        for pin in missing {
            if let Source::Project { .. } = pin.source
                && let Some(keys) = self.keys(pin)
            {
                locks.push(self.wait_for_build(&keys)?);
            }
        }
        Ok(locks)
    }

    /// As long as nobody knows whether all interpreters can have what one builds, one builds it.
    fn wait_for_build(&self, keys: &Keys) -> Result<Lock> {
        let lock = |key: &str| {
            let name = format!("recipe-{}", blake3::hash(key.as_bytes()).to_hex());
            Locks::of(self.store)?.acquire(&name, DEADLINE, "the project")
        };
        if let Some(shared) = &keys.shared
            && self.elsewhere(keys)?.is_empty()
        {
            let lock = lock(shared)?;
            if self.elsewhere(keys)?.is_empty() {
                return Ok(lock);
            }
        }
        lock(&keys.own)
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
        if let Some(keys) = self.keys(&fetched.pin) {
            self.know(&keys, &layer, &content)?;
        }
        self.progress.step(Step::Layered {
            name: content.name.clone(),
            version: content.version.clone(),
        });
        Ok((layer, content))
    }
}
