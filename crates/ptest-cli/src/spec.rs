//! From options and configuration to what the library is asked for. Where both say something the option counts; what
//! can be given several times adds up.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf};

use ptest::{
    EnvironmentName, EnvironmentSpec, Lifetime, Requirements,
    config::{Config, UserHome},
    project::Project,
    settings::{Home, Limits, Settings},
};

use crate::{
    error::CliError,
    host::Host,
    options::{EnvironmentOptions, FileOptions},
    ui::Ui,
};

/// An environment to be made.
pub(crate) fn environment(
    ui: &Ui,
    host: &Host,
    config: &Config,
    name: Option<EnvironmentName>,
    lifetime: Lifetime,
    options: &EnvironmentOptions,
) -> Result<EnvironmentSpec, CliError> {
    let project = project(ui, host, config, options)?;
    Ok(EnvironmentSpec {
        name,
        lifetime,
        engine: options
            .engine
            .clone()
            .unwrap_or_else(|| config.engine.to_string()),
        python: options.python.as_ref().or(config.python.as_ref()).cloned(),
        requirements: Requirements {
            pip: *config.pip && !options.no_pip,
            ..requirements(host, &options.with, &options.files)
        },
        settings: settings(host, config, options, project)?,
    })
}

/// What is to be installed, besides pip.
pub(crate) fn requirements(
    host: &Host,
    specifiers: &[String],
    files: &FileOptions,
) -> Requirements {
    let absolute = |paths: &[PathBuf]| paths.iter().map(|path| host.absolute(path)).collect();
    Requirements {
        specifiers: specifiers.to_vec(),
        editables: files.editables.clone(),
        files: absolute(&files.files),
        constraints: absolute(&files.constraints),
        pip: true,
    }
}

fn settings(
    host: &Host,
    config: &Config,
    options: &EnvironmentOptions,
    project: Project,
) -> Result<Settings, CliError> {
    let mut write = config.write.to_vec();
    write.extend(options.write.iter().map(|path| host.absolute(path)));
    let mut read = config.read.to_vec();
    read.extend(options.read.iter().map(|path| host.absolute(path)));
    let mut pass = config.pass.to_vec();
    pass.extend(options.pass.iter().cloned());
    Ok(Settings {
        profile: options.profile.or(*config.profile),
        network: options.network.unwrap_or(*config.network),
        home: home(host, config, options)?,
        write,
        read,
        pass,
        variables: BTreeMap::clone(&config.env),
        limits: Limits {
            pids: options.pids.or(*config.pids).map(NonZeroU32::get),
        },
        project,
        git_identity: None,
    })
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
        ui.warning(format_args!(
            "{} stays read-only, because {}; `--write .` makes it writable",
            project.root.display(),
            guard.as_str()
        ));
    }
    Ok(project)
}
