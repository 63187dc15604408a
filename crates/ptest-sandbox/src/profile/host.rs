//! What a sandbox shows of the host before anything is asked for: its files, its devices, its kernel.

use std::fs;
use std::io;
use std::path::Path;

use super::Level;
use crate::error::{Error, Result};
use crate::plan::{Access, Mount, Source};

/// Directories whose contents are private, so that nothing of the host is seen in them.
pub(super) const COVERED: [&str; 5] = ["/dev", "/proc", "/run", "/tmp", "/var/tmp"];
/// Entries of the root that are made anew.
const OWN_ENTRIES: [&str; 6] = ["dev", "proc", "ptest", "run", "sys", "tmp"];
/// Where systems keep their programs and libraries; all that untrusted code sees of the host's root, besides what of
/// `/etc` is listed.
const SYSTEM: [&str; 8] = [
    "/bin", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/sbin", "/usr",
];
/// What programs look up, and holds no secret: names, certificates, and how programs are found and text is shown.
const SYSTEM_SETTINGS: [&str; 29] = [
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "locale.gen",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];
/// What programs ask about the processors, to know how many threads to start.
const TOPOLOGY: [&str; 2] = ["/sys/devices/system/cpu", "/sys/devices/system/node"];
/// The devices that every program may expect.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];
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

/// Whether a path of the host is seen at that level without being asked for.
pub(super) fn shows(level: Level, path: &Path) -> bool {
    let shown = match level {
        Level::Standard => true,
        Level::Strict => is_below_any(path, &SYSTEM),
    };
    shown && !is_below_any(path, &COVERED)
}

pub(super) fn is_below_any<P: AsRef<Path>>(path: &Path, places: &[P]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

/// The host's root, entry by entry, so that there can be others beside them.
pub(super) fn entries(level: Level) -> Result<Vec<Mount>> {
    let failed = |source: io::Error| Error::Io {
        action: "list",
        path: "/".into(),
        source,
    };
    let mut mounts = Vec::new();
    for entry in fs::read_dir("/").map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let is_own = OWN_ENTRIES.iter().any(|own| entry.file_name() == *own);
        if is_own || !shows(level, &path) {
            continue;
        }
        let is_link = entry.file_type().map_err(failed)?.is_symlink();
        mounts.push(match fs::read_link(&path) {
            Ok(target) if is_link => Mount::Symlink { path, target },
            _ => Mount::same(path, Access::ReadOnly).or_left_out(),
        });
    }
    if level == Level::Strict {
        mounts.extend(settings());
    }
    Ok(mounts)
}

/// What is listed of `/etc`, each as what it is: links there lead from one into the other.
fn settings() -> Vec<Mount> {
    let there = SYSTEM_SETTINGS.iter().filter_map(|name| {
        let path = Path::new("/etc").join(name);
        let kind = fs::symlink_metadata(&path).ok()?.file_type();
        Some(match fs::read_link(&path) {
            Ok(target) if kind.is_symlink() => Mount::Symlink { path, target },
            _ => {
                let real = fs::canonicalize(&path).ok()?;
                Mount::bind(real, path, Access::ReadOnly).or_left_out()
            }
        })
    });
    there.collect()
}

/// `/sys` and `/proc`: as much as programs need, and nothing that acts on the machine.
pub(super) fn kernel(level: Level, root: bool) -> Vec<Mount> {
    let mut mounts = match level {
        Level::Standard => vec![
            Mount::same("/sys", Access::ReadOnly).or_left_out(),
            Mount::Hide {
                target: "/sys/fs/cgroup".into(),
            },
        ],
        Level::Strict => TOPOLOGY
            .map(|path| Mount::same(path, Access::ReadOnly).or_left_out())
            .into(),
    };
    mounts.push(Mount::Proc {
        target: "/proc".into(),
    });
    // For an ordinary user the kernel guards them, and after this a nested fresh procfs is refused.
    if root || level == Level::Strict {
        mounts.extend(MACHINE_WIDE.map(|path| Mount::ReadOnly {
            target: path.into(),
        }));
        mounts.extend(SECRET.map(|path| Mount::Hide {
            target: path.into(),
        }));
    }
    mounts
}

pub(super) fn devices() -> Vec<Mount> {
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
