//! What a package says beside its layers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::archive::Image;
use super::blob::is_mark;
use super::error::PackageError;
use super::oci::{self, Execution};
use crate::error::{Error, Result};
use crate::manifest::TreePath;
use crate::stack::Stack;

/// A stack of layers and what an image says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The layers.
    pub stack: Stack,
    /// Where the tree lies in the image, such as `ptest/env`. UTF-8.
    pub prefix: TreePath,
    /// For which processors it is, in the words of OCI, such as `amd64`; see
    /// [`Package::native_architecture`].
    pub architecture: String,
    /// What the caller wants to find again. [`Store::export`](crate::Store::export) adds one of
    /// its own, `dev.ptest.prefix`.
    pub labels: BTreeMap<String, String>,
    /// Variables of a container that is made of the image.
    pub env: BTreeMap<String, String>,
    /// What such a container runs, with its first arguments; nothing when empty.
    pub entrypoint: Vec<String>,
}

impl Package {
    /// A package for the processor that this program is made for, without anything else.
    pub fn new(stack: Stack, prefix: TreePath) -> Self {
        Self {
            stack,
            prefix,
            architecture: Self::native_architecture().to_owned(),
            labels: BTreeMap::new(),
            env: BTreeMap::new(),
            entrypoint: Vec::new(),
        }
    }

    /// What OCI calls the processor that this program is made for.
    pub fn native_architecture() -> &'static str {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    }

    /// Fails for what an image cannot express.
    pub(crate) fn check(&self) -> Result<()> {
        let unpackable = |path: PathBuf, what| Err(Error::Unpackable { path, what });
        let prefix = self.prefix.as_bytes();
        if std::str::from_utf8(prefix).is_err() || prefix.split(|b| *b == b'/').any(is_mark) {
            return unpackable(self.prefix.as_path().to_owned(), "a tree at this path");
        }
        if self.labels.contains_key(oci::PREFIX_LABEL) {
            return unpackable(oci::PREFIX_LABEL.into(), "a second label of the name");
        }
        let is_bad = |key: &&String| key.is_empty() || key.contains('=');
        if let Some(key) = self.env.keys().find(is_bad) {
            return unpackable(key.into(), "a variable of the name");
        }
        Ok(())
    }

    /// What an image says, but for its layers.
    pub(crate) fn of_image(image: &Image, stack: Stack) -> Result<Self, PackageError> {
        let name = image.manifest.config.digest.blob();
        let wrong = |problem| PackageError::Form {
            name: name.clone(),
            problem,
        };
        let prefix = Self::prefix(image)?;
        let none = Execution::default();
        let said = image.config.execution.as_ref().unwrap_or(&none);
        let mut labels = said.labels.clone().unwrap_or_default();
        labels.remove(oci::PREFIX_LABEL);
        let mut env = BTreeMap::new();
        for pair in said.env.iter().flatten() {
            let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                return Err(wrong("a variable without a name or a value"));
            };
            if env.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(wrong("a variable twice"));
            }
        }
        Ok(Self {
            stack,
            prefix,
            architecture: image.config.architecture.clone(),
            labels,
            env,
            entrypoint: said.entrypoint.clone().unwrap_or_default(),
        })
    }

    /// Where the tree lies in an image.
    pub(crate) fn prefix(image: &Image) -> Result<TreePath, PackageError> {
        let wrong = |problem| PackageError::Form {
            name: image.manifest.config.digest.blob(),
            problem,
        };
        let execution = image.config.execution.as_ref();
        let labels = execution.and_then(|said| said.labels.as_ref());
        let prefix = labels
            .and_then(|labels| labels.get(oci::PREFIX_LABEL))
            .ok_or_else(|| wrong("an image that ptest did not make: no label dev.ptest.prefix"))?;
        TreePath::new(prefix.as_bytes())
            .map_err(|_| wrong("a label dev.ptest.prefix that is not a path in the image"))
    }
}
