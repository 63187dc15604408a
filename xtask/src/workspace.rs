//! Where things are in the repository, and which cargo builds it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::process::{self, Result};

/// The repository that the task runs in.
pub(crate) struct Workspace {
    /// Its top directory: absolute, without symlinks.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// Its packages, as cargo reads them.
    pub(crate) packages: Vec<Package>,
}

impl Workspace {
    /// Asks cargo, so that `CARGO_TARGET_DIR` and its configuration count.
    ///
    /// # Errors
    ///
    /// When cargo cannot read the workspace.
    pub(crate) fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let json = process::output(
            Command::new(cargo())
                .args([
                    "metadata",
                    "--no-deps",
                    "--format-version",
                    "1",
                    "--manifest-path",
                ])
                .arg(&manifest),
        )?;
        let metadata: Metadata = serde_json::from_str(&json)?;
        Ok(Self {
            root: metadata.workspace_root.canonicalize()?,
            target: metadata.target_directory,
            packages: metadata.packages,
        })
    }

    /// A cargo command that runs at the top of the repository.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root);
        command
    }

    /// Where tasks install other people's programs.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a package's dependencies.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Where it lies, for one of the workspace.
    pub(crate) path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}
