//! What an instance shows of the host: its settings as a plan for the sandbox,
//! and where things are for a command in it.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use ptest_sandbox::plan::Upper;
use ptest_sandbox::profile::{self, Scratch, Stack};
use ptest_sandbox::{Level, Mount, Plan, Shape, proxy};
use ptest_store::Store;

use super::directory::Directory;
use super::driver::Driver;
use super::lowers;
use crate::engine::Instance;
use crate::error::{Error, ErrorKind, Result};
use crate::project::Guard;
use crate::settings::{Home, Network, Profile};

/// A plan, and what it is of.
pub(super) struct Root {
    pub(super) plan: Plan,
    pub(super) profile: Profile,
    pub(super) network: Network,
    /// What was asked for and is not to be had, each a sentence for people.
    pub(super) given_up: Vec<String>,
}

/// The directories of the host in which what is written does not get there.
pub(super) fn scratch(instance: &Instance) -> Vec<PathBuf> {
    let project = &instance.settings.project;
    if !instance.settings.scratch || project.guarded.is_some() {
        return Vec::new();
    }
    let all = [&project.root].into_iter().chain(&project.git_common_dir);
    all.cloned().collect()
}

/// Where things are for a command in an instance.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    pub(super) prefix: PathBuf,
    pub(super) home: PathBuf,
    pub(super) cache: PathBuf,
    pub(super) temporary: PathBuf,
    pub(super) runtime: Option<PathBuf>,
    /// Where a ptest inside keeps its store: on the disk, for on an overlay no overlay can be mounted.
    pub(super) store: Option<PathBuf>,
    /// The port of the way to the hosts that are allowed.
    pub(super) proxy: Option<u16>,
}

impl Inside {
    /// The places of an instance, by its driver.
    pub(super) fn of(
        store: &Store,
        directory: &Directory,
        instance: &Instance,
        driver: &Driver,
    ) -> Result<Self> {
        let (private_home, inside) = match driver {
            Driver::Overlay => (
                PathBuf::from(profile::HOME),
                Self {
                    prefix: profile::ENVIRONMENT.into(),
                    home: PathBuf::new(),
                    cache: profile::CACHE.into(),
                    temporary: "/tmp".into(),
                    runtime: Some(runtime_directory()),
                    store: (instance.settings.home == Home::Private)
                        .then(|| Path::new(profile::HOME).join(".local/share/ptest")),
                    proxy: (!instance.settings.allow.is_empty()).then_some(proxy::PORT),
                },
            ),
            Driver::Clone { .. } => (
                directory.home(),
                Self {
                    prefix: directory.tree(),
                    home: PathBuf::new(),
                    cache: cache(store, directory, instance)?,
                    temporary: directory.temporary(),
                    runtime: None,
                    store: None,
                    proxy: None,
                },
            ),
        };
        let home = match &instance.settings.home {
            Home::Private => private_home,
            Home::Path(path) => path.clone(),
        };
        Ok(Self { home, ..inside })
    }
}

/// The plan of an instance.
pub(super) fn plan(
    store: &Store,
    directory: &Directory,
    instance: &Instance,
    driver: &Driver,
) -> Result<Root> {
    check_interpreter(store, instance)?;
    match driver {
        Driver::Overlay => isolated(store, directory, instance),
        Driver::Clone { .. } => bare(store, directory, instance),
    }
}

fn bare(store: &Store, directory: &Directory, instance: &Instance) -> Result<Root> {
    let mut given_up = Vec::new();
    let settings = &instance.settings;
    let mut lack = |what: String| {
        if settings.degrade {
            given_up.push(format!("{what} is not to be had without isolation"));
            return Ok(());
        }
        let message = format!("{what} is not to be had with the profile `none`");
        let hint = "use `--profile standard` or `strict`, or `--degrade` to go without";
        Err(Error::new(ErrorKind::Unsupported, message).with_hint(hint))
    };
    if let Some(network @ (Network::None | Network::Private)) = settings.network {
        lack(format!("the network `{network}`"))?;
    }
    if settings.scratch {
        lack("a project that only seems to be written".to_owned())?;
    }
    if !settings.allow.is_empty() {
        lack("a choice of hosts".to_owned())?;
    }
    cache(store, directory, instance)?;
    Ok(Root {
        plan: Plan::bare(),
        profile: Profile::None,
        network: Network::Host,
        given_up,
    })
}

fn isolated(store: &Store, directory: &Directory, instance: &Instance) -> Result<Root> {
    let settings = &instance.settings;
    let profile = settings.profile.unwrap_or(Profile::Standard);
    let network = settings.network_under(profile)?;
    let project = &settings.project;
    let mut write = settings.write.clone();
    let mut read = instance.interpreter.clone();
    read.extend(settings.read.iter().cloned());
    let mut extra = Vec::new();
    match project.guarded {
        None => {
            check_project(&project.root)?;
            if !settings.scratch {
                write.push(project.root.clone());
                write.extend(project.git_common_dir.clone());
            }
        }
        // Commands start there, so it is there even if nothing of it is seen.
        Some(Guard::Home | Guard::Store) if profile == Profile::Strict => {
            extra.push(Mount::Directory {
                path: project.root.clone(),
                mode: 0o755,
            });
        }
        // And it is seen even where it lies below a private place.
        Some(Guard::Home | Guard::Store) => read.push(project.root.clone()),
        // What commands see there is their own.
        Some(Guard::FileSystemRoot | Guard::Temporary | Guard::Kernel) => {}
    }
    for socket in &settings.bind_sockets {
        check_socket(socket)?;
        write.push(socket.clone());
    }
    let scratch = scratch(instance).into_iter().enumerate();
    let scratch = scratch.map(|(number, path)| Scratch {
        path,
        upper: directory.scratch(number),
    });
    let home = match &settings.home {
        Home::Private => profile::Home::Directory(directory.home()),
        Home::Path(path) => {
            write.push(path.clone());
            profile::Home::Host
        }
    };
    let shape = Shape {
        level: match profile {
            Profile::Strict => Level::Strict,
            Profile::None | Profile::Standard => Level::Standard,
        },
        network: match network {
            Network::Host => ptest_sandbox::Network::Host,
            Network::None => ptest_sandbox::Network::None,
            Network::Private => ptest_sandbox::Network::Private,
        },
        hostname: Some(hostname(instance)),
        read,
        write,
        scratch: scratch.collect(),
        hide: vec![store.home().to_owned()],
        home,
        cache: Some(cache(store, directory, instance)?),
        environment: Some(Stack {
            lowers: lowers::of(store, &instance.stack)?,
            upper: Some(Upper {
                directory: directory.upper(instance.generation),
                work: directory.work(instance.generation),
            }),
        }),
        aliases: vec![directory.view()],
        runtime_directory: Some(runtime_directory()),
        extra,
        ..Shape::default()
    };
    Ok(Root {
        plan: shape.plan()?,
        profile,
        network,
        given_up: Vec::new(),
    })
}

fn check_socket(path: &Path) -> Result<()> {
    let failed = |source| Error::io(format!("look at the socket {}", path.display()), source);
    let kind = fs::metadata(path).map_err(failed)?.file_type();
    if kind.is_socket() {
        return Ok(());
    }
    let message = format!("{} is no socket", path.display());
    Err(Error::new(ErrorKind::InvalidInput, message)
        .with_hint("`--read` and `--write` are for files and directories"))
}

/// Without its interpreter the environment's `python` leads nowhere, and a search of PATH would go
/// on to another one, outside of the environment.
fn check_interpreter(store: &Store, instance: &Instance) -> Result<()> {
    let Some(skeleton) = instance.stack.layers().first() else {
        return Ok(());
    };
    match fs::read_link(store.layer_path(skeleton).join("bin/python")) {
        Ok(target) if target.is_absolute() && !target.exists() => Err(gone(
            "interpreter",
            &target,
            "install it there again, or make a new environment with another one",
        )),
        _ => Ok(()),
    }
}

fn check_project(root: &Path) -> Result<()> {
    if root.exists() {
        return Ok(());
    }
    Err(gone(
        "project directory",
        root,
        "move it back, or make a new environment where it is now",
    ))
}

fn gone(what: &str, path: &Path, hint: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("the environment's {what} is gone: {}", path.display()),
    )
    .with_hint(hint)
}

/// Linux ends host names at 64 bytes; an id is half of that.
fn hostname(instance: &Instance) -> String {
    format!("ptest-{}", &instance.id.as_str()[1..9])
}

/// The user's runtime directory inside.
fn runtime_directory() -> PathBuf {
    PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()))
}

/// The name of the caches that an instance shares; `None` if it has its own.
pub(super) fn shared_cache(instance: &Instance) -> Option<&str> {
    let is_trusted = instance.settings.profile != Some(Profile::Strict);
    instance.cache.as_deref().filter(|_| is_trusted)
}

/// The directory of caches, which instances of one recipe share unless nobody trusts them, made on first use.
fn cache(store: &Store, directory: &Directory, instance: &Instance) -> Result<PathBuf> {
    let cache = match shared_cache(instance) {
        Some(shared) => store.dir("caches")?.join(shared),
        None => directory.cache(),
    };
    fs::create_dir_all(&cache)
        .map_err(|source| Error::io(format!("create {}", cache.display()), source))?;
    Ok(cache)
}
