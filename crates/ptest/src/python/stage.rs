//! Makes requirements ready for an installer: copies of local projects, and files in which
//! their paths are replaced.
//!
//! The installer runs in the working directory and sees every local thing under a short name
//! there, so that it never writes into a project and never meets a path with a space in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::installer::Source;
use super::name::path_of_file_url;
use super::project::{self, ProjectError};
use super::reqfile::{Content, RequirementsFile};
use super::requirement::{LocalRequirement, Requirement};
use super::requirements::Requirements;

/// Requirements as an installer gets them.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The directory that the installer runs in.
    pub(crate) directory: PathBuf,
    /// Arguments that each name one file of requirements.
    pub(crate) files: Vec<PathBuf>,
    local: Vec<Staged>,
    described: BTreeMap<PathBuf, PathBuf>,
    copies: Vec<(PathBuf, PathBuf)>,
}

/// A local requirement under its name in the working directory.
#[derive(Debug, Clone)]
struct Staged {
    /// Relative to the working directory.
    name: PathBuf,
    /// Where it really is.
    path: PathBuf,
    editable: bool,
    is_project: bool,
}

impl Stage {
    /// Writes everything that `requirements` need into `directory`. Projects that are `described`
    /// by a wheel are that wheel there.
    pub(crate) fn new(
        requirements: &Requirements,
        described: &BTreeMap<PathBuf, PathBuf>,
        directory: &Path,
    ) -> Result<Self, StageError> {
        let directory = directory
            .canonicalize()
            .map_err(|source| StageError::Write {
                path: directory.to_owned(),
                source,
            })?;
        let mut stage = Self {
            directory,
            files: Vec::new(),
            local: Vec::new(),
            copies: Vec::new(),
            described: described.clone(),
        };
        let mut lines = String::new();
        for item in &requirements.items {
            lines.push_str(&stage.line(item)?);
            lines.push('\n');
        }
        if !lines.is_empty() {
            let name = stage.write("requirements.in", &lines)?;
            stage.files.push(name);
        }
        for file in &requirements.files {
            let name = stage.file(file)?;
            stage.files.push(name);
        }
        Ok(stage)
    }

    /// What a path or file URL of an answer means, if it is a local requirement. `sha256` is what
    /// the answer says of a file.
    pub(crate) fn source(&self, place: &str, sha256: Option<&str>) -> Option<Source> {
        let path = path_of_file_url(place).unwrap_or_else(|| place.into());
        let path = self.directory.join(path);
        let name: PathBuf = path
            .strip_prefix(&self.directory)
            .ok()?
            .components()
            .collect();
        let mut numbered = self.local.iter().enumerate();
        let (number, staged) = numbered.find(|(_, staged)| staged.name == name)?;
        Some(if staged.is_project {
            Source::Project {
                path: staged.path.clone(),
                copy: self.directory.join(copy_of(number)),
                editable: staged.editable,
            }
        } else {
            Source::File {
                path: staged.path.clone(),
                sha256: sha256.map(str::to_owned),
            }
        })
    }

    /// Pairs of what an installer calls something and what the user calls it.
    pub(crate) fn names(&self) -> Vec<(String, String)> {
        let mut names = Vec::new();
        let shown = self
            .local
            .iter()
            .map(|staged| (&staged.name, &staged.path))
            .chain(self.copies.iter().map(|(name, path)| (name, path)));
        for (name, path) in shown {
            let path = path.display().to_string();
            let absolute = self.directory.join(name);
            names.push((super::name::file_url(&absolute), path.clone()));
            names.push((absolute.display().to_string(), path.clone()));
            names.push((format!("./{}", name.display()), path.clone()));
            names.push((name.display().to_string(), path));
        }
        names
    }

    fn line(&mut self, requirement: &Requirement) -> Result<String, StageError> {
        match requirement {
            Requirement::Local(local) => self.local(local, false),
            Requirement::Editable(local) => self.local(local, true),
            other => Ok(other.line().unwrap_or_default()),
        }
    }

    /// Resolving an editable project reads its metadata, for which a copy is as good.
    fn local(&mut self, local: &LocalRequirement, editable: bool) -> Result<String, StageError> {
        let number = self.local.len();
        let failed = |path: &Path, source| StageError::Write {
            path: path.to_owned(),
            source,
        };
        let is_project = local.path.is_dir();
        let described = self.described.get(&local.path).filter(|_| !editable);
        let name = if is_project && described.is_none() {
            let name = copy_of(number);
            project::copy(&local.path, &self.directory.join(&name))?;
            name
        } else {
            let target = described.unwrap_or(&local.path);
            let file = target.file_name().unwrap_or_default();
            let name = Path::new("files").join(number.to_string()).join(file);
            let link = self.directory.join(&name);
            let parent = link.parent().unwrap_or(&self.directory);
            fs::create_dir_all(parent)
                .and_then(|()| symlink(target, &link))
                .map_err(|source| failed(&link, source))?;
            name
        };
        let mut line = format!("./{}{}", name.display(), local.extras_suffix());
        if let Some(marker) = local.marker_text() {
            line.push_str(" ; ");
            line.push_str(&marker);
        }
        self.local.push(Staged {
            name,
            path: local.path.clone(),
            editable,
            is_project,
        });
        Ok(line)
    }

    /// The file as it is, or a copy with other paths if something local is named in it or below.
    fn file(&mut self, file: &RequirementsFile) -> Result<PathBuf, StageError> {
        if !names_local(file) {
            return Ok(file.path.clone());
        }
        let mut text = String::new();
        for line in &file.lines {
            // A blank line for each that was joined keeps the numbers in messages right.
            let breaks = line.raw.matches('\n').count();
            let (new, padding) = match &line.content {
                Content::Requirement {
                    requirement: requirement @ (Requirement::Local(_) | Requirement::Editable(_)),
                    options,
                    ..
                } => (format!("{} {options}", self.line(requirement)?), breaks),
                Content::Nested(nested) => {
                    let option = if nested.constraint && !file.constraint {
                        "-c"
                    } else {
                        "-r"
                    };
                    let name = self.file(nested)?;
                    (format!("{option} {}", name.display()), breaks)
                }
                Content::FindLinks(path) => (
                    format!("--find-links {}", super::name::file_url(path)),
                    breaks,
                ),
                _ => (line.raw.clone(), 0),
            };
            text.push_str(&new);
            text.extend(std::iter::repeat_n('\n', padding + 1));
        }
        let name = format!("file-{}.txt", self.copies.len());
        let written = self.write(&name, &text)?;
        self.copies.push((written.clone(), file.path.clone()));
        Ok(written)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, StageError> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(|source| StageError::Write { path, source })?;
        Ok(name.into())
    }
}

/// Why requirements cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The working directory cannot be written.
    #[error("failed to write {path}", path = .path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A project cannot be copied.
    #[error("a local project cannot be copied")]
    Project(#[from] ProjectError),
}

/// Where the copy of the project of that number is, relative to the working directory.
fn copy_of(number: usize) -> PathBuf {
    PathBuf::from(format!("projects/{number}"))
}

fn names_local(file: &RequirementsFile) -> bool {
    file.closure()
        .iter()
        .flat_map(|file| &file.lines)
        .any(|line| {
            matches!(
                &line.content,
                Content::Requirement {
                    requirement: Requirement::Local(_) | Requirement::Editable(_),
                    ..
                }
            )
        })
}
