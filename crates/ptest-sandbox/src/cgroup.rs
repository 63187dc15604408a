//! Control groups that limit the number of processes of a sandbox.
//!
//! One group for each sandbox that has such a limit and cannot have it otherwise: joining one costs
//! milliseconds on version 1. Groups are removed by whoever ends the sandbox; [`remove`] is for
//! what a killed process left.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use crate::protocol::Confinement;

/// What our groups' names begin with.
const PREFIX: &str = "ptest-";
/// Init and the leaders of commands count too.
const OVERHEAD: u64 = 2;

/// Removes the group of a sandbox that has ended, if it had one.
pub fn remove(id: &str) {
    if !is_valid(id) {
        return;
    }
    for parent in parents() {
        // The kernel refuses to remove a group that has processes.
        let _absent = fs::remove_dir(parent.directory.join(format!("{PREFIX}{id}")));
    }
}

/// Why there can be no group.
#[derive(Debug)]
pub(crate) struct Unavailable(pub(crate) io::Error);

/// The group of one sandbox.
#[derive(Debug)]
pub(crate) struct Group {
    directory: PathBuf,
    /// Version 2 lets a process be born into a group by this.
    descriptor: Option<OwnedFd>,
}

impl Group {
    /// Makes a group that holds at most `limit` processes of commands.
    pub(crate) fn create(id: &str, limit: u64) -> Result<Self, Unavailable> {
        if !is_valid(id) {
            let message = "the sandbox has no id that can name a control group";
            return Err(Unavailable(io::Error::new(
                io::ErrorKind::InvalidInput,
                message,
            )));
        }
        let mut reason = io::Error::new(
            io::ErrorKind::Unsupported,
            "no control group of this process has the pids controller",
        );
        for parent in parents() {
            match Self::create_below(&parent, id, limit) {
                Ok(group) => return Ok(group),
                Err(error) => reason = error,
            }
        }
        Err(Unavailable(reason))
    }

    /// How init gets into the group.
    pub(crate) fn confinement(&self) -> Confinement {
        match self.descriptor {
            Some(_) => Confinement::Into,
            None => Confinement::Attach(self.directory.join("cgroup.procs")),
        }
    }

    /// The group's directory, for [`Confinement::Into`].
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor
            .as_ref()
            .map(|descriptor| descriptor.as_fd())
    }

    /// Removes the group. One that is still populated stays for [`remove`].
    pub(crate) fn remove(&self) {
        let _populated = fs::remove_dir(&self.directory);
    }

    fn create_below(parent: &Parent, id: &str, limit: u64) -> io::Result<Self> {
        if parent.version == Version::Two {
            enable_pids(&parent.directory)?;
        }
        let directory = parent.directory.join(format!("{PREFIX}{id}"));
        match fs::create_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        let fill = || -> io::Result<Option<OwnedFd>> {
            fs::write(directory.join("pids.max"), (limit + OVERHEAD).to_string())?;
            match parent.version {
                Version::One => Ok(None),
                Version::Two => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    Ok(Some(open(&directory, flags, Mode::empty())?))
                }
            }
        };
        match fill() {
            Ok(descriptor) => Ok(Self {
                directory,
                descriptor,
            }),
            Err(error) => {
                let _populated = fs::remove_dir(&directory);
                Err(error)
            }
        }
    }
}

/// Whether an id can be part of a group's name.
fn is_valid(id: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !id.is_empty() && id.len() <= 64 && id.bytes().all(valid)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A group in which ours can be made.
#[derive(Debug, PartialEq, Eq)]
struct Parent {
    version: Version,
    directory: PathBuf,
}

/// The groups in which ours can be made, the better ones first.
fn parents() -> Vec<Parent> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    find_parents(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
        .into_iter()
        .filter(|parent| {
            parent.version == Version::One
                || fs::read_to_string(parent.directory.join("cgroup.controllers"))
                    .is_ok_and(|list| list.split_ascii_whitespace().any(|one| one == "pids"))
        })
        .collect()
}

fn find_parents(memberships: &str, mounts: &str) -> Vec<Parent> {
    let mut found = Vec::new();
    for line in memberships.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let version = match controllers {
            "" => Version::Two,
            list if list.split(',').any(|one| one == "pids") => Version::One,
            _ => continue,
        };
        let Some(directory) = mounted_at(mounts, version, Path::new(path)) else {
            continue;
        };
        // A version 2 group that has processes cannot have groups with controllers below it,
        // unless it is the root; its parent can.
        let above = (version == Version::Two)
            .then(|| directory.parent().map(Path::to_owned))
            .flatten();
        found.push(Parent { version, directory });
        found.extend(above.map(|directory| Parent { version, directory }));
    }
    found.sort_by_key(|parent| parent.version == Version::One);
    found
}

/// Where a group's directory is mounted.
fn mounted_at(mounts: &str, version: Version, group: &Path) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let matches = match (version, kind.next()?) {
            (Version::Two, "cgroup2") => true,
            (Version::One, "cgroup") => kind.nth(1)?.split(',').any(|option| option == "pids"),
            _ => false,
        };
        let below = group.strip_prefix(root).ok()?;
        matches.then(|| Path::new(point).join(below))
    })
}

fn enable_pids(directory: &Path) -> io::Result<()> {
    let file = directory.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file)?;
    if enabled.split_ascii_whitespace().any(|one| one == "pids") {
        return Ok(());
    }
    fs::write(file, "+pids")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids
32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn both_versions_are_found_where_they_are_mounted_version_two_first() {
        let found = find_parents("8:pids:/a/b\n5:cpu:/\n0::/user/c\n", MOUNTS);
        let parent = |version, path: &str| Parent {
            version,
            directory: path.into(),
        };
        let expected = [
            parent(Version::Two, "/sys/fs/cgroup/unified/user/c"),
            parent(Version::Two, "/sys/fs/cgroup/unified/user"),
            parent(Version::One, "/sys/fs/cgroup/pids/a/b"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_mount_of_part_of_the_hierarchy_is_followed() {
        let mounts = "31 30 0:27 /docker/x /cg rw - cgroup cgroup rw,pids\n";
        let found = find_parents("8:pids:/docker/x/y\n", mounts);
        assert_eq!(
            found,
            [Parent {
                version: Version::One,
                directory: "/cg/y".into()
            }]
        );
    }

    #[test]
    fn an_id_that_is_a_path_is_refused() {
        for id in ["", "../x", "a/b", "a b"] {
            assert_eq!(
                Group::create(id, 1).unwrap_err().0.kind(),
                io::ErrorKind::InvalidInput
            );
        }
    }
}
