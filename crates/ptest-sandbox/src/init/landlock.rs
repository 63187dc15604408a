//! Landlock, the kernel's second opinion: what the mounts do not show or let be written stays so even for who gets
//! around them, and signals and abstract sockets do not lead outside.
//!
//! What is allowed is read off the plan's mounts, so that there is one list. A kernel without Landlock, or with an older
//! one, enforces less; how much is reported. See landlock(7).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};

use crate::plan::{Access, Mount, Plan};

/// The newest form that this knows to ask for.
const WANTED: ABI = ABI::V7;

/// Keeps this process and all that come from it to the plan's mounts, and to directories that init itself looks at.
/// Returns the version that holds; 0 without any.
pub(super) fn restrict(plan: &Plan, looked_at: &[OwnedFd]) -> io::Result<u8> {
    let everything = AccessFs::from_all(WANTED);
    let mut rules = Ruleset::default()
        .handle_access(everything)
        .and_then(|rules| rules.scope(Scope::from_all(WANTED)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    let writable = plan.mounts.iter().filter_map(writable);
    let readable = (Path::new("/"), AccessFs::from_read(WANTED));
    for (path, access) in writable.map(|path| (path, everything)).chain([readable]) {
        // What could be left out may not be there.
        let Ok(place) = PathFd::new(path) else {
            continue;
        };
        let access = for_kind(path, access);
        rules = rules
            .add_rule(PathBeneath::new(place, access))
            .map_err(io::Error::other)?;
    }
    for directory in looked_at {
        let rule = PathBeneath::new(directory, AccessFs::ReadDir);
        rules = rules.add_rule(rule).map_err(io::Error::other)?;
    }
    let status = rules.restrict_self().map_err(io::Error::other)?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u8,
        _ => 0,
    })
}

/// Files take fewer rights than directories.
fn for_kind(path: &Path, access: BitFlags<AccessFs>) -> BitFlags<AccessFs> {
    if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(WANTED)
    }
}

/// Where a step of the plan gives something that can be written.
fn writable(mount: &Mount) -> Option<&Path> {
    match mount {
        Mount::Bind {
            target,
            access: Access::ReadWrite,
            ..
        }
        | Mount::Tmpfs {
            target,
            read_only: false,
            ..
        }
        | Mount::Proc { target }
        | Mount::DevPts { target } => Some(target),
        Mount::Discarded { path } => Some(path),
        Mount::Overlay(stack) if stack.upper.is_some() => Some(&stack.target),
        _ => None,
    }
}
