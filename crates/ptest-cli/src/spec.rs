//! From options and configuration to what the library is asked for. Where both say something the option counts; what
//! can be given several times adds up.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use ptest::{
    Asked, EnvironmentSpec, Fork, Import, Lifetime, Name, Requirements,
    config::{Config, Origin, Setting, UserHome},
    project::Guard,
    settings::Settings,
};

use crate::{
    error::CliError,
    host::Host,
    options::{EnvironmentOptions, FileOptions},
    ui::Ui,
};

/// An environment to be made. Says so if commands will not be able to write the project.
pub(crate) fn environment(
    ui: &Ui,
    host: &Host,
    config: &Config,
    name: Option<Name>,
    lifetime: Lifetime,
    options: &EnvironmentOptions,
) -> Result<EnvironmentSpec, CliError> {
    let asked = asked(host, config, options);
    let seen = host.library();
    let spec = asked.environment(&seen, &seen, name, lifetime)?;
    warn(ui, host, &spec.settings)?;
    Ok(spec)
}

/// An environment to be made of what is there: what it is to be like is asked for as of any other.
pub(crate) fn fork(
    ui: &Ui,
    host: &Host,
    config: &Config,
    name: Name,
    options: &EnvironmentOptions,
) -> Result<Fork, CliError> {
    let asked = asked(host, config, options);
    let settings = asked.settings(&host.library())?;
    warn(ui, host, &settings)?;
    Ok(Fork {
        name: Some(name),
        lifetime: Lifetime::Detached,
        engine: options.engine.clone(),
        settings: Some(settings),
        labels: asked.labels,
    })
}

/// How a package is unpacked: as an environment that is made here without options.
pub(crate) fn import(
    ui: &Ui,
    host: &Host,
    config: &Config,
    name: Option<Name>,
) -> Result<Import, CliError> {
    let settings = Asked::new(config.clone()).settings(&host.library())?;
    warn(ui, host, &settings)?;
    Ok(Import { name, settings })
}

/// What is to be installed, besides pip, by a command that changes what is there.
pub(crate) fn requirements(
    host: &Host,
    specifiers: &[String],
    files: &FileOptions,
) -> Result<Requirements, CliError> {
    let options = EnvironmentOptions {
        with: specifiers.to_vec(),
        files: files.clone(),
        ..EnvironmentOptions::default()
    };
    Ok(asked(host, &Config::default(), &options).installed(&host.library())?)
}

/// The configuration with what the options say.
pub(crate) fn asked(host: &Host, config: &Config, options: &EnvironmentOptions) -> Asked {
    let mut config = config.clone();
    let absolute = |paths: &[PathBuf]| -> Vec<PathBuf> {
        paths.iter().map(|path| host.absolute(path)).collect()
    };
    // Exhaustive, so that no option is forgotten.
    let EnvironmentOptions {
        with,
        files,
        no_pip,
        engine,
        profile,
        network,
        allow,
        alert,
        home,
        write,
        read,
        bind_socket,
        scratch,
        degrade,
        ttl,
        idle,
        pass,
        port,
        labels,
        limits,
        refresh: _,
    } = options;
    add(&mut config.allow, allow.clone());
    add(&mut config.alerts, alert.clone());
    add(&mut config.write, absolute(write));
    add(&mut config.read, absolute(read));
    add(&mut config.bind_socket, absolute(bind_socket));
    add(&mut config.pass, pass.clone());
    set(&mut config.engine, engine.clone());
    set(&mut config.profile, profile.map(Some));
    set(&mut config.network, network.map(Some));
    set(&mut config.pip, no_pip.then_some(false));
    set(&mut config.scratch, scratch.then_some(true));
    set(&mut config.degrade, degrade.then_some(true));
    set(&mut config.ttl, ttl.map(Some));
    set(&mut config.idle, idle.map(Some));
    let home = home.clone().map(|home| match home {
        UserHome::Path(path) => UserHome::Path(host.absolute(&path)),
        word => word,
    });
    set(&mut config.user_home, home);
    set(&mut config.memory, limits.memory.map(Some));
    set(&mut config.cpus, limits.cpus.map(Some));
    set(&mut config.pids, limits.pids.map(Some));
    set(&mut config.cpu_time, limits.cpu_time.map(Some));
    set(&mut config.open_files, limits.open_files.map(Some));
    set(&mut config.file_size, limits.file_size.map(Some));
    set(&mut config.disk, limits.disk.map(Some));
    Asked {
        with: with.clone(),
        requirements: absolute(&files.files),
        editables: files.editables.clone(),
        constraints: absolute(&files.constraints),
        ports: port.clone(),
        labels: labels.labels(),
        ..Asked::new(config)
    }
}

/// What an option says counts.
fn set<T>(setting: &mut Setting<T>, option: Option<T>) {
    setting.replace(option, Origin::OPTION);
}

/// What options say comes to what is configured.
fn add<T: Clone>(setting: &mut Setting<Vec<T>>, options: Vec<T>) {
    if !options.is_empty() {
        let all = setting.iter().cloned().chain(options).collect();
        setting.replace(Some(all), Origin::OPTION);
    }
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

/// Says so if commands will not be able to write the project that the caller stands in.
pub(crate) fn warn(ui: &Ui, host: &Host, settings: &Settings) -> Result<(), CliError> {
    if host.working_directory.is_none() {
        return Err(CliError::NoWorkingDirectory);
    }
    if let Some((root, guard)) = settings.unwritable() {
        ui.warning(guarded(root, guard));
    }
    Ok(())
}

fn guarded(root: &Path, guard: Guard) -> String {
    let instead = match guard {
        // Inside there are others beside what is there, so that it can only be written in parts.
        Guard::FileSystemRoot => "`--write PATH` makes a directory in it writable",
        Guard::Home | Guard::Store => "`--write .` makes it writable",
        Guard::Temporary | Guard::Kernel => "`--write .` brings the machine's",
    };
    format!("{} {}; {instead}", root.display(), guard.because())
}
