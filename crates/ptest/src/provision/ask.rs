//! What was asked for, understood: requirements parsed, files read, and the key
//! under which the answer is kept.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::python::index::IndexSettings;
use crate::python::interpreter::Interpreter;
use crate::python::reqfile::RequirementsFile;
use crate::python::requirement::Requirement;
use crate::python::{HostEnv, requirements};
use crate::spec::Requirements;

/// Changes when the same request would lead to other layers than before.
const FORMAT: &str = "recipe 1";

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) requirements: requirements::Requirements,
    pub(super) pip: bool,
    pub(super) index: IndexSettings,
}

impl Asked {
    pub(super) fn read(requirements: &Requirements, host: &HostEnv) -> Result<Self> {
        let mut read =
            requirements::Requirements::read(&requirements.specifiers, &requirements.files, host)?;
        for text in &requirements.editables {
            read.items.push(Requirement::editable(text, host)?);
        }
        for path in &requirements.constraints {
            read.files.push(RequirementsFile::read(path, true, host)?);
        }
        Ok(Self {
            requirements: read,
            pip: requirements.pip,
            index: IndexSettings::from_host(host),
        })
    }

    /// Whether there is nothing to resolve.
    pub(super) fn is_empty(&self) -> bool {
        self.requirements.items.is_empty()
            && self.requirements.files.iter().all(|file| file.constraint)
    }

    /// Whether a project may be shown to an installer as a wheel.
    pub(super) fn allows_wheels(&self) -> bool {
        let files = &self.requirements.files;
        let said = files.iter().flat_map(RequirementsFile::closure);
        !self.index.refuses_wheels()
            && !said
                .into_iter()
                .any(|file| file.text.contains("--no-binary"))
    }

    /// A text that changes when what is asked for does, whatever the interpreter and the index are.
    pub(super) fn fingerprint(&self) -> String {
        let words = self.requirements.key().unwrap_or_default();
        let pip = if self.pip { "pip" } else { "no pip" };
        blake3::hash(format!("{pip}\n{words}").as_bytes())
            .to_hex()
            .to_string()
    }

    /// The key of the recipe; none when the same words may mean something else
    /// next time (a requirements file at a URL).
    pub(super) fn key(
        &self,
        interpreter: &Interpreter,
        kept: &BTreeMap<String, String>,
    ) -> Option<String> {
        let kept: Vec<String> = kept
            .iter()
            .map(|(name, version)| format!("{name}=={version}"))
            .collect();
        let mut hasher = blake3::Hasher::new();
        for part in [
            FORMAT,
            &interpreter.identity(),
            &self.requirements.key()?,
            &self.index.fingerprint(),
            if self.pip { "pip" } else { "no pip" },
            &kept.join("\n"),
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Some(hasher.finalize().to_hex().to_string())
    }
}
