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
    /// What groups in it can limit, or could if all above it handed it down.
    pub(super) controllers: Vec<Controller>,
    /// Where the hierarchy is mounted.
    point: PathBuf,
}

impl Hierarchy {
    /// Lets groups below this one of version 2 have these controllers; those that they cannot have come back, with the
    /// reason.
    pub(super) fn hand_down(&self, controllers: &[Controller]) -> Vec<(Controller, io::Error)> {
        let mut levels: Vec<&Path> = self.directory.ancestors().collect();
        levels.retain(|level| level.starts_with(&self.point));
        let through = |controller: Controller| {
            let mut levels = levels.iter().rev();
            levels.try_for_each(|level| hand_down(level, controller))
        };
        let tried = controllers.iter().map(|one| (*one, through(*one)));
        tried
            .filter_map(|(controller, result)| Some((controller, result.err()?)))
            .collect()
    }
}

/// Lets the groups directly below one of version 2 have a controller.
pub(super) fn hand_down(directory: &Path, controller: Controller) -> io::Result<()> {
    let file = directory.join("cgroup.subtree_control");
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let handed = Controller::listed(&fs::read_to_string(&file).map_err(named)?, ' ');
    if handed.contains(&controller) {
        return Ok(());
    }
    if !has_room(directory) {
        return Err(named(io::ErrorKind::ResourceBusy.into()));
    }
    fs::write(&file, format!("+{}", controller.name())).map_err(named)
}

/// The groups in which ours can be made, the better ones first.
pub(super) fn all() -> Vec<Hierarchy> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut found = find(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
    found.retain(|hierarchy| hierarchy.version == Version::One || has_room(&hierarchy.directory));
    for hierarchy in &mut found {
        if hierarchy.version == Version::Two {
            let offered = fs::read_to_string(hierarchy.point.join("cgroup.controllers"));
            hierarchy.controllers = Controller::listed(&offered.unwrap_or_default(), ' ');
        }
    }
    found
}

/// Whether groups below this one of version 2 can have both controllers and processes: it is the root, or has no process
/// of its own.
///
/// The kernel does not refuse the others in time: some controllers can be handed down beside processes, and then make all
/// that is below unfit for processes.
fn has_room(directory: &Path) -> bool {
    match fs::read_to_string(directory.join("cgroup.type")) {
        Ok(kind) => {
            let processes = fs::read_to_string(directory.join("cgroup.procs"));
            kind.trim() == "domain" && processes.is_ok_and(|processes| processes.is_empty())
        }
        // The root alone has no type.
        Err(_) => directory.join("cgroup.procs").exists(),
    }
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
        let Some((point, group)) = mounted_at(mounts, version, &controllers, Path::new(path))
        else {
            continue;
        };
        // A version 2 group that has processes has no room for ours, unless it is the root; its parent may have.
        let above = group.parent().filter(|_| version == Version::Two);
        for group in [Some(group.as_path()), above].into_iter().flatten() {
            found.push(Hierarchy {
                version,
                directory: point.join(group),
                controllers: controllers.clone(),
                point: point.clone(),
            });
        }
    }
    found.sort_by_key(|hierarchy| hierarchy.version == Version::One);
    found
}

/// Where a group's hierarchy is mounted, and the group's directory below.
fn mounted_at(
    mounts: &str,
    version: Version,
    controllers: &[Controller],
    group: &Path,
) -> Option<(PathBuf, PathBuf)> {
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
        matches.then(|| (point.into(), below.to_owned()))
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
        let hierarchy = |version, point: &str, path: &str, controllers: &[Controller]| Hierarchy {
            version,
            directory: Path::new("/sys/fs/cgroup").join(point).join(path),
            controllers: controllers.to_vec(),
            point: Path::new("/sys/fs/cgroup").join(point),
        };
        let expected = [
            hierarchy(Version::Two, "unified", "user/c", &[]),
            hierarchy(Version::Two, "unified", "user", &[]),
            hierarchy(Version::One, "pids", "a/b", &[Controller::Pids]),
            hierarchy(Version::One, "cpu,cpuacct", "", &[Controller::Cpu]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_is_above_the_root() {
        let found = find("0::/\n", MOUNTS);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].directory, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_group_has_room_as_the_root_or_without_processes() {
        let group = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        assert!(!has_room(group.path()));
        file("cgroup.procs", "1\n");
        assert!(has_room(group.path()));
        file("cgroup.type", "domain\n");
        assert!(!has_room(group.path()));
        file("cgroup.procs", "");
        assert!(has_room(group.path()));
        file("cgroup.type", "domain invalid\n");
        assert!(!has_room(group.path()));
    }

    #[test]
    fn a_mount_of_part_of_the_hierarchy_is_followed() {
        let mounts = "31 30 0:27 /docker/x /cg rw - cgroup cgroup rw,pids\n";
        let found = find("8:pids:/docker/x/y\n", mounts);
        assert_eq!(found[0].directory, Path::new("/cg/y"));
    }
}
