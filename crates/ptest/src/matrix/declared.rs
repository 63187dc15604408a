//! What a file says of a matrix: `[tool.ptest.matrix]` of a `pyproject.toml`, `[matrix]` of a `ptest.toml`, and the
//! axes that an environment of `ptest apply` has.
//!
//! Not for what comes of it: that is `axes`' and `plan`'s.

use std::path::PathBuf;

use super::axes::{Axes, Point, RequirementSet};
use super::plan::Install;
use crate::config::{ConfigError, Field, Sources, Table, TomlFile, project_file};

/// The keys of the axes.
pub(crate) const AXES: [&str; 5] = ["python", "sets", "env", "exclude", "include"];

/// The keys of a project's matrix.
const KEYS: [&str; 11] = [
    "python",
    "sets",
    "env",
    "exclude",
    "include",
    "with",
    "requirements",
    "constraints",
    "install",
    "command",
    "jobs",
];

/// The keys of a point.
const COORDINATES: [&str; 3] = ["python", "set", "env"];

/// A project's matrix. What it does not say is for the command line to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The axes.
    pub axes: Axes,
    /// Requirements of every cell.
    pub with: Vec<String>,
    /// Requirements files of every cell.
    pub requirements: Vec<PathBuf>,
    /// Constraints files of every cell.
    pub constraints: Vec<PathBuf>,
    /// How the project itself is installed.
    pub install: Option<Install>,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// How many cells run at a time.
    pub jobs: Option<u32>,
}

impl Declared {
    /// The matrix of the project that the caller stands in; `None` if its file says nothing of one.
    pub fn load(sources: &Sources) -> Result<Option<Self>, ConfigError> {
        let Some(file) = project_file(sources)? else {
            return Ok(None);
        };
        let Some(field) = Table::of(&file).and_then(|table| table.field("matrix")) else {
            return Ok(None);
        };
        Self::read(&file, &field).map(Some)
    }

    fn read(file: &TomlFile, field: &Field<'_>) -> Result<Self, ConfigError> {
        let table = field.table()?;
        table.refuse_unknown(&KEYS)?;
        let paths = |key| -> Result<Vec<PathBuf>, ConfigError> {
            let paths = texts(table, key)?.into_iter();
            Ok(paths.map(|path| file.path_from(&path)).collect())
        };
        Ok(Self {
            axes: axes(table)?,
            with: texts(table, "with")?,
            requirements: paths("requirements")?,
            constraints: paths("constraints")?,
            install: table
                .field("install")
                .map(|field| install(&field))
                .transpose()?,
            command: match table.field("command") {
                Some(field) => command(&field)?,
                None => Vec::new(),
            },
            jobs: table.field("jobs").map(|field| field.count()).transpose()?,
        })
    }
}

/// The axes that a table says.
pub(crate) fn axes(table: Table<'_>) -> Result<Axes, ConfigError> {
    let fields = |key| -> Result<Vec<Field<'_>>, ConfigError> {
        let table = table.field(key).map(|field| field.table()).transpose()?;
        Ok(table.into_iter().flat_map(Table::fields).collect())
    };
    let points = |key| -> Result<Vec<Point>, ConfigError> {
        let tables = table.field(key).map(|field| field.tables()).transpose()?;
        tables.unwrap_or_default().into_iter().map(point).collect()
    };
    let set = |field: &Field<'_>| -> Result<RequirementSet, ConfigError> {
        Ok(RequirementSet {
            name: field.key.to_owned(),
            requirements: field.texts()?,
        })
    };
    let variable = |field: &Field<'_>| Ok((field.key.to_owned(), field.texts()?));
    Ok(Axes {
        pythons: texts(table, "python")?,
        sets: fields("sets")?.iter().map(set).collect::<Result<_, _>>()?,
        variables: fields("env")?
            .iter()
            .map(variable)
            .collect::<Result<_, ConfigError>>()?,
        exclude: points("exclude")?,
        include: points("include")?,
    })
}

fn point(table: Table<'_>) -> Result<Point, ConfigError> {
    table.refuse_unknown(&COORDINATES)?;
    let text = |key| table.field(key).map(|field| field.text()).transpose();
    Ok(Point {
        python: text("python")?,
        set: text("set")?,
        variables: table
            .field("env")
            .map(|field| field.map())
            .transpose()?
            .unwrap_or_default(),
    })
}

/// A list of words, or a text for the shell.
fn command(field: &Field<'_>) -> Result<Vec<String>, ConfigError> {
    if let Some(text) = field.item.as_str() {
        return Ok(["sh", "-c", text].map(str::to_owned).into());
    }
    let words = field.texts()?;
    if words.is_empty() {
        return Err(field.invalid("a command", "an empty list"));
    }
    Ok(words)
}

fn install(field: &Field<'_>) -> Result<Install, ConfigError> {
    let word = field.text()?;
    let known = Install::WORDS.join("`, `");
    word.parse()
        .map_err(|_| field.invalid(&format!("one of `{known}`"), format!("`{word}`")))
}

pub(crate) fn texts(table: Table<'_>, key: &str) -> Result<Vec<String>, ConfigError> {
    let field = table.field(key);
    Ok(field
        .map(|field| field.texts())
        .transpose()?
        .unwrap_or_default())
}
