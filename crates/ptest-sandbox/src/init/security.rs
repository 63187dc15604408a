//! What a command gives up before it runs.
//!
//! Which privileges are kept is the plan's decision; this carries it out, in the order that the
//! kernel demands.

use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use crate::init::filter;
use crate::plan::Privileges;
use crate::sys;

/// Gives up, for this process and all that come from it, what the plan does not leave them.
pub(super) fn restrict(privileges: &Privileges) -> io::Result<()> {
    if let Some(kept) = privileges.capabilities {
        let kept = CapabilitySet::from_bits_retain(kept);
        limit_bounding_set(kept)?;
        let held = rustix::thread::capabilities(None)?.permitted & kept;
        let sets = CapabilitySets {
            effective: held,
            permitted: held,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets)?;
    }
    if privileges.no_new_privileges || privileges.filter_system_calls {
        set_no_new_privs(true)?;
    }
    if privileges.filter_system_calls {
        sys::install_filter(&filter::program())?;
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
