//! Finds what a test run left on the machine: processes, overlay mounts, cgroups.
//!
//! Other runs may be at work on the same machine, so a process is ours only if it can be tied to one of the given
//! directories (the build tree, the run's temporary directory): by its executable, its working directory, a mount it sees, or
//! the variable that marks the run. Looks only; ends and removes nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Names the run that a process belongs to: set for a test run, inherited by what it starts.
pub const RUN_VARIABLE: &str = "PTEST_TEST_RUN";

/// Where and how to look.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Directories that belong to the run: absolute, without symlinks.
    pub roots: Vec<PathBuf>,
    /// The value of `PTEST_TEST_RUN` for the run, if it has one.
    pub run: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Leftovers {
    /// Living processes, oneself and one's ancestors left out.
    pub processes: BTreeSet<Process>,
    /// Mount points below the scope's directories, and overlays whose layers lie there, that this process sees.
    pub mounts: BTreeSet<PathBuf>,
    /// Directories in the cgroup file systems that ptest named.
    pub cgroups: BTreeSet<PathBuf>,
}

impl Leftovers {
    /// Looks once.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read. A process that goes away meanwhile is no error.
    pub fn find(scope: &Scope) -> io::Result<Self> {
        let mounts = parse_mounts(&fs::read_to_string("/proc/self/mountinfo")?);
        Ok(Self {
            processes: processes(scope)?,
            mounts: mounts
                .iter()
                .filter(|mount| is_ours(mount, scope))
                .map(|mount| PathBuf::from(&mount.point))
                .collect(),
            cgroups: mounts
                .iter()
                .filter(|mount| mount.kind == "cgroup" || mount.kind == "cgroup2")
                .flat_map(|mount| cgroups(Path::new(&mount.point)))
                .collect(),
        })
    }

    /// What is here and was not in `before`.
    #[must_use]
    pub fn since(self, before: &Self) -> Self {
        Self {
            processes: &self.processes - &before.processes,
            mounts: &self.mounts - &before.mounts,
            cgroups: &self.cgroups - &before.cgroups,
        }
    }

    /// What is both here and in `other`: what another run has only for a moment is in one of two looks alone.
    #[must_use]
    pub fn still(self, other: &Self) -> Self {
        Self {
            processes: &self.processes & &other.processes,
            mounts: &self.mounts & &other.mounts,
            cgroups: &self.cgroups & &other.cgroups,
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.mounts.is_empty() && self.cgroups.is_empty()
    }
}

/// One line for each thing found.
impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for process in &self.processes {
            writeln!(f, "process {}: {}", process.id, process.command)?;
        }
        for mount in &self.mounts {
            writeln!(f, "mount {}", mount.display())?;
        }
        for cgroup in &self.cgroups {
            writeln!(f, "cgroup {}", cgroup.display())?;
        }
        Ok(())
    }
}

/// A process that was found.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Process {
    /// Its id.
    pub id: u32,
    /// Its start time in clock ticks since boot: an id alone is given again.
    pub started: u64,
    /// Its command line, or its name when that is empty.
    pub command: String,
}

struct Mount {
    root: String,
    point: String,
    kind: String,
    options: String,
}

struct Status {
    parent: u32,
    state: char,
    started: u64,
    name: String,
}

fn processes(scope: &Scope) -> io::Result<BTreeSet<Process>> {
    let own_namespace = fs::read_link("/proc/self/ns/mnt")?;
    let ancestors = ancestors();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Some(status) = status(id) else { continue };
        if status.state == 'Z' || ancestors.contains(&id) {
            continue;
        }
        let directory = entry.path();
        if in_scope(&directory, scope, &own_namespace) {
            let command = fs::read(directory.join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let command = Some(command.trim().to_owned())
                .filter(|it| !it.is_empty())
                .unwrap_or(status.name);
            found.insert(Process {
                id,
                started: status.started,
                command,
            });
        }
    }
    Ok(found)
}

fn in_scope(process: &Path, scope: &Scope, own_namespace: &Path) -> bool {
    let leads_inside = |link: &str| {
        fs::read_link(process.join(link))
            .is_ok_and(|target| scope.roots.iter().any(|root| target.starts_with(root)))
    };
    if leads_inside("exe") || leads_inside("cwd") {
        return true;
    }
    if let Some(run) = &scope.run {
        let mark = format!("{RUN_VARIABLE}={run}");
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
        {
            return true;
        }
    }
    // A sandboxed process is tied to the run by what is bound into its own mount namespace.
    fs::read_link(process.join("ns/mnt")).is_ok_and(|namespace| namespace != own_namespace)
        && fs::read_to_string(process.join("mountinfo")).is_ok_and(|mounts| {
            parse_mounts(&mounts)
                .iter()
                .any(|mount| is_ours(mount, scope))
        })
}

fn is_ours(mount: &Mount, scope: &Scope) -> bool {
    scope.roots.iter().any(|root| {
        let inside = |path: &str| Path::new(path).starts_with(root);
        inside(&mount.point)
            || inside(mount.root.trim_end_matches("//deleted"))
            || mount.options.split([',', ':', '=']).any(inside)
    })
}

fn parse_mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ');
            let (root, point) = (left.nth(3)?, left.next()?);
            let mut right = right.split(' ');
            let (kind, options) = (right.next()?, right.nth(1).unwrap_or_default());
            Some(Mount {
                root: unescape(root),
                point: unescape(point),
                kind: kind.to_owned(),
                options: unescape(options),
            })
        })
        .collect()
}

/// Undoes the kernel's octal escapes for space, tab, newline and backslash.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

fn cgroups(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.filter_map(Result::ok) {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().starts_with("ptest") {
                found.push(entry.path());
            }
            pending.push(entry.path());
        }
    }
    found
}

fn ancestors() -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut id = std::process::id();
    while id != 0 && found.insert(id) {
        id = status(id).map_or(0, |status| status.parent);
    }
    found
}

fn status(id: u32) -> Option<Status> {
    parse_status(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

fn parse_status(stat: &str) -> Option<Status> {
    // The name stands in parentheses and may hold spaces and parentheses of its own.
    let (left, right) = stat.rsplit_once(')')?;
    let name = left.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = right.split_whitespace().collect();
    Some(Status {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        name,
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{require, requirement};

    struct Guard(Child);

    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn scope(root: &Path) -> Scope {
        Scope {
            roots: vec![root.canonicalize().unwrap()],
            run: None,
        }
    }

    fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "{what} did not happen");
            std::thread::yield_now();
        }
    }

    fn names(scope: &Scope, id: u32) -> bool {
        Leftovers::find(scope)
            .unwrap()
            .processes
            .iter()
            .any(|process| process.id == id)
    }

    #[test]
    fn a_process_that_works_in_the_directory_is_found_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let scope = scope(directory.path());
        let mut child = Guard(
            Command::new("sleep")
                .arg("600")
                .current_dir(directory.path())
                .spawn()
                .unwrap(),
        );
        wait_for("the process is found", || names(&scope, child.0.id()));
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        assert!(!names(&scope, child.0.id()));
    }

    #[test]
    fn a_process_of_the_run_is_found_by_its_mark_and_others_are_not() {
        let spawn = |run: &str| {
            Guard(
                Command::new("sleep")
                    .arg("600")
                    .env(RUN_VARIABLE, run)
                    .current_dir("/")
                    .spawn()
                    .unwrap(),
            )
        };
        let run = format!("mark-{}", std::process::id());
        let (ours, other) = (spawn(&run), spawn("another"));
        let scope = Scope {
            roots: Vec::new(),
            run: Some(run),
        };
        wait_for("the process is found", || names(&scope, ours.0.id()));
        assert!(!names(&scope, other.0.id()));
    }

    #[test]
    fn a_sandboxed_process_is_found_by_what_is_bound_into_its_namespace() {
        require!(requirement::userns());
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        let script = format!(
            "mount --bind '{}/home' /mnt && cd / && exec env -i sleep 600",
            directory.path().display()
        );
        let child = Guard(
            Command::new("unshare")
                .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let scope = scope(directory.path());
        wait_for("the process is found", || names(&scope, child.0.id()));
    }

    #[test]
    fn what_was_there_before_is_no_leftover() {
        let process = Process {
            id: 1,
            started: 2,
            command: String::from("old"),
        };
        let before = Leftovers {
            processes: BTreeSet::from([process.clone()]),
            ..Leftovers::default()
        };
        let recycled = Process {
            started: 3,
            ..process.clone()
        };
        let after = Leftovers {
            processes: BTreeSet::from([process, recycled.clone()]),
            ..Leftovers::default()
        };
        let rest = after.since(&before);
        assert_eq!(rest.processes, BTreeSet::from([recycled]));
        assert!(!rest.is_empty());
        assert_eq!(rest.clone().still(&rest), rest);
        assert!(rest.still(&before).is_empty());
    }

    #[test]
    fn an_overlay_is_ours_by_its_layers_its_point_or_its_root() {
        let scope = Scope {
            roots: vec![PathBuf::from("/tmp/a b")],
            run: None,
        };
        let of = |line: &str| {
            parse_mounts(line)
                .iter()
                .any(|mount| is_ours(mount, &scope))
        };
        assert!(of(
            "52 1 0:47 / /mnt rw - overlay overlay rw,lowerdir=/x:/tmp/a\\040b/lower,upperdir=/y"
        ));
        assert!(of(
            "52 1 0:47 / /tmp/a\\040b/merged rw shared:1 - overlay overlay rw"
        ));
        assert!(of(
            "52 1 8:1 /tmp/a\\040b/home /ptest/home rw - ext4 /dev/vda rw"
        ));
        assert!(!of(
            "52 1 8:1 /tmp/a\\040bc /tmp/a\\040bc rw - ext4 /dev/vda rw"
        ));
    }

    #[test]
    fn a_process_name_may_hold_parentheses() {
        let fields = "S 7 ".to_owned() + &"0 ".repeat(17) + "99 0";
        let status = parse_status(&format!("12 (a) b) {fields}")).unwrap();
        assert_eq!(
            (
                status.name.as_str(),
                status.state,
                status.parent,
                status.started
            ),
            ("a) b", 'S', 7, 99)
        );
    }
}
