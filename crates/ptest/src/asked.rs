//! What is asked of an environment: a configuration with all that counts in it, and what is no setting.
//!
//! From here to what is made there is one way, whoever asks: a command line, a file, a program. Not for reading
//! configurations: that is [`config`](crate::config)'s.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError, Context, Field, Options, Size, Timeout, UserHome};
use crate::environment::Name;
use crate::error::{Error, ErrorKind, Result};
use crate::git;
use crate::labels::{LabelKey, LabelValue, Labels};
use crate::ports::PortName;
use crate::project::Project;
use crate::python::HostEnv;
use crate::settings::{Home, Limits, Settings};
use crate::spec::{EnvironmentSpec, Lifetime, Requirements};

/// The keys of an environment that are no settings.
pub(crate) const OWN: [&str; 6] = [
    "with",
    "requirements",
    "editable",
    "constraints",
    "ports",
    "labels",
];

/// The settings that an environment can have: those that are about it, not about ptest.
pub(crate) const SETTINGS: [&str; 26] = [
    "python",
    "engine",
    "profile",
    "network",
    "allow",
    "user_home",
    "memory",
    "cpus",
    "pids",
    "cpu_time",
    "open_files",
    "file_size",
    "disk",
    "env",
    "ttl",
    "idle",
    "port_range",
    "pass",
    "write",
    "read",
    "bind_socket",
    "scratch",
    "degrade",
    "hard_links",
    "pip",
    "alerts",
];

/// What an environment is to be made of, and what it is to be like.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Everything that is a setting.
    pub config: Config,
    /// Requirement specifiers, URLs, paths of projects and wheels.
    pub with: Vec<String>,
    /// Requirements files, absolute.
    pub requirements: Vec<PathBuf>,
    /// Projects whose source tree is what is imported.
    pub editables: Vec<String>,
    /// Constraints files, absolute.
    pub constraints: Vec<PathBuf>,
    /// The names of its ports.
    pub ports: Vec<PortName>,
    /// What is written on it.
    pub labels: Labels,
}

impl Asked {
    /// What a configuration alone asks for.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            with: Vec::new(),
            requirements: Vec::new(),
            editables: Vec::new(),
            constraints: Vec::new(),
            ports: Vec::new(),
            labels: Labels::new(),
        }
    }

    /// What a caller asks for by name, who stands where `host` does, and for the rest a configuration.
    ///
    /// # Errors
    ///
    /// When an environment has nothing of that name, and when it does not take that value.
    pub fn with_options(
        config: Config,
        options: &Options,
        host: &HostEnv,
    ) -> Result<Self, ConfigError> {
        let mut asked = Self::new(config);
        let home = home_of(host);
        let context = Context {
            base: Some(&host.cwd),
            home: home.as_deref(),
        };
        let table = options.table();
        table.refuse_unknown(&OWN.into_iter().chain(SETTINGS).collect::<Vec<_>>())?;
        table
            .fields()
            .try_for_each(|field| asked.take(&field, &context))?;
        Ok(asked)
    }

    /// Takes over what is said under one name, in place of what was said before, but variables and labels one by one.
    pub(crate) fn take(
        &mut self,
        field: &Field<'_>,
        context: &Context<'_>,
    ) -> Result<(), ConfigError> {
        match field.key {
            "with" => self.with = field.texts()?,
            "requirements" => self.requirements = paths(field, context)?,
            "constraints" => self.constraints = paths(field, context)?,
            "ports" => self.ports = ports(field)?,
            "editable" => self.editables = field.texts()?,
            "labels" => self.labels.extend(labels(field)?),
            "env" => {
                let mut variables = (*self.config.env).clone();
                self.config.take_field(field, context)?;
                variables.extend((*self.config.env).clone());
                let origin = self.config.env.origin().clone();
                self.config.env.replace(Some(variables), origin);
            }
            _ => self.config.take_field(field, context)?,
        }
        Ok(())
    }

    /// The environment that a caller who stands where `host` does is to get, for the project that is found from `place`.
    ///
    /// # Errors
    ///
    /// When something that is asked for is none, or does not go together.
    pub fn environment(
        &self,
        host: &HostEnv,
        place: &HostEnv,
        name: Option<Name>,
        lifetime: Lifetime,
    ) -> Result<EnvironmentSpec> {
        Ok(EnvironmentSpec {
            name,
            lifetime,
            engine: self.config.engine.to_string(),
            python: (*self.config.python).clone(),
            requirements: self.installed(host)?,
            settings: self.settings(place)?,
        })
    }

    /// What is to be installed in it. It is kept with the environment, so that every path in it is absolute: a later
    /// change may be asked for from elsewhere.
    pub fn installed(&self, host: &HostEnv) -> Result<Requirements> {
        Ok(Requirements {
            files: self.requirements.clone(),
            constraints: self.constraints.clone(),
            pip: *self.config.pip,
            ..Requirements::seen_from(host, &self.with, &self.editables)?
        })
    }

    /// What it is to be like.
    pub fn settings(&self, host: &HostEnv) -> Result<Settings> {
        let config = &self.config;
        let home_of_caller = home_of(host);
        let project = Project::find(&host.cwd, home_of_caller.as_deref(), config.store_home()?);
        let settings = Settings {
            profile: *config.profile,
            network: *config.network,
            allow: config.allow.to_vec(),
            home: home(host, &config.user_home)?,
            write: config.write.to_vec(),
            scratch: *config.scratch,
            bind_sockets: config.bind_socket.to_vec(),
            degrade: *config.degrade,
            read: config.read.to_vec(),
            pass: config.pass.to_vec(),
            variables: BTreeMap::clone(&config.env),
            ports: self.ports.clone(),
            port_range: *config.port_range,
            ttl: config.ttl.map(Timeout::duration),
            idle: config.idle.map(Timeout::duration),
            limits: self.limits(),
            alerts: config.alerts.to_vec(),
            project,
            hard_links: *config.hard_links,
            git_identity: git::identity(host),
            labels: self.labels.clone(),
        };
        settings.check()?;
        Ok(settings)
    }

    /// The most that it may use.
    pub fn limits(&self) -> Limits {
        let config = &self.config;
        Limits {
            memory: config.memory.map(Size::bytes),
            cpus: *config.cpus,
            pids: config.pids.map(NonZeroU32::get),
            cpu_time: config.cpu_time.map(Timeout::duration),
            open_files: config.open_files.map(NonZeroU32::get),
            file_size: config.file_size.map(Size::bytes),
            disk: config.disk.map(Size::bytes),
        }
    }
}

fn home(host: &HostEnv, asked: &UserHome) -> Result<Home> {
    Ok(match asked {
        UserHome::Private => Home::Private,
        UserHome::Host => Home::Path(home_of(host).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "there is no home directory to share",
            )
            .with_hint("set HOME to an absolute path")
        })?),
        UserHome::Path(path) => Home::Path(path.clone()),
    })
}

/// The caller's home directory.
fn home_of(host: &HostEnv) -> Option<PathBuf> {
    host.home().filter(|home| Path::is_absolute(home))
}

fn paths(field: &Field<'_>, context: &Context<'_>) -> Result<Vec<PathBuf>, ConfigError> {
    let absolute = |path: String| {
        context
            .base
            .map_or_else(|| PathBuf::from(&path), |base| base.join(&path))
    };
    Ok(field.texts()?.into_iter().map(absolute).collect())
}

fn ports(field: &Field<'_>) -> Result<Vec<PortName>, ConfigError> {
    let names = field.texts()?.into_iter();
    let invalid = |error: Error| field.invalid("names of ports", error.to_string());
    names.map(|name| name.parse().map_err(invalid)).collect()
}

fn labels(field: &Field<'_>) -> Result<Labels, ConfigError> {
    let invalid = |error: Error| field.invalid("labels", error.to_string());
    let pair = |(key, value): (String, String)| -> Result<(LabelKey, LabelValue), Error> {
        Ok((key.parse()?, value.parse()?))
    };
    let pairs = field.map()?.into_iter().map(pair);
    pairs.collect::<Result<_, _>>().map_err(invalid)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn asked(specifiers: &[&str]) -> Asked {
        let mut asked = Asked::new(Config::default());
        asked.with = specifiers.iter().map(|text| (*text).to_owned()).collect();
        asked
    }

    #[test]
    fn what_is_installed_means_the_same_from_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir(root.join("my project")).unwrap();
        fs::write(root.join("my project/pyproject.toml"), "").unwrap();
        let mut asked = asked(&[
            "requests==2.28.1",
            "./my project",
            "./my project[test,docs]",
        ]);
        asked.editables = vec!["my project".to_owned()];
        let kept = asked.installed(&HostEnv::new([], &root)).unwrap();
        let project = root.join("my project").to_str().unwrap().to_owned();
        assert_eq!(
            kept.specifiers,
            [
                "requests==2.28.1".to_owned(),
                project.clone(),
                format!("{project}[test,docs]")
            ]
        );
        assert_eq!(kept.editables, [project]);
        let again = Asked {
            with: kept.specifiers.clone(),
            ..Asked::new(Config::default())
        };
        let elsewhere = again.installed(&HostEnv::new([], "/")).unwrap();
        assert_eq!(elsewhere.specifiers, kept.specifiers);
    }

    #[test]
    fn what_could_be_an_option_is_no_requirement() {
        for text in ["--help", "-r", "", "a\nb"] {
            let installed = asked(&[text]).installed(&HostEnv::new([], "/"));
            assert!(installed.is_err(), "{text:?}");
        }
    }
}
