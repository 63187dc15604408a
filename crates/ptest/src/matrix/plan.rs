//! What each cell of a matrix is made of and runs.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use super::axes::Cell;
use super::declared::Declared;
use crate::error::{Error, ErrorKind, Result};
use crate::python::HostEnv;
use crate::spec::{EnvironmentSpec, Requirements};

/// How the project itself comes into the cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Install {
    /// Built as a wheel, once for each interpreter, and installed: what users will have.
    #[default]
    Wheel,
    /// So that its source tree is what is imported.
    Editable,
    /// Not at all.
    None,
}

impl Install {
    /// Every word that is understood.
    pub const WORDS: &'static [&'static str] = &["wheel", "editable", "none"];

    /// The word used on the command line and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wheel => "wheel",
            Self::Editable => "editable",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Install {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Install {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = [Self::Wheel, Self::Editable, Self::None];
        let found = known.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "there is no way `{}` to install a project",
                    text.escape_debug()
                ),
            )
            .with_hint("there is `wheel`, `editable` and `none`")
        })
    }
}

/// A cell with all that it needs.
#[derive(Clone, Debug)]
pub struct CellPlan {
    /// The cell.
    pub cell: Cell,
    /// The environment that it runs in.
    pub spec: EnvironmentSpec,
    /// The command and its arguments.
    pub command: Vec<String>,
}

/// Where the name of the cell stands in a command.
const CELL: &str = "{cell}";

/// Where the file stands that a command writes its test results to.
pub(super) const JUNIT: &str = "{junit}";

/// Whether a directory is of a project that can be installed.
pub fn installable(root: &Path) -> bool {
    if root.join("setup.py").is_file() {
        return true;
    }
    let text = fs::read_to_string(root.join("pyproject.toml")).unwrap_or_default();
    // What is no TOML is for the build to complain about.
    text.parse::<toml_edit::DocumentMut>().map_or(true, |file| {
        file.contains_key("project") || file.contains_key("build-system")
    }) && !text.is_empty()
}

/// Every cell of a matrix, each on top of `base`, which says what the environments have in common.
///
/// `project` is the directory of the project, if it has one that
/// can be installed; relative paths are seen from `host`'s working directory.
///
/// # Errors
///
/// When the matrix is none, or nothing is to be run.
pub fn plan(
    declared: &Declared,
    base: &EnvironmentSpec,
    project: Option<&Path>,
    host: &HostEnv,
) -> Result<Vec<CellPlan>> {
    if declared.command.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "nothing is to be run")
            .with_hint("give a command after `--`, or `command` in [tool.ptest.matrix]"));
    }
    let plans = declared.axes.cells()?.into_iter().map(|mut cell| {
        if cell.name.is_empty() {
            "all".clone_into(&mut cell.name);
        }
        let mut spec = base.clone();
        if cell.python.is_some() {
            spec.python.clone_from(&cell.python);
        }
        spec.settings.variables.extend(cell.variables.clone());
        let set = cell.set.iter().flat_map(|set| &set.requirements);
        spec.requirements.add(with(declared, set, project, host)?);
        let command = declared
            .command
            .iter()
            .map(|word| word.replace(CELL, &cell.name));
        Ok(CellPlan {
            command: command.collect(),
            cell,
            spec,
        })
    });
    plans.collect()
}

/// What every cell has, whatever its coordinates. `project` and `host` are as for [`plan`].
pub fn requirements(
    declared: &Declared,
    project: Option<&Path>,
    host: &HostEnv,
) -> Result<Requirements> {
    with(declared, [], project, host)
}

fn with<'a>(
    declared: &'a Declared,
    set: impl IntoIterator<Item = &'a String>,
    project: Option<&Path>,
    host: &HostEnv,
) -> Result<Requirements> {
    let specifiers: Vec<String> = declared.with.iter().chain(set).cloned().collect();
    let mut requirements = Requirements::seen_from(host, &specifiers, &[])?;
    requirements.files.clone_from(&declared.requirements);
    requirements.constraints.clone_from(&declared.constraints);
    match (
        declared.install.unwrap_or_default(),
        project.and_then(Path::to_str),
    ) {
        (Install::Wheel, Some(project)) => requirements.specifiers.push(project.to_owned()),
        (Install::Editable, Some(project)) => requirements.editables.push(project.to_owned()),
        (Install::None, _) | (_, None) => {}
    }
    Ok(requirements)
}
