//! What is known of distributions before they are fetched or built: by which keys, and which layers.
//!
//! The same wheel unpacks to the same files for every Python, at other places. So the layer that one
//! Python has of it gives the others theirs, without an index and without a build.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ptest_store::{LayerId, TreePath};

use super::build::{Build, has, touch};
use crate::error::{Error, Result};
use crate::operation;
use crate::python::installer::{Pinned, Source};
use crate::python::wheel::{self, Layout};
use crate::python::{description, portable};
use crate::recipe::{self, Content};

/// By what the layer of a distribution is known.
pub(super) struct Keys {
    /// To this interpreter, and to those that are as good.
    pub(super) own: String,
    /// To every interpreter: with the name of its directory below `lib` after it.
    pub(super) shared: Option<String>,
    /// Whether only the wheel that came of it says for which interpreters it is.
    is_project: bool,
}

impl Build<'_> {
    /// By what the layer of a distribution is known, if that can be said before it is made.
    pub(super) fn keys(&self, pin: &Pinned) -> Option<Keys> {
        match &pin.source {
            Source::Project {
                path,
                editable: false,
                ..
            } => self.project_keys(path),
            source => Some(Keys {
                own: wheel::distribution_key(pin, self.interpreter)?,
                shared: wheel::wheel_key(source),
                is_project: false,
            }),
        }
    }

    fn project_keys(&self, project: &Path) -> Option<Keys> {
        let state = self.projects.get(project)?;
        Some(Keys {
            own: format!("project 1 {} {state}", self.interpreter.build_tag()),
            shared: portable::is_static(project).then(|| format!("static-project 1 {state}")),
            is_project: true,
        })
    }

    /// The layer that is there, or can be made of that of another interpreter.
    pub(super) fn known(&self, keys: &Keys) -> Result<Option<(LayerId, Content)>> {
        if let Some((layer, content)) = recipe::known_layer(self.store.database(), &keys.own)?
            && has(self.store, &layer)?
        {
            return Ok(Some((layer, content)));
        }
        for (lib_name, layer, content) in self.elsewhere(keys)? {
            // Under the lease it stays from here on.
            if keys.is_project && !portable::is_pure(&content.file)
                || !has(self.store, &layer)?
                || !touch(self.store, &layer)?
            {
                continue;
            }
            if let Some(moved) = self.moved(&layer, &lib_name)? {
                self.know(keys, &moved, &content)?;
                return Ok(Some((moved, content)));
            }
        }
        Ok(None)
    }

    /// The layers of other interpreters, with the names of their directories below `lib`.
    pub(super) fn elsewhere(&self, keys: &Keys) -> Result<Vec<(String, LayerId, Content)>> {
        match &keys.shared {
            Some(shared) => recipe::known_layers(self.store.database(), shared),
            None => Ok(Vec::new()),
        }
    }

    /// Makes a layer known.
    pub(super) fn know(&self, keys: &Keys, layer: &LayerId, content: &Content) -> Result<()> {
        let database = self.store.database();
        recipe::know_layer(database, &keys.own, layer, content)?;
        if let Some(shared) = &keys.shared {
            let lib_name = self.interpreter.lib_name();
            recipe::know_layer(database, &format!("{shared} {lib_name}"), layer, content)?;
        }
        Ok(())
    }

    /// A layer like another interpreter's, with the packages where this one looks for them; `None`
    /// when more than their place would differ.
    fn moved(&self, layer: &LayerId, lib_name: &str) -> Result<Option<LayerId>> {
        let layout = Layout::of(self.interpreter);
        if layout.lib_name == lib_name {
            return Ok(Some(*layer));
        }
        let packages = |name: &str| format!("lib/{name}/site-packages");
        if layout.site_packages != Path::new(&packages(&layout.lib_name)) {
            return Ok(None);
        }
        let (from, to) = (
            format!("lib/{lib_name}"),
            format!("lib/{}", layout.lib_name),
        );
        let is_elsewhere = |path: &[u8]| {
            let inside = path
                .strip_prefix(from.as_bytes())
                .filter(|rest| !rest.is_empty());
            // Headers are listed under the name of the interpreter; what a wheel itself puts below
            // `lib` is meant to be there.
            path.starts_with(b"include")
                || path == to.as_bytes()
                || inside.is_some_and(|rest| !rest.starts_with(b"/site-packages"))
        };
        let manifest = self.store.manifest(layer)?;
        let mut paths = manifest.entries().iter().map(|entry| entry.path.as_bytes());
        if manifest.get(packages(lib_name).as_bytes()).is_none() || paths.any(is_elsewhere) {
            return Ok(None);
        }
        let (Ok(from), Ok(to)) = (
            TreePath::new(from.into_bytes()),
            TreePath::new(to.into_bytes()),
        ) else {
            return Ok(None);
        };
        match self.store.moved(layer, &from, &to) {
            Ok(moved) => Ok(Some(moved.id)),
            Err(damaged) if damaged.layer().is_some() => {
                self.store.quarantine(layer)?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Wheels that say of projects whose layer is there what they need, by the projects' paths: so
    /// nothing of them is copied or built to choose versions.
    pub(super) fn descriptions(&self, work: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
        let mut descriptions = BTreeMap::new();
        if !self.asked.allows_wheels() {
            return Ok(descriptions);
        }
        for (number, project) in self.projects.keys().enumerate() {
            let Some(keys) = self.project_keys(project) else {
                continue;
            };
            let Some((layer, content)) = self.known(&keys)? else {
                continue;
            };
            if !touch(self.store, &layer)? {
                continue;
            }
            let directory = work.join(format!("description-{number}"));
            let file = directory.join(&content.file);
            let packages = self
                .store
                .layer_path(&layer)
                .join(&self.interpreter.site_packages);
            let written = fs::create_dir(&directory)
                .and_then(|()| description::write(&packages.join(&content.dist_info), &file))
                .map_err(|source| Error::io(format!("write {}", file.display()), source));
            if written.is_ok() {
                descriptions.insert(project.clone(), file);
            }
            // The project itself can be asked.
            operation::passed_over("describe a project", written);
        }
        Ok(descriptions)
    }
}
