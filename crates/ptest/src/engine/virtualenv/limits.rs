//! An instance's limits in the words of the sandbox, and back.

use ptest_sandbox as sandbox;

use super::directory::Directory;
use super::driver::Driver;
use super::root;
use crate::engine::Instance;
use crate::settings::{Home, Kept, Limit, Limits, Profile, Strength, Struck};

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

/// The same for the sandbox. The directories are those that commands write in.
pub(super) fn for_sandbox(
    limits: &Limits,
    directory: &Directory,
    driver: &Driver,
    instance: &Instance,
) -> sandbox::Limits {
    let mut directories = match driver {
        Driver::Overlay => vec![directory.upper(instance.generation)],
        Driver::Clone { .. } => {
            vec![
                directory.tree_of(instance.generation),
                directory.temporary(),
            ]
        }
    };
    let scratch = root::scratch(instance).len();
    directories.extend((0..scratch).map(|number| directory.scratch(number).directory));
    if instance.settings.home == Home::Private {
        directories.push(directory.home());
    }
    sandbox::Limits {
        memory: limits.memory,
        cpus: limits.cpus.map(|cpus| cpus.0.into()),
        processes: limits.pids.map(u64::from),
        cpu_time: limits.cpu_time,
        open_files: limits.open_files.map(u64::from),
        file_size: limits.file_size,
        disk: limits
            .disk
            .map(|bytes| sandbox::Disk { bytes, directories }),
    }
}

/// How each limit is kept.
pub(super) fn kept(asked: &Limits, kept: &[sandbox::Kept]) -> Vec<Kept> {
    let of = |limit: Limit| {
        let mut found = kept.iter().filter(|kept| self::limit(kept.limit) == limit);
        found
            .next()
            .map_or(Strength::None, |kept| strength(kept.strength))
    };
    let all = asked.asked().into_iter();
    all.map(|(limit, configured)| Kept {
        limit,
        configured,
        strength: of(limit),
    })
    .collect()
}

/// What was asked for and nothing keeps, each a sentence for people.
pub(super) fn given_up(kept: &[sandbox::Kept]) -> Vec<String> {
    let mut lost = Vec::new();
    for kept in kept {
        if kept.strength == sandbox::Strength::None {
            let limit = limit(kept.limit);
            lost.push(format!("nothing can keep the limit `{limit}` here"));
        }
    }
    lost
}

pub(super) fn struck(struck: sandbox::Struck) -> Struck {
    Struck {
        limit: limit(struck.limit),
        configured: struck.configured,
        reached: struck.reached,
        ended: struck.ended,
    }
}

fn limit(limit: sandbox::Limit) -> Limit {
    match limit {
        sandbox::Limit::Memory => Limit::Memory,
        sandbox::Limit::Cpus => Limit::Cpus,
        sandbox::Limit::Processes => Limit::Pids,
        sandbox::Limit::CpuTime => Limit::CpuTime,
        sandbox::Limit::OpenFiles => Limit::OpenFiles,
        sandbox::Limit::FileSize => Limit::FileSize,
        sandbox::Limit::Disk => Limit::Disk,
    }
}

fn strength(strength: sandbox::Strength) -> Strength {
    match strength {
        sandbox::Strength::Enforced => Strength::Enforced,
        sandbox::Strength::Watched => Strength::Watched,
        sandbox::Strength::None => Strength::None,
    }
}

fn memory_of_the_machine() -> u64 {
    let info = rustix::system::sysinfo();
    // As wide as the machine's words.
    u64::from(info.mem_unit).saturating_mul(info.totalram as u64)
}
