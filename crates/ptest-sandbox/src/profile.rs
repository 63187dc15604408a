//! The profile `standard`: a private, reproducible view of this host.
//!
//! The host's files are there but cannot be written; what programs leave around (temporary files,
//! sockets, devices, processes) is private. This computes the [`Plan`] and looks at the host for
//! that; it changes nothing. Nothing here knows why a path is to be read, written or hidden.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::error::{Error, Result};
use crate::plan::{Access, Isolation, Mount, Overlay, Plan, Privileges, Source, Upper};

/// Where the environment's own tree is, in every sandbox.
pub const ENVIRONMENT: &str = "/ptest/env";
/// The private home directory.
pub const HOME: &str = "/ptest/home";
/// Where caches are kept.
pub const CACHE: &str = "/ptest/cache";

/// Directories whose contents are private, so that nothing of the host is seen in them.
const COVERED: [&str; 5] = ["/dev", "/proc", "/run", "/tmp", "/var/tmp"];
/// Entries of the root that are made anew.
const OWN_ENTRIES: [&str; 6] = ["dev", "proc", "ptest", "run", "sys", "tmp"];
/// The devices that every program may expect.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];
/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, and SETFCAP: without the last one
/// root could not map itself into a nested user namespace, which browsers and bubblewrap do.
const ROOT_CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 31;
/// What in `/proc` acts on the whole machine, and is root's to write even in a namespace.
const MACHINE_WIDE: [&str; 8] = [
    "/proc/acpi",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/mtrr",
    "/proc/scsi",
    "/proc/sys",
    "/proc/sysrq-trigger",
];
/// What in `/proc` tells root about the whole machine's memory and keys.
const SECRET: [&str; 4] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
];

/// What a standard sandbox shows beyond its defaults. All paths are absolute paths of the host.
///
/// Of two paths that concern the same file the longer one decides; of equal ones hiding goes
/// before writing, and writing before reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standard {
    /// The host name inside; the host's own without one.
    pub hostname: Option<String>,
    /// What must be visible though it lies in a private or hidden place. Left out and reported
    /// when it cannot be read.
    pub read: Vec<PathBuf>,
    /// What can be written.
    pub write: Vec<PathBuf>,
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

impl Standard {
    /// The plan for this host as it is now.
    pub fn plan(&self) -> Result<Plan> {
        let root = geteuid().is_root();
        let mut mounts = host_entries()?;
        mounts.extend(self.private_places(root));
        mounts.extend(self.rules()?);
        mounts.extend(self.own_places());
        mounts.extend(self.extra.iter().cloned());
        Ok(Plan {
            isolation: Isolation::Namespaces,
            hostname: self.hostname.clone(),
            mounts,
            privileges: Privileges {
                capabilities: Some(if root { ROOT_CAPABILITIES } else { 0 }),
                no_new_privileges: true,
                filter_system_calls: true,
            },
        })
    }

    /// Everything that every sandbox has for itself.
    fn private_places(&self, root: bool) -> Vec<Mount> {
        // The devices first: files are hidden behind /dev/null.
        let mut mounts = devices();
        mounts.extend([
            Mount::same("/sys", Access::ReadOnly).or_left_out(),
            Mount::Hide {
                target: "/sys/fs/cgroup".into(),
            },
            Mount::Proc {
                target: "/proc".into(),
            },
        ]);
        if root {
            // For root only: after this a nested fresh procfs is refused.
            mounts.extend(MACHINE_WIDE.map(|path| Mount::ReadOnly {
                target: path.into(),
            }));
            mounts.extend(SECRET.map(|path| Mount::Hide {
                target: path.into(),
            }));
        }
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
        // Often a link into a private place.
        let resolver = fs::canonicalize("/etc/resolv.conf").ok();
        let covered = resolver.filter(|path| is_below_any(path, &COVERED));
        mounts.extend(covered.map(|path| Mount::same(path, Access::ReadOnly).or_left_out()));
        mounts
    }

    /// The paths to read, write and hide, from the shortest to the longest.
    fn rules(&self) -> Result<Vec<Mount>> {
        let mut rules = Vec::new();
        for path in &self.read {
            // What does not exist stays in the list, to be reported as left out.
            let places = places(path).or_else(|error| match error {
                Error::Io { .. } => Ok(vec![path.clone()]),
                other => Err(other),
            })?;
            rules.extend(places.into_iter().map(|place| (place, Rule::Read)));
        }
        for path in &self.write {
            rules.extend(places(path)?.into_iter().map(|place| (place, Rule::Write)));
        }
        for path in &self.hide {
            let place = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            rules.push((place, Rule::Hide));
        }
        rules.sort_by_key(|(path, rule)| (path.components().count(), *rule));
        rules.dedup();

        let mut mounts = Vec::new();
        let mut changed: Vec<&Path> = COVERED.iter().map(Path::new).collect();
        for (path, rule) in &rules {
            match rule {
                Rule::Read if !is_below_any(path, &changed) => continue,
                Rule::Read => mounts.push(Mount::same(path, Access::ReadOnly).or_left_out()),
                Rule::Write => mounts.push(Mount::same(path, Access::ReadWrite)),
                Rule::Hide => mounts.push(Mount::Hide {
                    target: path.clone(),
                }),
            }
            changed.push(path);
        }
        Ok(mounts)
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
            Home::Directory(path) => mounts.push(Mount::bind(path, HOME, Access::ReadWrite)),
            Home::Host => {}
        }
        mounts.extend(
            self.cache
                .iter()
                .map(|path| Mount::bind(path, CACHE, Access::ReadWrite)),
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

/// What is done with a path. Later ones go over earlier ones of the same path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Read,
    Write,
    Hide,
}

/// The host's root, entry by entry, so that there can be others beside them.
fn host_entries() -> Result<Vec<Mount>> {
    let failed = |source: io::Error| Error::Io {
        action: "list",
        path: "/".into(),
        source,
    };
    let mut mounts = Vec::new();
    for entry in fs::read_dir("/").map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if OWN_ENTRIES.iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        let path = entry.path();
        let is_link = entry.file_type().map_err(failed)?.is_symlink();
        mounts.push(match fs::read_link(&path) {
            Ok(target) if is_link => Mount::Symlink { path, target },
            _ => Mount::same(path, Access::ReadOnly).or_left_out(),
        });
    }
    Ok(mounts)
}

fn devices() -> Vec<Mount> {
    let mut mounts = vec![Mount::Tmpfs {
        target: "/dev".into(),
        size: Some(1 << 20),
        mode: 0o755,
        read_only: true,
    }];
    mounts.extend(DEVICES.map(|name| {
        let path = Path::new("/dev").join(name);
        Mount::Bind {
            source: Source::Host(path.clone()),
            target: path,
            access: Access::ReadWrite,
            devices: true,
            optional: true,
        }
    }));
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ];
    mounts.extend(links.map(|(path, target)| Mount::Symlink {
        path: path.into(),
        target: target.into(),
    }));
    mounts.push(Mount::DevPts {
        target: "/dev/pts".into(),
    });
    mounts
}

/// Where a path must appear so that it is found as it was given: where it really is, and, when it
/// leads there from a private place, there too.
fn places(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_absolute() || path == Path::new("/") {
        return Err(Error::Invalid {
            what: "path",
            value: path.into(),
        });
    }
    let real = fs::canonicalize(path).map_err(|source| Error::Io {
        action: "find",
        path: path.to_owned(),
        source,
    })?;
    let mut places = vec![real];
    if places[0] != path && is_below_any(path, &COVERED) {
        places.push(path.to_owned());
    }
    Ok(places)
}

fn is_below_any<P: AsRef<Path>>(path: &Path, places: &[P]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(standard: &Standard) -> Vec<Mount> {
        standard.rules().unwrap()
    }

    #[test]
    fn the_longer_path_decides_whatever_the_order_it_was_given_in() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (outer, inner) = (root.join("a"), root.join("a/b"));
        fs::create_dir_all(&inner).unwrap();
        let standard = Standard {
            read: vec![inner.clone()],
            write: vec![outer.clone()],
            ..Standard::default()
        };
        let expected = [
            Mount::same(&outer, Access::ReadWrite),
            Mount::same(&inner, Access::ReadOnly).or_left_out(),
        ];
        assert_eq!(rules(&standard), expected);

        let standard = Standard {
            read: vec![inner.clone()],
            hide: vec![outer.clone()],
            ..Standard::default()
        };
        assert_eq!(rules(&standard)[0], Mount::Hide { target: outer });
        assert_eq!(
            rules(&standard)[1],
            Mount::same(inner, Access::ReadOnly).or_left_out()
        );
    }

    #[test]
    fn what_is_visible_anyway_is_not_bound_again() {
        let standard = Standard {
            read: vec!["/usr".into()],
            ..Standard::default()
        };
        assert!(rules(&standard).is_empty());
    }

    #[test]
    fn the_root_and_relative_paths_cannot_be_written() {
        for path in ["/", "relative", ""] {
            let standard = Standard {
                write: vec![path.into()],
                ..Standard::default()
            };
            assert!(
                matches!(standard.rules(), Err(Error::Invalid { .. })),
                "{path:?}"
            );
        }
    }

    #[test]
    fn a_link_in_a_private_place_leads_where_it_led() {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/usr", &link).unwrap();
        let standard = Standard {
            read: vec![link.clone()],
            ..Standard::default()
        };
        assert_eq!(
            rules(&standard),
            [Mount::same(link, Access::ReadOnly).or_left_out()]
        );
    }
}
