//! Control groups: what limits memory, processors and the number of processes of a sandbox together.
//!
//! One group for each sandbox that has such a limit, in one hierarchy where the kernel has version 2, in one for each
//! controller where it has version 1: joining those costs milliseconds, so it is done once, by the stub. Groups are
//! removed by whoever ends the sandbox; [`remove`] is for what a killed process left. See cgroups(7).
//!
//! In version 2 the group is two, one in the other: systemd takes a controller from whatever is below its own groups as soon
//! as none of its own needs it, and a limit would be gone without a word. The kernel refuses that as long as a group there
//! hands the controller down, as the outer one does to the inner one, which has the limits and the processes.

mod hierarchy;

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags, open};

pub(crate) use self::hierarchy::Controller;
use self::hierarchy::{Hierarchy, Version};
use crate::protocol::{Confinement, Failure, Gauge, Stage};
use crate::sys;

/// How long a group may take to be empty once everything in it is killed.
const END_LIMIT: Duration = Duration::from_secs(10);
/// What our groups' names begin with.
const PREFIX: &str = "ptest-";
/// The inner group of version 2.
const INNER: &str = "inside";
/// Lists what is in a group, and lets in what is written.
const PROCESSES: &str = "cgroup.procs";
/// Init and the leader of a command count too.
const OVERHEAD: u64 = 2;
/// The time in which processors are shared out, in microseconds; the kernel's own default.
const PERIOD: u64 = 100_000;

/// Where a sandbox of that id may have groups, if this process launches it: what to keep before it does, for [`remove`].
/// Where they are depends on the groups of who launches it.
pub fn places(id: &str) -> Vec<PathBuf> {
    if !is_valid(id) {
        return Vec::new();
    }
    let all = hierarchy::all().into_iter();
    all.map(|hierarchy| hierarchy.directory.join(format!("{PREFIX}{id}")))
        .collect()
}

/// Removes the groups of a sandbox that has ended, of those places that have one. What has no name of ours is left alone.
pub fn remove(places: &[PathBuf]) {
    for place in places {
        let name = place.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(PREFIX)) {
            remove_directories(place);
        }
    }
}

/// Kills everything in the groups at these places, until nothing is left; what cannot be killed within ten seconds stays.
pub(crate) fn end(places: &[PathBuf]) {
    let deadline = Instant::now() + END_LIMIT;
    for place in places {
        let group = inner(place);
        // Linux 5.14, version 2.
        let _elsewhere = fs::write(group.join("cgroup.kill"), b"1");
        // What forks faster than it is killed can fork no more.
        let _without_controller = fs::write(group.join("pids.max"), b"0");
    }
    for place in places {
        while Instant::now() < deadline {
            let listed = fs::read_to_string(inner(place).join(PROCESSES)).unwrap_or_default();
            if listed.is_empty() {
                break;
            }
            for pid in listed.lines().filter_map(|line| line.parse::<i32>().ok()) {
                // One of another namespace of processes is listed as 0, which is our own group.
                if pid > 0 {
                    let _gone = sys::kill(pid, libc::SIGKILL);
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Ends what is left in the groups of processes that are gone, of those whose id is a prefix, the number of the process,
/// and whatever follows a dash; and removes them.
pub fn sweep(prefix: &str) {
    let owner = |name: &str| -> Option<i32> {
        let rest = name.strip_prefix(PREFIX)?.strip_prefix(prefix)?;
        rest.split('-').next()?.parse().ok()
    };
    for hierarchy in hierarchy::all() {
        for entry in fs::read_dir(&hierarchy.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let Some(owner) = entry.file_name().to_str().and_then(owner) else {
                continue;
            };
            let is_gone =
                sys::kill(owner, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH));
            if is_gone {
                end(&[entry.path()]);
                remove_directories(&entry.path());
            }
        }
    }
}

/// Where the processes of a group are.
fn inner(place: &Path) -> PathBuf {
    let inner = place.join(INNER);
    if inner.is_dir() {
        inner
    } else {
        place.to_owned()
    }
}

/// Removes a group and those in it; the kernel refuses to remove one that has processes.
fn remove_directories(place: &Path) {
    let _absent = fs::remove_dir(place.join(INNER));
    match fs::remove_dir(place) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
        _ => return,
    }
    // A sandbox in the sandbox was killed and had no time for its own.
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_directories(&entry.path());
        }
    }
    let _absent = fs::remove_dir(place);
}

/// The most bytes that the groups at these places have held, if the kernel has killed for want of memory in one.
pub fn memory_ran_out(places: &[PathBuf]) -> Option<u64> {
    let read = |place: &Path, file: &str| fs::read_to_string(place.join(file)).ok();
    let number = |text: String| text.trim().parse().ok();
    places.iter().find_map(|place| {
        let events = read(place, "memory.oom_control").or_else(|| read(place, "memory.events"))?;
        let kills = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "))?;
        let peak = read(place, "memory.max_usage_in_bytes").or_else(|| read(place, "memory.peak"));
        (kills.trim() != "0").then(|| peak.and_then(number).unwrap_or_default())
    })
}

/// What a group is to limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// In bytes.
    pub(crate) memory: Option<u64>,
    /// In thousandths of a processor.
    pub(crate) cpus: Option<u64>,
    pub(crate) processes: Option<u64>,
}

/// The group of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Where it is: one directory in each hierarchy.
    places: Vec<Place>,
    /// Why it does not limit more.
    reason: Option<io::Error>,
}

#[derive(Debug)]
struct Place {
    directory: PathBuf,
    controllers: Vec<Controller>,
    /// Version 2 lets a process be born into a group by this.
    descriptor: Option<OwnedFd>,
    /// What shows its use, for init.
    gauges: Vec<(Gauge, OwnedFd)>,
}

impl Wanted {
    fn controllers(&self) -> Vec<Controller> {
        let all = [
            (Controller::Memory, self.memory),
            (Controller::Cpu, self.cpus),
            (Controller::Pids, self.processes),
        ];
        all.into_iter()
            .filter_map(|(controller, wanted)| wanted.map(|_| controller))
            .collect()
    }
}

impl Group {
    /// Makes a group that limits as much of what is wanted as can be had here; what cannot is [`Group::lacks`].
    pub(crate) fn create(id: &str, wanted: &Wanted) -> io::Result<Self> {
        if !is_valid(id) {
            let message = "the sandbox has no id that can name a control group";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut group = Self::default();
        let mut missing = wanted.controllers();
        let mut reason = None;
        for hierarchy in hierarchy::all() {
            let mut here: Vec<Controller> = missing
                .iter()
                .copied()
                .filter(|controller| hierarchy.controllers.contains(controller))
                .collect();
            // A process is born into one group of version 2 at most.
            let is_second = hierarchy.version == Version::Two && group.descriptor().is_some();
            if is_second {
                continue;
            }
            if hierarchy.version == Version::Two {
                for (refused, error) in hierarchy.hand_down(&here) {
                    here.retain(|controller| *controller != refused);
                    reason = Some(error);
                }
            }
            if here.is_empty() {
                continue;
            }
            match group.enter(&hierarchy, id, wanted, &here) {
                Ok(()) => missing.retain(|controller| !here.contains(controller)),
                Err(error) => reason = Some(error),
            }
        }
        group.reason = reason;
        Ok(group)
    }

    /// Why it does not limit all that was wanted, as far as that is known.
    pub(crate) fn reason(&mut self) -> Option<io::Error> {
        self.reason.take()
    }

    /// Whether this limit is held by this group.
    pub(crate) fn holds(&self, controller: Controller) -> bool {
        self.places
            .iter()
            .any(|place| place.controllers.contains(&controller))
    }

    /// How init gets into the group.
    pub(crate) fn confinement(&self) -> Confinement {
        let attached = self
            .places
            .iter()
            .filter(|place| place.descriptor.is_none());
        Confinement {
            born: self.descriptor().is_some(),
            attached: attached
                .map(|place| place.directory.join(PROCESSES))
                .collect(),
        }
    }

    /// Lets the calling process in.
    pub(crate) fn join(&self) -> Result<(), Failure> {
        for place in self.places() {
            let file = inner(place).join(PROCESSES);
            fs::write(&file, b"0").map_err(|error| Failure {
                stage: Stage::ControlGroup,
                subject: file.into(),
                errno: error.raw_os_error().unwrap_or(libc::EIO),
            })?;
        }
        Ok(())
    }

    /// Where it is: a directory in each hierarchy.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|place| place.directory.as_path())
    }

    /// The directory that init is born into.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        let mut born = self
            .places
            .iter()
            .filter_map(|place| place.descriptor.as_ref());
        born.next().map(|descriptor| descriptor.as_fd())
    }

    /// What shows the group's use.
    pub(crate) fn gauges(&self) -> impl Iterator<Item = &(Gauge, OwnedFd)> {
        self.places.iter().flat_map(|place| &place.gauges)
    }

    /// Removes the group. One that is still populated stays for [`remove`].
    pub(crate) fn remove(&self) {
        for place in &self.places {
            remove_directories(&place.directory);
        }
    }

    /// Makes it a directory in a hierarchy, for these controllers.
    fn enter(
        &mut self,
        hierarchy: &Hierarchy,
        id: &str,
        wanted: &Wanted,
        controllers: &[Controller],
    ) -> io::Result<()> {
        let directory = hierarchy.directory.join(format!("{PREFIX}{id}"));
        make(&directory)?;
        let fill = || -> io::Result<Place> {
            let outer = &directory;
            let directory = match hierarchy.version {
                Version::One => outer.clone(),
                Version::Two => outer.join(INNER),
            };
            if hierarchy.version == Version::Two {
                for controller in controllers {
                    hierarchy::hand_down(outer, *controller)?;
                }
                make(&directory)?;
            }
            for (file, value) in settings(hierarchy.version, wanted, controllers) {
                write(&directory, &file, &value)?;
            }
            let descriptor = match hierarchy.version {
                Version::One => None,
                Version::Two => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    Some(open(&directory, flags, Mode::empty())?)
                }
            };
            Ok(Place {
                directory: outer.clone(),
                controllers: controllers.to_vec(),
                descriptor,
                gauges: gauges(&directory, hierarchy.version, controllers)?,
            })
        };
        match fill() {
            Ok(place) => {
                self.places.push(place);
                Ok(())
            }
            Err(error) => {
                remove_directories(&directory);
                Err(error)
            }
        }
    }
}

/// Makes a directory unless it is there.
fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            let message = format!("{}: {error}", directory.display());
            Err(io::Error::new(error.kind(), message))
        }
        Ok(()) => Ok(()),
    }
}

/// What is written into which files, in order.
fn settings(
    version: Version,
    wanted: &Wanted,
    controllers: &[Controller],
) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let mut set = |file: &str, value: String| settings.push((file.to_owned(), value));
    for controller in controllers {
        match (controller, version) {
            (Controller::Memory, _) if wanted.memory.is_none() => {}
            (Controller::Memory, Version::One) => {
                let limit = wanted.memory.unwrap_or_default().to_string();
                set("memory.limit_in_bytes", limit.clone());
                // Of both together; `?` because kernels can be made without counting swap.
                set("?memory.memsw.limit_in_bytes", limit);
                set("?memory.swappiness", "0".to_owned());
            }
            (Controller::Memory, Version::Two) => {
                set("memory.max", wanted.memory.unwrap_or_default().to_string());
                set("?memory.swap.max", "0".to_owned());
            }
            (Controller::Cpu, Version::One) => {
                let quota = wanted
                    .cpus
                    .unwrap_or_default()
                    .saturating_mul(PERIOD / 1000);
                set("cpu.cfs_period_us", PERIOD.to_string());
                set("cpu.cfs_quota_us", quota.to_string());
            }
            (Controller::Cpu, Version::Two) => {
                let quota = wanted
                    .cpus
                    .unwrap_or_default()
                    .saturating_mul(PERIOD / 1000);
                set("cpu.max", format!("{quota} {PERIOD}"));
            }
            (Controller::Pids, _) => {
                let limit = wanted
                    .processes
                    .unwrap_or_default()
                    .saturating_add(OVERHEAD);
                set("pids.max", limit.to_string());
            }
        }
    }
    settings
}

/// Writes a setting; one whose name begins with `?` may be absent.
fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    match file.strip_prefix('?') {
        None => fs::write(directory.join(file), value),
        Some(file) => match fs::write(directory.join(file), value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        },
    }
}

/// What shows the use of a group, open.
fn gauges(
    directory: &Path,
    version: Version,
    controllers: &[Controller],
) -> io::Result<Vec<(Gauge, OwnedFd)>> {
    let file = |name: &str| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        open(directory.join(name), flags, Mode::empty())
    };
    let mut gauges = Vec::new();
    if controllers.contains(&Controller::Memory) {
        match version {
            Version::One => {
                let kills = file("memory.oom_control")?;
                let alarm = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
                let request = format!("{} {}", alarm.as_raw_fd(), kills.as_raw_fd());
                fs::write(directory.join("cgroup.event_control"), request)?;
                gauges.extend([
                    (Gauge::Memory, file("memory.usage_in_bytes")?),
                    (Gauge::MemoryDetails, file("memory.stat")?),
                    (Gauge::PeakMemory, file("memory.max_usage_in_bytes")?),
                    (Gauge::MemoryKills, kills),
                    (Gauge::MemoryAlarm, alarm),
                ]);
            }
            Version::Two => {
                gauges.extend([
                    (Gauge::Memory, file("memory.current")?),
                    (Gauge::MemoryDetails, file("memory.stat")?),
                    // It tells itself when it changes.
                    (Gauge::MemoryKills, file("memory.events")?),
                ]);
                // Linux 5.19 and newer.
                gauges.extend(
                    file("memory.peak")
                        .ok()
                        .map(|file| (Gauge::PeakMemory, file)),
                );
            }
        }
    }
    if controllers.contains(&Controller::Pids) {
        // Linux 4.13 and newer.
        let refusals = file("pids.events").ok();
        gauges.extend(refusals.map(|file| (Gauge::ProcessRefusals, file)));
    }
    Ok(gauges)
}

/// Whether an id can be part of a group's name.
fn is_valid(id: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !id.is_empty() && id.len() <= 64 && id.bytes().all(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_a_path_is_refused() {
        for id in ["", "../x", "a/b", "a b"] {
            let refused = Group::create(id, &Wanted::default()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn each_version_is_told_in_its_own_words() {
        let wanted = Wanted {
            memory: Some(1 << 20),
            cpus: Some(1500),
            processes: Some(10),
        };
        let told = |version| {
            let all = settings(version, &wanted, &wanted.controllers());
            let lines = all.iter().map(|(file, value)| format!("{file}={value}"));
            lines.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            told(Version::One),
            "memory.limit_in_bytes=1048576 ?memory.memsw.limit_in_bytes=1048576 ?memory.swappiness=0 \
             cpu.cfs_period_us=100000 cpu.cfs_quota_us=150000 pids.max=12"
        );
        assert_eq!(
            told(Version::Two),
            "memory.max=1048576 ?memory.swap.max=0 cpu.max=150000 100000 pids.max=12"
        );
    }
}
