//! An instance's limits in the words of the sandbox.

use ptest_sandbox::{self as sandbox, Upper};

use super::directory::Directory;
use super::driver::Driver;
use super::root;
use crate::engine::Instance;
use crate::settings::{Home, Kept, Limits, Profile, Strength};

/// What an instance is limited to: what was asked for, and what its profile asks for.
pub(super) fn of(instance: &Instance) -> Limits {
    let asked = instance.settings.limits;
    match instance.settings.profile {
        Some(Profile::Strict) => asked.or(Limits::of_untrusted(memory_of_the_machine())),
        _ => asked,
    }
}

/// Whether a control group may be made for some of these.
pub(super) fn need_groups(limits: &Limits) -> bool {
    limits.memory.is_some() || limits.cpus.is_some() || limits.pids.is_some()
}

/// The same for the sandbox. The directories are those that commands write in, and those of the kernel that files come from.
pub(super) fn for_sandbox(
    limits: &Limits,
    directory: &Directory,
    driver: &Driver,
    instance: &Instance,
) -> sandbox::Limits {
    let generation = instance.generation;
    let mut directories = match driver {
        Driver::Overlay => vec![directory.upper(generation), directory.work(generation)],
        Driver::Clone { .. } => vec![directory.tree_of(generation), directory.temporary()],
    };
    for number in 0..root::scratch(instance).len() {
        let Upper { directory, work } = directory.scratch(number);
        directories.extend([directory, work]);
    }
    if instance.settings.home == Home::Private {
        directories.push(directory.home());
    }
    if root::shared_cache(instance).is_none() {
        directories.push(directory.cache());
    }
    sandbox::Limits {
        memory: limits.memory,
        cpus: limits.cpus.map(|cpus| cpus.0.into()),
        processes: limits.pids.map(u64::from),
        cpu_time: limits.cpu_time,
        open_files: limits.open_files.map(u64::from),
        file_size: limits.file_size,
        disk: limits.disk.map(|bytes| sandbox::Disk {
            bytes,
            directories,
            project: (*driver == Driver::Overlay).then(|| directory.project()),
        }),
    }
}

/// What was asked for and nothing keeps, each a sentence for people.
pub(super) fn given_up(kept: &[Kept]) -> impl Iterator<Item = String> {
    let lost = kept.iter().filter(|kept| kept.strength == Strength::None);
    lost.map(|kept| format!("nothing can keep the limit `{}` here", kept.limit))
}

fn memory_of_the_machine() -> u64 {
    let info = rustix::system::sysinfo();
    // As wide as the machine's words.
    u64::from(info.mem_unit).saturating_mul(info.totalram as u64)
}
