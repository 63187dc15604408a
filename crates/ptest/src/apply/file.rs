//! What a file says: environments by name, each with what it is made of and what it is like.
//!
//! An environment of the file can stand for several: one for each cell of its matrix, and so many of
//! each. Not for what is there already: that is `plan`'s.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::asked::{self, Asked};
use crate::config::{Config, ConfigError, Context, Field, Table, TomlFile, read_hooks};
use crate::environment::Name;
use crate::hooks::Hook;
use crate::matrix::declared::{AXES, axes};
use crate::matrix::{Axes, Cell};

/// The keys of a file.
pub(super) const FILE: [&str; 4] = ["name", "defaults", "environment", "hooks"];

/// The keys of an environment that say how many are made of it.
pub(super) const MANY: [&str; 2] = ["count", "matrix"];

/// What a file declares.
#[derive(Clone, Debug)]
pub struct File {
    /// What it is known by: the name that it gives itself, or its path.
    pub source: String,
    /// The directory that relative paths in it start from.
    pub directory: PathBuf,
    /// Its environments, each with a name of its own.
    pub environments: Vec<Declared>,
    /// What is called when something happens to them.
    pub hooks: Vec<Hook>,
}

/// An environment that is to be there.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name.
    pub name: Name,
    /// What it is made of, and what it is like.
    pub asked: Asked,
}

impl File {
    /// Reads a file. What it does not say of its environments is as `config` says.
    ///
    /// # Errors
    ///
    /// With the place of the first thing that is not as it must be.
    pub fn read(path: &Path, config: &Config, home: Option<&Path>) -> Result<Self, ConfigError> {
        let file = TomlFile::required(path)?;
        let directory = file.directory().unwrap_or(Path::new("/")).to_owned();
        let context = Context {
            base: Some(&directory),
            home,
        };
        let mut read = Self {
            source: path.display().to_string(),
            directory: directory.clone(),
            environments: Vec::new(),
            hooks: Vec::new(),
        };
        if let Some(table) = Table::of(&file) {
            read.take(table, config, &context)?;
        }
        Ok(read)
    }

    fn take(
        &mut self,
        table: Table<'_>,
        config: &Config,
        context: &Context<'_>,
    ) -> Result<(), ConfigError> {
        table.refuse_unknown(&FILE)?;
        if let Some(name) = table.field("name") {
            self.source = name.text()?;
        }
        let mut base = Entry::new(config.clone());
        if let Some(defaults) = table.field("defaults") {
            base.take(defaults.table()?, context)?;
        }
        let entries = table
            .field("environment")
            .map(|field| field.table())
            .transpose()?;
        let mut names = BTreeSet::new();
        for field in entries.into_iter().flat_map(Table::fields) {
            let mut entry = base.clone();
            entry.take(field.table()?, context)?;
            for declared in entry.all(&field)? {
                if !names.insert(declared.name.clone()) {
                    let found = format!("`{}`, which another one has", declared.name);
                    return Err(field.invalid("environments with names of their own", found));
                }
                self.environments.push(declared);
            }
        }
        if let Some(hooks) = table.field("hooks") {
            self.hooks = self.hooks(&hooks, context)?;
        }
        Ok(())
    }

    /// Each is for environments of the file: those that it names, else all.
    fn hooks(&self, field: &Field<'_>, context: &Context<'_>) -> Result<Vec<Hook>, ConfigError> {
        let mut hooks = read_hooks(field.item, context)
            .map_err(|found| field.invalid("a list of hooks", found))?;
        let names: Vec<&str> = self
            .environments
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        for hook in &mut hooks {
            if let Some(other) = hook
                .environments
                .iter()
                .find(|it| !names.contains(&it.as_str()))
            {
                let found = format!("one for `{other}`, which the file does not declare");
                return Err(field.invalid("a list of hooks for its environments", found));
            }
            if hook.environments.is_empty() {
                hook.environments = names.iter().map(|name| (*name).to_owned()).collect();
            }
        }
        // Without a name it would be for the environments of others.
        hooks.retain(|hook| !hook.environments.is_empty());
        Ok(hooks)
    }
}

/// What is said under one name.
#[derive(Clone)]
struct Entry {
    asked: Asked,
    axes: Axes,
    count: Option<u32>,
}

impl Entry {
    fn new(config: Config) -> Self {
        Self {
            asked: Asked::new(config),
            axes: Axes::default(),
            count: None,
        }
    }

    /// Takes over what a table says: each key in place of what was said before, but variables and
    /// labels one by one.
    fn take(&mut self, table: Table<'_>, context: &Context<'_>) -> Result<(), ConfigError> {
        table.refuse_unknown(&keys())?;
        for field in table.fields() {
            match field.key {
                "count" => self.count = Some(field.count()?),
                "matrix" => {
                    let table = field.table()?;
                    table.refuse_unknown(&AXES)?;
                    self.axes = axes(table)?;
                }
                _ => self.asked.take(&field, context)?,
            }
        }
        Ok(())
    }

    /// Every environment that the entry stands for.
    fn all(&self, field: &Field<'_>) -> Result<Vec<Declared>, ConfigError> {
        let cells = self
            .axes
            .cells()
            .map_err(|error| field.invalid("a matrix with cells", error.to_string()))?;
        let mut all = Vec::new();
        for cell in cells {
            let name = match cell.name.as_str() {
                "" => field.key.to_owned(),
                cell => format!("{}-{cell}", field.key),
            };
            let names = match self.count {
                Some(count) => (1..=count)
                    .map(|number| format!("{name}-{number}"))
                    .collect(),
                None => vec![name],
            };
            for name in names {
                let name = name.parse().map_err(|error: crate::Error| {
                    field.invalid("the name of an environment", error.to_string())
                })?;
                all.push(self.one(name, &cell));
            }
        }
        Ok(all)
    }

    fn one(&self, name: Name, cell: &Cell) -> Declared {
        let mut asked = self.asked.clone();
        let config = &mut asked.config;
        if let Some(python) = &cell.python {
            let origin = config.python.origin().clone();
            config.python.replace(Some(Some(python.clone())), origin);
        }
        let mut variables = (*config.env).clone();
        variables.extend(cell.variables.clone());
        let origin = config.env.origin().clone();
        config.env.replace(Some(variables), origin);
        if let Some(set) = &cell.set {
            asked.with.extend(set.requirements.iter().cloned());
        }
        Declared { name, asked }
    }
}

/// The keys of an environment.
pub(super) fn keys() -> Vec<&'static str> {
    MANY.into_iter()
        .chain(asked::OWN)
        .chain(asked::SETTINGS)
        .collect()
}
