//! Where this process is in the machine's control groups, and so where it can make some.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a group can limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// Those that a list with this separator names.
    fn listed(list: &str, separator: char) -> Vec<Self> {
        let is_listed = |controller: &Self| {
            list.trim()
                .split(separator)
                .any(|one| one == controller.name())
        };
        Self::ALL.into_iter().filter(is_listed).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A group in which ours can be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    pub(super) directory: PathBuf,
    /// What groups in it can limit.
    pub(super) controllers: Vec<Controller>,
}

impl Hierarchy {
    /// Lets groups below this one of version 2 have these controllers.
    pub(super) fn hand_down(&self, controllers: &[Controller]) -> io::Result<()> {
        let file = self.directory.join("cgroup.subtree_control");
        let handed = Controller::listed(&fs::read_to_string(&file)?, ' ');
        for controller in controllers {
            if !handed.contains(controller) {
                fs::write(&file, format!("+{}", controller.name()))?;
            }
        }
        Ok(())
    }
}

/// The groups in which ours can be made, the better ones first.
pub(super) fn all() -> Vec<Hierarchy> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut found = find(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
    for hierarchy in &mut found {
        if hierarchy.version == Version::Two {
            let offered = fs::read_to_string(hierarchy.directory.join("cgroup.controllers"));
            hierarchy.controllers = Controller::listed(&offered.unwrap_or_default(), ' ');
        }
    }
    found
}

fn find(memberships: &str, mounts: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in memberships.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(list), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let controllers = Controller::listed(list, ',');
        let version = match list {
            "" => Version::Two,
            _ if !controllers.is_empty() => Version::One,
            _ => continue,
        };
        let Some(directory) = mounted_at(mounts, version, &controllers, Path::new(path)) else {
            continue;
        };
        let above = directory.parent().map(Path::to_owned);
        found.push(Hierarchy {
            version,
            directory,
            controllers: controllers.clone(),
        });
        // A version 2 group that has processes cannot have groups with controllers below it, unless it is the root; its
        // parent can.
        if let (Version::Two, Some(directory)) = (version, above) {
            found.push(Hierarchy {
                version,
                directory,
                controllers,
            });
        }
    }
    found.sort_by_key(|hierarchy| hierarchy.version == Version::One);
    found
}

/// Where a group's directory is mounted.
fn mounted_at(
    mounts: &str,
    version: Version,
    controllers: &[Controller],
    group: &Path,
) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let matches = match (version, kind.next()?) {
            (Version::Two, "cgroup2") => true,
            (Version::One, "cgroup") => Controller::listed(kind.nth(1)?, ',') == controllers,
            _ => false,
        };
        let below = group.strip_prefix(root).ok()?;
        matches.then(|| Path::new(point).join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn both_versions_are_found_where_they_are_mounted_version_two_first() {
        let found = find(
            "8:pids:/a/b\n5:cpu,cpuacct:/\n4:net_cls:/\n0::/user/c\n",
            MOUNTS,
        );
        let hierarchy = |version, path: &str, controllers: &[Controller]| Hierarchy {
            version,
            directory: path.into(),
            controllers: controllers.to_vec(),
        };
        let expected = [
            hierarchy(Version::Two, "/sys/fs/cgroup/unified/user/c", &[]),
            hierarchy(Version::Two, "/sys/fs/cgroup/unified/user", &[]),
            hierarchy(Version::One, "/sys/fs/cgroup/pids/a/b", &[Controller::Pids]),
            hierarchy(
                Version::One,
                "/sys/fs/cgroup/cpu,cpuacct/",
                &[Controller::Cpu],
            ),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_mount_of_part_of_the_hierarchy_is_followed() {
        let mounts = "31 30 0:27 /docker/x /cg rw - cgroup cgroup rw,pids\n";
        let found = find("8:pids:/docker/x/y\n", mounts);
        assert_eq!(found[0].directory, Path::new("/cg/y"));
    }
}
