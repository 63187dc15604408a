//! A new recipe: pins from an installer, a layer for each distribution, a stack.
//!
//! Everything that is on its way lies in staging directories of the store, so
//! that what a dead process left is found and deleted with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ptest_store::{CommitOptions, LayerId, Modes, Mtimes, Stack, Staging, Store};

use super::ask::Asked;
use super::{Answers, Cache, Provision};
use crate::config::InstallerChoice;
use crate::error::{Error, ErrorKind, Result};
use crate::improve;
use crate::operation;
use crate::progress::{Progress, Silent, Step};
use crate::python::command::Supervision;
use crate::python::fetch::{self, Fetched};
use crate::python::installer::{
    Context, FailureKind, Installer, InstallerError, Pinned, Resolution, ResolveRequest, Source,
};
use crate::python::interpreter::Interpreter;
use crate::python::name::normalize;
use crate::python::pip::Pip;
use crate::python::provenance::{self, Provenance};
use crate::python::reqfile::RequirementsFile;
use crate::python::requirements::Requirements;
use crate::python::uv::Uv;
use crate::python::wheel::Layout;
use crate::python::{HostEnv, PipTool, skeleton};
use crate::recipe::{self, Content, Pin, Recipe};
use crate::sync;
use crate::timestamp::Timestamp;

/// Every file of a layer is dated from here on, by its content: 2020-01-01.
const MTIME_BASE: i64 = 1_577_836_800;

/// The longest that one run of an installer may take: a build of a large project.
pub(super) const DEADLINE: Duration = Duration::from_hours(1);

/// Everything that a new recipe is made from.
pub(super) struct Build<'a> {
    pub(super) store: &'a Store,
    pub(super) host: &'a HostEnv,
    pub(super) answers: &'a Answers,
    pub(super) options: &'a Provision,
    pub(super) interpreter: &'a Interpreter,
    pub(super) asked: &'a Asked,
    /// What says of projects, which are built from copies, that they are as they were.
    pub(super) projects: &'a BTreeMap<PathBuf, String>,
    pub(super) kept: &'a BTreeMap<String, String>,
    pub(super) pip: &'a PipTool,
    pub(super) progress: &'a dyn Progress,
}

impl Build<'_> {
    /// Resolves, makes what is missing, and keeps the recipe under `key`.
    pub(super) fn recipe(&self, key: &str) -> Result<(Recipe, Stack)> {
        let work = self.store.stage()?;
        let (mut pins, exact) = if self.asked.is_empty() {
            (Vec::new(), true)
        } else {
            let installer = self.installer()?;
            let resolution = self.resolve(installer.as_ref(), work.path())?;
            let wheels = work.path().join("wheels");
            let pins = self.distributions(installer.as_ref(), &resolution, &wheels)?;
            (pins, resolution.exact)
        };
        if self.asked.pip && !pins.iter().any(|pin| pin.name == "pip") {
            pins.push(self.carried_pip()?);
        }
        let stack = {
            let skeleton = skeleton(self.store, self.interpreter, &self.options.supervision)?;
            assemble(self.store, self.interpreter, skeleton, &mut pins)?
        };
        let kept = keep(self.store, key, stack, &pins, exact)?;
        let magic = &self.interpreter.magic;
        // What starts slower than it could is no failure.
        let served = improve::serve_with_bytecode(self.store.database(), &kept.1, magic);
        operation::passed_over("serve a stack with bytecode", served);
        Ok(kept)
    }

    /// The stack of the same environment without some of its distributions.
    ///
    /// Nothing is resolved: what they needed stays, and what needed them is not asked.
    pub(super) fn without(
        store: &Store,
        interpreter: &Interpreter,
        stack: &Stack,
        mut pins: Vec<Pin>,
    ) -> Result<(Recipe, Stack)> {
        let skeleton = *stack
            .layers()
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a stack without layers"))?;
        let stack = assemble(store, interpreter, skeleton, &mut pins)?;
        let key = format!("{}{}", recipe::PINS, stack.id());
        keep(store, &key, stack, &pins, true)
    }

    /// The versions: those that are there already where they fit, else anew.
    fn resolve(&self, installer: &dyn Installer, work: &Path) -> Result<Resolution> {
        self.progress.step(Step::Resolving);
        let described = &self.descriptions(work)?;
        if !self.kept.is_empty() {
            let lines: String = self
                .kept
                .iter()
                .map(|(name, version)| format!("{name}=={version}\n"))
                .collect();
            let path = work.join("kept.txt");
            fs::write(&path, lines)
                .map_err(|source| Error::io(format!("write {}", path.display()), source))?;
            let mut requirements = self.asked.requirements.clone();
            requirements
                .files
                .push(RequirementsFile::read(&path, true, self.host)?);
            match self.run(
                installer,
                &requirements,
                described,
                &directory(work, "resolve-kept")?,
            ) {
                Err(error)
                    if matches!(
                        error.kind(),
                        FailureKind::Conflict | FailureKind::NoSuchRequirement
                    ) => {}
                resolved => return Ok(resolved?),
            }
        }
        Ok(self.run(
            installer,
            &self.asked.requirements,
            described,
            &directory(work, "resolve")?,
        )?)
    }

    fn run(
        &self,
        installer: &dyn Installer,
        requirements: &Requirements,
        described: &BTreeMap<PathBuf, PathBuf>,
        work: &Path,
    ) -> Result<Resolution, InstallerError> {
        installer.resolve(&ResolveRequest {
            context: self.context(work),
            requirements,
            described,
            offline_first: !self.options.refresh,
        })
    }

    fn installer(&self) -> Result<Box<dyn Installer>> {
        let uv = || {
            Uv::find(
                self.host,
                self.options.program_directory.as_deref(),
                &self.options.supervision,
                &Cache {
                    answers: self.answers,
                    store: self.store,
                    progress: &Silent,
                },
            )
        };
        match self.options.installer {
            InstallerChoice::Pip => Ok(Box::new(Pip)),
            InstallerChoice::Auto => {
                Ok(uv().map_or_else(|| Box::new(Pip) as _, |uv| Box::new(uv) as _))
            }
            InstallerChoice::Uv => uv().map(|uv| Box::new(uv) as _).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "uv was asked for and is not there")
                    .with_hint("put uv on PATH, name it by PTEST_UV, or choose another installer")
            }),
        }
    }

    /// pip itself: the copy that ptest carries, or what comes with an older interpreter.
    fn carried_pip(&self) -> Result<Pin> {
        let wheel = self.pip.wheel_for(self.interpreter)?;
        let sha256 = fetch::sha256_of(&wheel)
            .map_err(|source| Error::io(format!("read {}", wheel.display()), source))?;
        let pin = Pinned {
            name: "pip".to_owned(),
            version: None,
            source: Source::File {
                path: wheel.clone(),
                sha256: Some(sha256.clone()),
            },
            requested: false,
        };
        let keys = self.keys(&pin);
        let (layer, content) = match keys.map(|keys| self.known(&keys)).transpose()?.flatten() {
            Some(known) if touch(self.store, &known.0)? => known,
            _ => self.layer(&Fetched {
                pin: pin.clone(),
                wheel,
                sha256,
            })?,
        };
        // A file of ptest's own, which nobody named.
        Ok(Pin {
            found_at: None,
            ..named(&pin, &layer, content, None)
        })
    }

    pub(super) fn context<'c>(&'c self, work_dir: &'c Path) -> Context<'c> {
        Context {
            interpreter: self.interpreter,
            host: self.host,
            index: &self.asked.index,
            pip: self.pip,
            supervision: &self.options.supervision,
            work_dir,
            deadline: DEADLINE,
        }
    }
}

/// The layer below all others of an interpreter.
pub(super) fn skeleton(
    store: &Store,
    interpreter: &Interpreter,
    supervision: &Supervision,
) -> Result<LayerId> {
    let key = format!("skeleton 1 {}", interpreter.identity());
    if let Some((layer, _)) = recipe::known_layer(store.database(), &key)?
        && has(store, &layer)?
        && touch(store, &layer)?
    {
        return Ok(layer);
    }
    let staging = store.stage()?;
    skeleton::build(interpreter, staging.path(), supervision)?;
    let layer = commit(store, staging)?;
    recipe::know_layer(store.database(), &key, &layer, &Content::default())?;
    Ok(layer)
}

/// Whether the store has the layer. A damaged one is taken out of service, so that it is made again.
pub(super) fn has(store: &Store, layer: &LayerId) -> Result<bool> {
    match store.layer(layer) {
        Ok(found) => Ok(found.is_some()),
        Err(damaged) if damaged.layer().is_some() => {
            store.quarantine(layer)?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Says that a layer is used; `false` when it was collected since it was found.
pub(super) fn touch(store: &Store, layer: &LayerId) -> Result<bool> {
    Ok(!store.touch(&[*layer])?.is_empty())
}

/// Skeleton, distributions by name, and what says how they came there, in this order.
fn assemble(
    store: &Store,
    interpreter: &Interpreter,
    skeleton: LayerId,
    pins: &mut [Pin],
) -> Result<Stack> {
    pins.sort_by(|left, right| left.name.cmp(&right.name));
    let mut layers = vec![skeleton];
    for pin in &*pins {
        layers.push(pin.layer()?);
    }
    layers.extend(provenance_layer(store, interpreter, pins)?);
    Ok(Stack::new(layers))
}

/// The small layer that says what was asked for itself, and from where.
fn provenance_layer(
    store: &Store,
    interpreter: &Interpreter,
    pins: &[Pin],
) -> Result<Option<LayerId>> {
    let trees: Vec<PathBuf> = pins
        .iter()
        .map(|pin| Ok(store.layer_path(&pin.layer()?)))
        .collect::<Result<_>>()?;
    let provenances: Vec<Provenance<'_>> = pins
        .iter()
        .zip(&trees)
        .map(|(pin, tree)| Provenance {
            tree,
            dist_info: &pin.dist_info,
            requested: pin.requested,
            direct_url: pin.direct_url.as_deref(),
        })
        .collect();
    let staging = store.stage()?;
    if !provenance::requested_layer(&provenances, &Layout::of(interpreter), staging.path())? {
        return Ok(None);
    }
    commit(store, staging).map(Some)
}

fn keep(
    store: &Store,
    key: &str,
    stack: Stack,
    pins: &[Pin],
    exact: bool,
) -> Result<(Recipe, Stack)> {
    let recipe = Recipe {
        key: key.to_owned(),
        stack: stack.id(),
        exact,
        resolved_at: Timestamp::now(),
    };
    recipe::keep(store.database(), &recipe, &stack, pins)?;
    sync::beside(store);
    Ok((recipe, stack))
}

pub(super) fn commit(store: &Store, staging: Staging) -> Result<LayerId> {
    let options = CommitOptions {
        mtimes: Mtimes::FromContent { base: MTIME_BASE },
        modes: Modes::Normal,
        ..CommitOptions::default()
    };
    Ok(store.commit(staging, options)?.layer.id)
}

pub(super) fn named(
    pin: &Pinned,
    layer: &LayerId,
    content: Content,
    direct_url: Option<String>,
) -> Pin {
    Pin {
        name: normalize(&content.name),
        version: content.version,
        layer: layer.to_string(),
        file: content.file,
        sha256: content.sha256,
        requested: pin.requested,
        editable: match &pin.source {
            Source::Project {
                path,
                editable: true,
                ..
            } => Some(path.to_string_lossy().into_owned()),
            _ => None,
        },
        dist_info: content.dist_info,
        direct_url,
        found_at: Some(pin.source.found_at()),
    }
}

fn directory(work: &Path, name: &str) -> Result<PathBuf> {
    let path = work.join(name);
    fs::create_dir(&path)
        .map_err(|source| Error::io(format!("create {}", path.display()), source))?;
    Ok(path)
}
