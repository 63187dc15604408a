//! What commands give up before they run.
//!
//! Which privileges are kept is the plan's decision; this carries it out. Most of it happens once,
//! in init itself, which never executes a program and so loses nothing by it; commands inherit it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use crate::init::{filter, landlock};
use crate::plan::{Plan, Privileges};
use crate::sys;

/// Most user namespaces that can be made in the reader's own and below: user_namespaces(7).
const MOST_USER_NAMESPACES: &str = "sys/user/max_user_namespaces";

/// Lets no user namespace be made inside of this one, by a procfs that is not covered yet: a container's own may be.
pub(super) fn refuse_nested_namespaces(procfs: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let setting = openat(procfs, MOST_USER_NAMESPACES, flags, Mode::empty())?;
    rustix::io::write(setting, b"0")?;
    Ok(())
}

/// Gives up, in init, what init can do without; it goes on looking at some directories. All that come from it inherit that.
/// Returns the version of Landlock that holds; 0 without any.
pub(super) fn restrict_descendants(plan: &Plan, looked_at: &[OwnedFd]) -> io::Result<u8> {
    let privileges = &plan.privileges;
    if let Some(kept) = privileges.capabilities {
        limit_bounding_set(CapabilitySet::from_bits_retain(kept))?;
    }
    let filter = filter::program(privileges.system_calls);
    if privileges.no_new_privileges || privileges.landlock || filter.is_some() {
        set_no_new_privs(true)?;
    }
    let landlock = if privileges.landlock {
        landlock::restrict(plan, looked_at)?
    } else {
        0
    };
    if let Some(filter) = filter {
        sys::install_filter(&filter)?;
    }
    Ok(landlock)
}

/// Gives up, in a process that is to become a command, what init still needs.
pub(super) fn restrict(privileges: &Privileges) -> io::Result<()> {
    if let Some(kept) = privileges.capabilities {
        let kept = CapabilitySet::from_bits_retain(kept);
        let held = rustix::thread::capabilities(None)?.permitted & kept;
        let sets = CapabilitySets {
            effective: held,
            permitted: held,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets)?;
    }
    Ok(())
}

/// Root gains everything in the bounding set with each program that it executes.
fn limit_bounding_set(kept: CapabilitySet) -> io::Result<()> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel knows no more capabilities.
            Err(Errno::INVAL) => break,
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}
