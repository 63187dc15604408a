//! Who holds a limit: the kernel's groups, its limits of single processes, its quotas, or init, which looks.
//!
//! Chosen when a sandbox is launched, the strictest there is for each limit. What init then does is in `init::watch` and
//! `init::execute`.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::cgroup::{self, Controller, Group, Wanted};
use crate::error::{Error, Result};
use crate::limits::{Disk, Kept, Limit, Limits, Strength};
use crate::plan::{Isolation, Plan};
use crate::protocol::{Confinement, Duties, Failure, Gauge};
use crate::quota;

/// How the limits of one sandbox are held.
#[derive(Debug, Default)]
pub(crate) struct Enforcement {
    group: Option<Group>,
    duties: Duties,
    kept: Vec<Kept>,
}

impl Enforcement {
    /// The strictest way to hold each limit. One that nothing can hold is an error, unless `allow_weaker`.
    pub(crate) fn choose(
        plan: &Plan,
        id: &str,
        limits: &Limits,
        allow_weaker: bool,
    ) -> Result<Self> {
        let asked = limits.asked();
        if asked.is_empty() {
            return Ok(Self::default());
        }
        let counts_here = counts_processes(plan.isolation);
        let wanted = Wanted {
            memory: limits.memory,
            cpus: limits.cpus,
            processes: limits.processes.filter(|_| !counts_here),
        };
        let (group, refusal) = if wanted == Wanted::default() {
            (None, None)
        } else {
            match Group::create(id, &wanted) {
                Ok(mut group) => {
                    let reason = group.reason();
                    (Some(group), reason)
                }
                Err(error) => (None, Some(error)),
            }
        };
        let mut chosen = Self {
            group,
            duties: Duties {
                configured: asked.clone(),
                ..Duties::default()
            },
            kept: Vec::new(),
        };
        for (limit, configured) in asked {
            let strength = chosen.hold(limit, limits, plan.isolation);
            if strength == Strength::None && !allow_weaker {
                chosen.release();
                let source = refusal.unwrap_or_else(no_controller);
                return Err(Error::Limit { limit, source });
            }
            chosen.kept.push(Kept {
                limit,
                configured,
                strength,
            });
        }
        Ok(chosen)
    }

    /// Sees to it that one limit is held.
    fn hold(&mut self, limit: Limit, limits: &Limits, isolation: Isolation) -> Strength {
        let in_group = |controller| {
            let group = self.group.as_ref();
            group.is_some_and(|group| group.holds(controller))
        };
        let duties = &mut self.duties;
        match limit {
            Limit::Memory if in_group(Controller::Memory) => Strength::Enforced,
            Limit::Memory => {
                duties.watch.memory = limits.memory;
                Strength::Watched
            }
            Limit::Cpus if in_group(Controller::Cpu) => Strength::Enforced,
            Limit::Cpus => Strength::None,
            Limit::Pids if in_group(Controller::Pids) => Strength::Enforced,
            Limit::Pids if counts_processes(isolation) => {
                duties.resources.processes = limits.processes;
                Strength::Enforced
            }
            Limit::Pids => {
                duties.watch.processes = limits.processes;
                Strength::Watched
            }
            Limit::CpuTime => {
                // The kernel's limit is of each process alone.
                duties.resources.cpu_time = limits.cpu_time;
                duties.watch.cpu_time = limits.cpu_time;
                Strength::Watched
            }
            Limit::OpenFiles => {
                duties.resources.open_files = limits.open_files;
                Strength::Enforced
            }
            Limit::FileSize => {
                duties.resources.file_size = limits.file_size;
                Strength::Enforced
            }
            Limit::Disk => {
                duties.watch.disk = limits.disk.clone().map(|disk| held(disk, isolation));
                let disk = duties.watch.disk.as_ref();
                match disk.and_then(|disk| disk.project.as_ref()) {
                    Some(_) => Strength::Enforced,
                    None => Strength::Watched,
                }
            }
        }
    }

    /// What init has to do.
    pub(crate) fn duties(&self) -> &Duties {
        &self.duties
    }

    /// How init gets into the group.
    pub(crate) fn confinement(&self) -> Confinement {
        self.group
            .as_ref()
            .map(Group::confinement)
            .unwrap_or_default()
    }

    /// What shows the group's use; the descriptors follow those of the confinement.
    pub(crate) fn gauges(&self) -> Vec<Gauge> {
        let gauges = self.group.iter().flat_map(Group::gauges);
        gauges.map(|(gauge, _)| *gauge).collect()
    }

    /// The descriptors that go with the confinement, the ring and the gauges, in this order.
    pub(crate) fn descriptors<'a>(&'a self, ring: Option<&'a OwnedFd>) -> Vec<BorrowedFd<'a>> {
        let group = self.group.as_ref();
        let ring = ring.map(|ring| ring.as_fd());
        let gauges = group.into_iter().flat_map(Group::gauges);
        let born = group.and_then(Group::descriptor);
        let outside = born.into_iter().chain(ring);
        outside
            .chain(gauges.map(|(_, file)| file.as_fd()))
            .collect()
    }

    /// What was asked for, and how strictly it holds.
    pub(crate) fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Lets the calling process into the group.
    pub(crate) fn join(&self) -> Result<(), Failure> {
        match &self.group {
            Some(group) => group.join(),
            None => Ok(()),
        }
    }

    /// Where the group is.
    pub(crate) fn places(&self) -> Vec<PathBuf> {
        let group = self.group.iter();
        group.flat_map(Group::places).map(Path::to_owned).collect()
    }

    /// Ends everything in the group and takes it away.
    pub(crate) fn end(&self) {
        if let Some(group) = &self.group {
            cgroup::end(&self.places());
            group.remove();
        }
    }

    /// Takes away what was made on the machine.
    pub(crate) fn release(&self) {
        if let Some(group) = &self.group {
            group.remove();
        }
    }
}

/// Whether the kernel's limit of a user's processes is of use: root is exempt from it, and without a namespace it counts all.
fn counts_processes(isolation: Isolation) -> bool {
    isolation.has_namespaces() && !geteuid().is_root()
}

/// With a project only if the kernel holds it to the limit, which root is exempt from where it has its own capabilities.
fn held(disk: Disk, isolation: Isolation) -> Disk {
    let project = disk.project.as_deref();
    let is_held = isolation.has_namespaces()
        && project.is_some_and(|project| quota::hold(&disk, project).is_ok());
    Disk {
        project: disk.project.filter(|_| is_held),
        ..disk
    }
}

fn no_controller() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "neither the control group of this process nor the one above it has room for groups with the controller",
    )
}
