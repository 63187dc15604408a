//! Puts the sources on top of each other.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::{
    error::{ConfigError, Place},
    keys::{Config, HARMLESS, KEYS, Key, NEVER_OF_A_PROJECT, Raw, Row},
    origin::{Origin, Source},
    project,
    table::Field,
    toml_file::TomlFile,
    value::Context,
};
use crate::ports::PortName;
use crate::settings::Profile;

/// Everything outside the program that the configuration depends on.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The variables of the caller.
    pub variables: BTreeMap<OsString, OsString>,
    /// Where the caller stands; `None` if that directory is gone.
    pub working_directory: Option<PathBuf>,
    /// The caller's effective user id.
    pub user: u32,
    /// The machine's file; `/etc/ptest/config.toml` in earnest.
    pub system_file: PathBuf,
    /// The profile that the caller asks for, which says whether the project is trusted.
    pub profile: Option<Profile>,
}

impl Sources {
    /// The file that `ptest config set` edits: in `$XDG_CONFIG_HOME`, else in `~/.config`.
    pub fn user_file(&self) -> Option<PathBuf> {
        let directory = self
            .directory("XDG_CONFIG_HOME")
            .or_else(|| Some(self.home_directory()?.join(".config")))?;
        Some(directory.join("ptest/config.toml"))
    }

    /// The caller's home directory, from `HOME`.
    pub fn home_directory(&self) -> Option<PathBuf> {
        self.directory("HOME")
    }

    /// The files that are looked at, whether or not they are there.
    pub fn files(&self) -> Result<Files, ConfigError> {
        let project = match &self.working_directory {
            Some(start) => project::find(start, self.user)?
                .file
                .map(|file| file.path().to_owned()),
            None => None,
        };
        Ok(Files {
            system: self.system_file.clone(),
            user: self.user_file(),
            project,
        })
    }

    /// Where the store is if nobody says otherwise.
    fn default_home(&self) -> Option<PathBuf> {
        if self.user == 0 {
            return Some(PathBuf::from("/var/lib/ptest"));
        }
        let data = self
            .directory("XDG_DATA_HOME")
            .or_else(|| Some(self.home_directory()?.join(".local/share")))?;
        Some(data.join("ptest"))
    }

    /// A variable that names a directory. A relative path counts as not set, as the XDG specification says.
    fn directory(&self, variable: &str) -> Option<PathBuf> {
        self.variables
            .get(OsStr::new(variable))
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    }
}

/// The files of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The machine's.
    pub system: PathBuf,
    /// The user's; `None` if the user has no home.
    pub user: Option<PathBuf>,
    /// The project's; `None` if there is none.
    pub project: Option<PathBuf>,
}

impl Config {
    /// Reads every source. The warnings are for people: files, variables and values that were left out, and why.
    ///
    /// Under the profile `strict`, unless it is the project itself that asks for it, code that runs in the project is not
    /// trusted, and so neither is the project's file, which it may have written: what of it could give that code more than
    /// others say is left out.
    pub fn load(sources: &Sources) -> Result<(Self, Vec<String>), ConfigError> {
        let (mut config, mut warnings) = Self::load_all(sources, true)?;
        let (others, _) = Self::load_all(sources, false)?;
        warnings.extend(config.leave_out(
            &others,
            &NEVER_OF_A_PROJECT,
            "what runs in a project could have written it",
        ));
        if sources.profile.or(*others.profile) == Some(Profile::Strict) {
            let harmful: Vec<&str> = KEYS
                .iter()
                .map(|key| key.name)
                .filter(|key| !HARMLESS.contains(key))
                .collect();
            let why = "the profile `strict` trusts no project";
            warnings.extend(config.leave_out(&others, &harmful, why));
        }
        Ok((config, warnings))
    }

    /// Takes for these keys what the others say, where the project's file says something.
    fn leave_out(&mut self, others: &Self, keys: &[&str], why: &str) -> Vec<String> {
        let of_project: Vec<Row> = self
            .rows()
            .into_iter()
            .filter(|row| row.origin.source == Source::Project && keys.contains(&row.key))
            .collect();
        let leave_out = |row: Row| {
            self.take(row.key, others);
            format!(
                "`{}` of {} does not count, for {why}: say it yourself, or in a file of your own",
                row.key, row.origin
            )
        };
        of_project.into_iter().map(leave_out).collect()
    }

    fn load_all(sources: &Sources, project: bool) -> Result<(Self, Vec<String>), ConfigError> {
        let mut config = Self::default();
        let mut warnings = Vec::new();
        let home = sources.home_directory();
        config
            .home
            .replace(sources.default_home().map(Some), Origin::BUILT_IN);
        if let Some(file) = TomlFile::read(&sources.system_file, &[])? {
            config.apply_file(&file, Source::System, home.as_deref())?;
        }
        if let Some(path) = sources.user_file()
            && let Some(file) = TomlFile::read(&path, &[])?
        {
            config.apply_file(&file, Source::User, home.as_deref())?;
        }
        if let Some(start) = sources.working_directory.as_ref().filter(|_| project) {
            let found = project::find(start, sources.user)?;
            warnings.extend(found.warnings);
            if let Some(file) = found.file {
                config.apply_file(&file, Source::Project, home.as_deref())?;
            }
        }
        config.apply_variables(sources, home.as_deref(), &mut warnings)?;
        Ok((config, warnings))
    }

    fn apply_file(
        &mut self,
        file: &TomlFile,
        source: Source,
        home: Option<&Path>,
    ) -> Result<(), ConfigError> {
        let context = Context {
            base: file.directory(),
            home,
        };
        for entry in file.entries() {
            if source == Source::Project && entry.name == MATRIX {
                continue;
            }
            let line = match &entry.key_place {
                Place::File { line, .. } => *line,
                Place::Variable(_) | Place::Argument => 0,
            };
            let origin = Origin::in_file(source, file.path().to_owned(), line);
            match self.assign(entry.name, Raw::Toml(entry.item), &context, origin) {
                Some(Ok(())) => {}
                Some(Err(invalid)) => {
                    return Err(invalid_value(entry.name, entry.value_place, invalid.0));
                }
                None => return Err(unknown_key(entry.name, entry.key_place)),
            }
        }
        Ok(())
    }

    /// Takes one key of a file that a caller names.
    pub(crate) fn take_field(
        &mut self,
        field: &Field<'_>,
        context: &Context<'_>,
    ) -> Result<(), ConfigError> {
        match self.assign(field.key, Raw::Toml(field.item), context, Origin::OPTION) {
            Some(Ok(())) => Ok(()),
            Some(Err(invalid)) => Err(invalid_value(field.key, field.place(), invalid.0)),
            None => Err(unknown_key(field.key, field.place())),
        }
    }

    /// An empty variable counts as not set. Variables that only look like a setting are warned of, not refused: the
    /// names that begin with `PTEST_` are not ours alone.
    fn apply_variables(
        &mut self,
        sources: &Sources,
        home: Option<&Path>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ConfigError> {
        let context = Context {
            base: sources.working_directory.as_deref(),
            home,
        };
        for (variable, text) in &sources.variables {
            let Some(variable) = variable.to_str() else {
                continue;
            };
            let Some(rest) = variable.strip_prefix("PTEST_") else {
                continue;
            };
            if text.is_empty() {
                continue;
            }
            let key = rest.to_ascii_lowercase();
            let known = KEYS.iter().find(|known| known.variable() == variable);
            match known {
                Some(known) => {
                    let origin = Origin::variable(variable.to_owned());
                    if let Some(Err(invalid)) =
                        self.assign(known.name, Raw::Text(text), &context, origin)
                    {
                        return Err(invalid_value(
                            known.name,
                            Place::Variable(variable.to_owned()),
                            invalid.0,
                        ));
                    }
                }
                // An environment's port, seen by a ptest inside.
                None if variable.starts_with(PortName::VARIABLE_PREFIX) => {}
                // Three letters resemble too much.
                None if key.len() > 3 => {
                    if let Some(nearest) = Key::nearest(&key).and_then(Key::find) {
                        warnings.push(format!(
                            "the variable {variable} is no setting; did you mean {}?",
                            nearest.variable()
                        ));
                    }
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// The key of a project's file that is no setting: see [`matrix`](crate::matrix).
const MATRIX: &str = "matrix";

/// The file of the project that the caller stands in.
pub(crate) fn project_file(sources: &Sources) -> Result<Option<TomlFile>, ConfigError> {
    match &sources.working_directory {
        Some(start) => Ok(project::find(start, sources.user)?.file),
        None => Ok(None),
    }
}

/// The error for a key that there is not.
pub(super) fn unknown_key(key: &str, place: Place) -> ConfigError {
    ConfigError::UnknownKey {
        place,
        key: key.to_owned(),
        nearest: Key::nearest(key),
    }
}

/// The error for a value that a known key does not take.
pub(super) fn invalid_value(key: &str, place: Place, found: String) -> ConfigError {
    match Key::find(key) {
        Some(known) => ConfigError::Value {
            place,
            key: known.name,
            expected: known.expected,
            found,
        },
        None => unknown_key(key, place),
    }
}

#[cfg(test)]
mod tests;
