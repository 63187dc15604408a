//! What a process does that goes into a sandbox by itself, instead of being started in one.
//!
//! It was forked from a process that goes on outside, and has one thread. It stays among the host's processes: it and its
//! parent call each other by the same numbers.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::init::{AtStage as _, execute, root, security};
use crate::plan::{Isolation, Network, Plan};
use crate::protocol::{Failure, Resources, Stage};
use crate::sys;

/// Leaves the host's namespaces. Until it has identities in the new ones it can do nothing there.
pub(crate) fn leave(plan: &Plan) -> Result<(), Failure> {
    let Isolation::Namespaces { network, .. } = plan.isolation else {
        return Ok(());
    };
    let own_network = if network == Network::Host {
        0
    } else {
        libc::CLONE_NEWNET
    };
    let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | own_network;
    sys::unshare(namespaces).at(Stage::Namespaces, "")?;
    // With its credentials the kernel has closed /proc/self to it, and to whoever writes its identities.
    set_dumpable_behavior(DumpableBehavior::Dumpable).at(Stage::Namespaces, "")
}

/// Makes the plan's root the process's, and gives up what the plan says.
pub(crate) fn settle(plan: &Plan, resources: &Resources) -> Result<(), Failure> {
    if let Isolation::Namespaces { network, .. } = plan.isolation {
        if network == Network::Private {
            sys::raise_loopback().at(Stage::Network, "lo")?;
        }
        root::assemble(plan)?;
    }
    execute::limit(resources).at(Stage::Limits, "")?;
    security::restrict_descendants(plan, &[]).at(Stage::Privileges, "")?;
    security::restrict(&plan.privileges).at(Stage::Privileges, "")
}
