//! The two shapes of a sandbox: a private, reproducible view of this host, and as little of it as programs can do with.
//!
//! What programs leave around (temporary files, sockets, devices, processes) is private in both. This computes the
//! [`Plan`] and looks at the host for that; it changes nothing. Nothing here knows why a path is to be read, written or
//! hidden.

mod host;
mod mirror;
mod rules;

pub use self::mirror::{Mirror, Writes};

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::error::Result;
use crate::plan::{
    Access, Isolation, Mount, Network, Overlay, Plan, Privileges, Root, Source, SystemCalls, Upper,
};

/// Where the environment's own tree is, in every sandbox.
pub const ENVIRONMENT: &str = "/ptest/env";
/// The private home directory.
pub const HOME: &str = "/ptest/home";
/// Where caches are kept.
pub const CACHE: &str = "/ptest/cache";

/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, and SETFCAP: without the last one
/// root could not map itself into a nested user namespace, which browsers and bubblewrap do.
const ROOT_CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 31;

/// How much of the host a sandbox shows and lets be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The host's files can be read and programs find what they expect, nested sandboxes included; nothing outside can
    /// be changed but what is asked for.
    #[default]
    Standard,
    /// For code that nobody trusts: the system's programs and libraries, and what is asked for. No capabilities even for
    /// root, the system calls of ordinary programs, no namespaces inside, Landlock.
    Strict,
}

/// What a sandbox is to be like. All paths are absolute paths of the host.
///
/// Of two paths that concern the same file the longer one decides; of equal ones hiding goes before seeming to be writable,
/// that before writing, and writing before reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How much of the host it shows.
    pub level: Level,
    /// What it has of a network.
    pub network: Network,
    /// The host name inside; the host's own without one.
    pub hostname: Option<String>,
    /// What must be visible though it lies in a private or hidden place. Left out and reported
    /// when it cannot be read.
    pub read: Vec<PathBuf>,
    /// What can be written.
    pub write: Vec<PathBuf>,
    /// What seems to be writable: what is written is kept elsewhere. What is mounted below is not seen.
    pub scratch: Vec<Scratch>,
    /// What cannot be seen.
    pub hide: Vec<PathBuf>,
    /// The home directory.
    pub home: Home,
    /// A directory of the host that appears, writable, at [`CACHE`].
    pub cache: Option<PathBuf>,
    /// The stack that appears at [`ENVIRONMENT`].
    pub environment: Option<Stack>,
    /// Further paths at which the environment's tree appears.
    pub aliases: Vec<PathBuf>,
    /// The user's runtime directory inside, a private one below `/run`.
    pub runtime_directory: Option<PathBuf>,
    /// Most bytes of each private temporary directory; half of the memory without it.
    pub temporary_size: Option<u64>,
    /// Further steps, carried out last.
    pub extra: Vec<Mount>,
}

/// A directory of the host that seems to be writable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// The directory.
    pub path: PathBuf,
    /// Where what is written is kept.
    pub upper: Upper,
}

/// The home directory of a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Home {
    /// An empty one in memory, at [`HOME`].
    #[default]
    Private,
    /// A directory of the host that appears at [`HOME`].
    Directory(PathBuf),
    /// The host's, as readable and writable as any other path.
    Host,
}

/// A stack of directories; see [`Overlay`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// Immutable directories, the bottom one first.
    pub lowers: Vec<PathBuf>,
    /// Where changes go.
    pub upper: Option<Upper>,
}

impl Level {
    fn privileges(self, root: bool) -> Privileges {
        match self {
            Self::Standard => Privileges {
                capabilities: Some(if root { ROOT_CAPABILITIES } else { 0 }),
                no_new_privileges: true,
                system_calls: SystemCalls::OfTheSandbox,
                no_nested_namespaces: false,
                landlock: false,
            },
            Self::Strict => Privileges {
                capabilities: Some(0),
                no_new_privileges: true,
                system_calls: SystemCalls::Ordinary,
                no_nested_namespaces: true,
                landlock: true,
            },
        }
    }
}

impl Shape {
    /// The plan for this host as it is now.
    pub fn plan(&self) -> Result<Plan> {
        let root = geteuid().is_root();
        let mut mounts = host::entries(self.level)?;
        mounts.extend(self.private_places(root));
        mounts.extend(rules::of(self)?);
        mounts.extend(self.own_places());
        mounts.extend(self.extra.iter().cloned());
        let is_strict = self.level == Level::Strict;
        Ok(Plan {
            isolation: Isolation::Namespaces {
                network: self.network,
                control_groups: is_strict,
            },
            hostname: self.hostname.clone(),
            root: Root::Empty,
            mounts,
            discarded_size: None,
            privileges: self.level.privileges(root),
        })
    }

    /// Everything that every sandbox has for itself.
    fn private_places(&self, root: bool) -> Vec<Mount> {
        // The devices first: files are hidden behind /dev/null.
        let mut mounts = host::devices();
        mounts.extend(host::kernel(self.level, root));
        let private = |target: &str, mode| Mount::Tmpfs {
            target: target.into(),
            size: self.temporary_size,
            mode,
            read_only: false,
        };
        mounts.push(private("/dev/shm", 0o1777));
        mounts.push(private("/tmp", 0o1777));
        if Path::new("/var/tmp").is_dir() {
            mounts.push(private("/var/tmp", 0o1777));
        }
        mounts.push(private("/run", 0o755));
        if let Some(directory) = &self.runtime_directory {
            mounts.push(Mount::Directory {
                path: directory.clone(),
                mode: 0o700,
            });
        }
        if self.network == Network::Host {
            // Often a link into a private place.
            let resolver = fs::canonicalize("/etc/resolv.conf").ok();
            let covered = resolver.filter(|path| !host::shows(self.level, path));
            mounts.extend(covered.map(|path| Mount::same(path, Access::ReadOnly).or_left_out()));
        }
        mounts
    }

    /// What lies below `/ptest`.
    fn own_places(&self) -> Vec<Mount> {
        let mut mounts = Vec::new();
        match &self.home {
            Home::Private => mounts.push(Mount::Tmpfs {
                target: HOME.into(),
                size: self.temporary_size,
                mode: 0o700,
                read_only: false,
            }),
            Home::Directory(path) => {
                mounts.push(Mount::bind(real(path), HOME, Access::ReadWrite));
            }
            Home::Host => {}
        }
        mounts.extend(
            self.cache
                .iter()
                .map(|path| Mount::bind(real(path), CACHE, Access::ReadWrite)),
        );
        if let Some(stack) = &self.environment {
            mounts.push(Mount::Overlay(Overlay {
                lowers: stack.lowers.clone(),
                upper: stack.upper.clone(),
                target: ENVIRONMENT.into(),
            }));
        }
        mounts.extend(self.aliases.iter().map(|alias| Mount::Bind {
            source: Source::Inside(ENVIRONMENT.into()),
            target: alias.clone(),
            access: Access::ReadWrite,
            devices: false,
            optional: false,
        }));
        mounts
    }
}

/// Where a path really is. One that is not there stays as it is, to be named when it is missed.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
