//! From options and configuration to what the library is asked for. Where both say something the option counts; what
//! can be given several times adds up.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use ptest::{
    EnvironmentSpec, Fork, Import, Lifetime, Name, Requirements,
    config::{Config, Size, Timeout, UserHome},
    git,
    project::{Guard, Project},
    settings::{Home, Limits, Settings},
};

use crate::{
    error::CliError,
    host::Host,
    options::{EnvironmentOptions, FileOptions, LimitOptions},
    ui::Ui,
};

/// An environment to be made.
pub(crate) fn environment(
    ui: &Ui,
    host: &Host,
    config: &Config,
    name: Option<Name>,
    lifetime: Lifetime,
    options: &EnvironmentOptions,
) -> Result<EnvironmentSpec, CliError> {
    let project = project(ui, host, config, options)?;
    let (python, requirements) = contents(host, config, options)?;
    Ok(EnvironmentSpec {
        name,
        lifetime,
        engine: options
            .engine
            .clone()
            .unwrap_or_else(|| config.engine.to_string()),
        python,
        requirements,
        settings: settings(host, config, options, project)?,
    })
}

/// An environment to be made of what is there: what it is to be like is asked for as of any other.
pub(crate) fn fork(
    ui: &Ui,
    host: &Host,
    config: &Config,
    name: Name,
    options: &EnvironmentOptions,
) -> Result<Fork, CliError> {
    let project = project(ui, host, config, options)?;
    Ok(Fork {
        name: Some(name),
        lifetime: Lifetime::Detached,
        engine: options.engine.clone(),
        settings: Some(settings(host, config, options, project)?),
        labels: options.labels.labels(),
    })
}

/// How a package is unpacked: as an environment that is made here without options.
pub(crate) fn import(
    ui: &Ui,
    host: &Host,
    config: &Config,
    name: Option<Name>,
) -> Result<Import, CliError> {
    let options = EnvironmentOptions::default();
    let project = project(ui, host, config, &options)?;
    Ok(Import {
        name,
        settings: settings(host, config, &options, project)?,
    })
}

/// The interpreter asked for, and what is to be installed.
pub(crate) fn contents(
    host: &Host,
    config: &Config,
    options: &EnvironmentOptions,
) -> Result<(Option<String>, Requirements), CliError> {
    let requirements = Requirements {
        pip: *config.pip && !options.no_pip,
        ..requirements(host, &options.with, &options.files)?
    };
    Ok(((*config.python).clone(), requirements))
}

/// What is to be installed, besides pip. It is kept with the environment, so that every path in it is made absolute: a
/// later `ptest install` may be called from elsewhere.
pub(crate) fn requirements(
    host: &Host,
    specifiers: &[String],
    files: &FileOptions,
) -> Result<Requirements, CliError> {
    let absolute = |paths: &[PathBuf]| paths.iter().map(|path| host.absolute(path)).collect();
    Ok(Requirements {
        files: absolute(&files.files),
        constraints: absolute(&files.constraints),
        pip: true,
        ..Requirements::seen_from(&host.library(), specifiers, &files.editables)?
    })
}

/// Variables that are kept with an environment, which are text.
pub(crate) fn kept(
    variables: BTreeMap<OsString, OsString>,
) -> Result<Vec<(String, String)>, CliError> {
    let text = |value: OsString| {
        value.into_string().map_err(|value| CliError::Usage {
            message: format!("`{}` is not UTF-8", value.display()),
            hint: Some("`exec --env` takes any bytes"),
        })
    };
    variables
        .into_iter()
        .map(|(name, value)| Ok((text(name)?, text(value)?)))
        .collect()
}

fn settings(
    host: &Host,
    config: &Config,
    options: &EnvironmentOptions,
    project: Project,
) -> Result<Settings, CliError> {
    let absolute = |configured: &[PathBuf], asked: &[PathBuf]| -> Vec<PathBuf> {
        let asked = asked.iter().map(|path| host.absolute(path));
        configured.iter().cloned().chain(asked).collect()
    };
    let write = absolute(&config.write, &options.write);
    let read = absolute(&config.read, &options.read);
    let mut pass = config.pass.to_vec();
    pass.extend(options.pass.iter().cloned());
    let mut allow = config.allow.to_vec();
    allow.extend(options.allow.iter().cloned());
    let settings = Settings {
        profile: options.profile.or(*config.profile),
        network: options.network.or(*config.network),
        allow,
        home: home(host, config, options)?,
        write,
        scratch: options.scratch || *config.scratch,
        bind_sockets: absolute(&config.bind_socket, &options.bind_socket),
        degrade: options.degrade || *config.degrade,
        read,
        pass,
        variables: BTreeMap::clone(&config.env),
        ports: options.port.clone(),
        port_range: *config.port_range,
        ttl: options.ttl.or(*config.ttl).map(Timeout::duration),
        idle: options.idle.or(*config.idle).map(Timeout::duration),
        limits: limits(config, &options.limits),
        project,
        hard_links: *config.hard_links,
        git_identity: git::identity(&host.library()),
        labels: options.labels.labels(),
    };
    settings.check()?;
    Ok(settings)
}

fn limits(config: &Config, options: &LimitOptions) -> Limits {
    Limits {
        memory: options.memory.or(*config.memory).map(Size::bytes),
        cpus: options.cpus.or(*config.cpus),
        pids: options.pids.or(*config.pids).map(NonZeroU32::get),
        cpu_time: options.cpu_time.or(*config.cpu_time).map(Timeout::duration),
        open_files: options
            .open_files
            .or(*config.open_files)
            .map(NonZeroU32::get),
        file_size: options.file_size.or(*config.file_size).map(Size::bytes),
        disk: options.disk.or(*config.disk).map(Size::bytes),
    }
}

fn home(host: &Host, config: &Config, options: &EnvironmentOptions) -> Result<Home, CliError> {
    Ok(match options.home.as_ref().unwrap_or(&config.user_home) {
        UserHome::Private => Home::Private,
        UserHome::Host => Home::Path(host.home().ok_or(CliError::NoHome)?.to_owned()),
        UserHome::Path(path) => Home::Path(host.absolute(path)),
    })
}

/// The project that the caller stands in; says so if it will not be writable.
fn project(
    ui: &Ui,
    host: &Host,
    config: &Config,
    options: &EnvironmentOptions,
) -> Result<Project, CliError> {
    let directory = host
        .working_directory
        .as_deref()
        .ok_or(CliError::NoWorkingDirectory)?;
    let store = config.home.as_deref().ok_or(CliError::NoStore)?;
    let project = Project::find(directory, host.home(), store);
    let is_asked_for = |path: &PathBuf| project.root.starts_with(host.absolute(path));
    if let Some(guard) = project.guarded
        && !config.write.iter().chain(&options.write).any(is_asked_for)
    {
        ui.warning(guarded(&project.root, guard));
    }
    Ok(project)
}

fn guarded(root: &Path, guard: Guard) -> String {
    let root = root.display();
    let (because, instead) = match guard {
        // Inside there are others beside what is there, so that it can only be written in parts.
        Guard::FileSystemRoot => (
            "stays read-only, because it is the root of the file system",
            "`--write PATH` makes a directory in it writable",
        ),
        Guard::Home => (
            "stays read-only, because it is the home directory, or holds it",
            "`--write .` makes it writable",
        ),
        Guard::Store => (
            "stays read-only, because it holds ptest's store",
            "`--write .` makes it writable",
        ),
        Guard::Temporary => (
            "is not the machine's, but a private one, because it is for temporary files",
            "`--write .` brings the machine's",
        ),
        Guard::Kernel => (
            "is not the machine's, but a private one, because it is the kernel's",
            "`--write .` brings the machine's",
        ),
    };
    format!("{root} {because}; {instead}")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;
    use crate::host::Terminals;

    #[test]
    fn paths_are_kept_so_that_they_mean_the_same_from_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir(root.join("my project")).unwrap();
        fs::write(root.join("my project/pyproject.toml"), "").unwrap();
        let host = Host {
            variables: BTreeMap::new(),
            working_directory: Some(root.clone()),
            program: None,
            parent: None,
            user: 0,
            terminals: Terminals::default(),
        };
        let specifiers = [
            "requests==2.28.1",
            "./my project",
            "./my project[test,docs]",
        ]
        .map(str::to_owned);
        let files = FileOptions {
            editables: vec!["my project".to_owned()],
            ..FileOptions::default()
        };
        let kept = requirements(&host, &specifiers, &files).unwrap();
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
        let elsewhere = Host {
            working_directory: Some("/".into()),
            ..host
        };
        assert_eq!(
            requirements(&elsewhere, &kept.specifiers, &FileOptions::default())
                .unwrap()
                .specifiers,
            kept.specifiers
        );
    }

    #[test]
    fn what_could_be_an_option_is_no_requirement() {
        let host = Host {
            variables: BTreeMap::new(),
            working_directory: Some("/".into()),
            program: None,
            parent: None,
            user: 0,
            terminals: Terminals::default(),
        };
        for text in ["--help", "-r", "", "a\nb"] {
            assert!(
                requirements(&host, &[text.to_owned()], &FileOptions::default()).is_err(),
                "{text:?}"
            );
        }
    }
}
