//! What a caller asks for when an environment is made.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::environment::Name;
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
    /// Whether nothing but pip can come of it, so that there is nothing to resolve.
    pub fn is_empty(&self) -> bool {
        self.specifiers.is_empty() && self.editables.is_empty() && self.files.is_empty()
    }
}
