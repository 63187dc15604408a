//! What a caller asks for when an environment is made.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::environment::Name;
use crate::error::Result;
use crate::python::{HostEnv, Requirement};
use crate::settings::Settings;

/// Who the new environment is to live for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It dies with the calling process.
    Process,
    /// It lives until it is removed.
    Detached,
}

/// An environment to be made.
#[derive(Clone, Debug)]
pub struct EnvironmentSpec {
    /// Its name; without one it is known by its id alone.
    pub name: Option<Name>,
    /// Who it lives for.
    pub lifetime: Lifetime,
    /// The engine it runs on, by name.
    pub engine: String,
    /// The interpreter asked for: a version, a range, a name or a path.
    pub python: Option<String>,
    /// What is to be installed.
    pub requirements: Requirements,
    /// What it is to be like.
    pub settings: Settings,
}

/// What is to be installed, as it was asked for.
///
/// Paths are absolute: a caller resolves them against its own directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Requirements {
    /// Requirement specifiers, direct URLs and paths of projects or wheels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub specifiers: Vec<String>,
    /// Projects installed so that their source tree is what is imported.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub editables: Vec<String>,
    /// Requirements files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// Constraints files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<PathBuf>,
    /// Whether pip is in the environment.
    pub pip: bool,
}

impl Requirements {
    /// What these words mean to a caller who stands where `host` does: what is kept of it means the same from everywhere.
    ///
    /// # Errors
    ///
    /// When one of them is no requirement.
    pub fn seen_from(host: &HostEnv, specifiers: &[String], editables: &[String]) -> Result<Self> {
        let specifiers = specifiers
            .iter()
            .map(|text| Ok(lasting(text, Requirement::parse(text, host)?)));
        let editables = editables
            .iter()
            .map(|text| Ok(lasting(text, Requirement::editable(text, host)?)));
        Ok(Self {
            specifiers: specifiers.collect::<Result<_>>()?,
            editables: editables.collect::<Result<_>>()?,
            ..Self::default()
        })
    }

    /// Asks for these too.
    pub(crate) fn add(&mut self, more: Self) {
        self.specifiers.extend(more.specifiers);
        self.editables.extend(more.editables);
        self.files.extend(more.files);
        self.constraints.extend(more.constraints);
        self.pip |= more.pip;
    }

    /// Whether nothing but pip can come of it, so that there is nothing to resolve.
    pub fn is_empty(&self) -> bool {
        self.specifiers.is_empty() && self.editables.is_empty() && self.files.is_empty()
    }
}

/// The requirement in words that mean the same from everywhere.
fn lasting(text: &str, requirement: Requirement) -> String {
    let (Requirement::Local(local) | Requirement::Editable(local)) = requirement else {
        return text.to_owned();
    };
    // A URL is absolute as it is, and what is not UTF-8 has no other words than those given.
    match local.path.to_str() {
        Some(path) if !text.contains("://") && local.extras.is_empty() => path.to_owned(),
        Some(path) if !text.contains("://") => format!("{path}[{}]", local.extras.join(",")),
        _ => text.to_owned(),
    }
}
