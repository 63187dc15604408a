//! A sandbox for a fork of the caller's own process, in which a test goes on with what was set up for it.
//!
//! Not for environments: nothing of it is in a store.

use std::sync::atomic::{AtomicU32, Ordering};

use ptest_sandbox::{Mirror, Writes, cgroup};
use rustix::process::geteuid;

pub use ptest_sandbox::{Enclosed, Enclosure};

use crate::error::Result;
use crate::settings::{Limits, Network};

/// What the groups of enclosures are named, before the number of the process that made them.
const PREFIX: &str = "fork-";
/// Processes and threads at one time, unless something else is asked for: what breeds without end comes to an end. Only where
/// it costs nothing: joining a control group takes milliseconds.
pub const PROCESSES: u64 = 1024;
/// Bytes that can be written into memory, unless something else is asked for.
const DISCARDED: u64 = 1 << 30;

/// What an enclosure is to be like.
#[derive(Clone, Debug, Default)]
pub struct EnclosureOptions {
    /// Where writes go; [`Limits::disk`] is their size, or else 1 GiB.
    pub writes: Writes,
    /// What it has of a network.
    pub network: Network,
    /// The most that the fork, and what it starts, may use; for an ordinary user [`PROCESSES`] unless another number is said.
    /// Nobody looks after them as after an environment's: one that neither a control group nor the kernel's limits of
    /// processes hold is an error.
    pub limits: Limits,
}

impl EnclosureOptions {
    /// Before a fork: makes what the child is to enter, as the host is now. See [`Enclosure`] for what both then do.
    pub fn prepare(&self) -> Result<Enclosure> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{PREFIX}{}-{number}", std::process::id());
        let mirror = Mirror {
            network: match self.network {
                Network::Host => ptest_sandbox::Network::Host,
                Network::None => ptest_sandbox::Network::None,
                Network::Private => ptest_sandbox::Network::Private,
            },
            writes: self.sized(),
        };
        let limits = self.limits_of_forks();
        Ok(Enclosure::new(&mirror, &id, &limits, false)?)
    }

    fn sized(&self) -> Writes {
        let mut writes = self.writes.clone();
        if let Writes::Discarded { size, .. } = &mut writes {
            *size = Some(self.limits.disk.unwrap_or(DISCARDED));
        }
        writes
    }

    fn limits_of_forks(&self) -> ptest_sandbox::Limits {
        let asked = &self.limits;
        let free = (!geteuid().is_root()).then_some(PROCESSES);
        ptest_sandbox::Limits {
            memory: asked.memory,
            cpus: asked.cpus.map(|cpus| cpus.0.into()),
            processes: asked.pids.map(u64::from).or(free),
            cpu_time: asked.cpu_time,
            open_files: asked.open_files.map(u64::from),
            file_size: asked.file_size,
            disk: None,
        }
    }
}

/// Ends and removes what forks of processes left that are gone.
pub fn end_forks_of_the_dead() {
    cgroup::sweep(PREFIX);
}
