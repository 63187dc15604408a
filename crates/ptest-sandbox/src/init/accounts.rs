//! What the sandbox uses: measured when somebody asks, and recorded once a second while something is done.
//!
//! Where nothing runs nobody wakes up. Where something runs and does nothing, a look at the processors' clocks of the known
//! processes says so: whoever changes anything, starts another process or ends uses time. Then the looks grow rarer, and a
//! record is left out: it would say what the one before says.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::init::gauges::Gauges;
use crate::init::processes::Process;
use crate::init::traffic;
use crate::protocol::{Meter, Usage};
use crate::ring::{Sample, Writer};
use crate::sys;

/// How often what is done is recorded.
const INTERVAL: Duration = Duration::from_secs(1);
/// How rarely it is looked whether anything is done, at most.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// What was used, and when it is to be recorded.
#[derive(Debug)]
pub(super) struct Accounts {
    ring: Option<Writer>,
    next: Option<Instant>,
    rest: Duration,
    /// The processes of the last record, init's own too.
    known: Vec<i32>,
    /// What their clocks said together.
    clocks: Option<Duration>,
    peak_memory_bytes: u64,
}

impl Accounts {
    /// Recorded in a ring, if there is one.
    pub(super) fn new(ring: Option<OwnedFd>) -> Self {
        Self {
            ring: ring.map(Writer::new),
            next: None,
            rest: INTERVAL,
            known: Vec::new(),
            clocks: None,
            peak_memory_bytes: 0,
        }
    }

    /// A command was started.
    pub(super) fn wake(&mut self) {
        if self.ring.is_some() {
            let soon = Instant::now() + INTERVAL;
            self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
            self.rest = INTERVAL;
            self.clocks = None;
        }
    }

    /// A command has ended that held so much at most: the kernel says so only when its leader has ended too.
    pub(super) fn see_peak(&mut self, memory_bytes: u64) {
        self.peak_memory_bytes = self.peak_memory_bytes.max(memory_bytes);
    }

    /// When [`Accounts::is_due`] may be so.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next
    }

    /// Whether something may be different from what was recorded last, and it is time to record it.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        let is_quiet = self.clocks.is_some() && clocks(&self.known) == self.clocks;
        if is_quiet {
            self.rest = (self.rest * 2).min(LONGEST_REST);
            self.next = Some(now + self.rest);
        }
        !is_quiet
    }

    /// Whether something was done since the last record.
    pub(super) fn is_open(&self) -> bool {
        self.next.is_some()
    }

    /// Records what was measured of a family of processes. As long as the sandbox is busy the next record follows.
    pub(super) fn record(
        &mut self,
        now: Instant,
        usage: &Usage,
        disk_bytes: Option<u64>,
        family: &[Process],
        is_busy: bool,
    ) {
        if let Some(ring) = &mut self.ring {
            ring.append(Sample::now(usage, disk_bytes));
        }
        self.known.clear();
        self.known.extend(family.iter().map(|process| process.pid));
        self.clocks = clocks(&self.known);
        self.rest = INTERVAL;
        self.next = is_busy.then(|| now + INTERVAL);
    }

    /// Measures what a family of processes uses and has used, some of which are commands'.
    pub(super) fn measure(
        &mut self,
        family: &[Process],
        is_command: impl Fn(&Process) -> bool,
        gauges: &Gauges,
        has_own_network: bool,
    ) -> Usage {
        let present: Duration = family.iter().map(Process::cpu_time).sum();
        let transfers = family.iter().map(Process::transfers);
        let (read, written) = transfers.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let commands = || family.iter().filter(|process| is_command(process));
        let past = sys::children_usage();
        let in_group = gauges.memory();
        let memory_bytes = in_group.unwrap_or_else(|| commands().map(Process::memory_bytes).sum());
        let seen = gauges.peak_memory().unwrap_or(past.largest_memory_bytes);
        self.peak_memory_bytes = self.peak_memory_bytes.max(memory_bytes).max(seen);
        Usage {
            processes: commands().count() as u32,
            cpu_time: present + past.cpu_time,
            memory_bytes,
            peak_memory_bytes: self.peak_memory_bytes,
            memory_source: match in_group {
                Some(_) => Meter::ControlGroup,
                None => Meter::Processes,
            },
            read_bytes: read + past.read_bytes,
            written_bytes: written + past.written_bytes,
            traffic: has_own_network.then(traffic::through).flatten(),
        }
    }
}

/// What the clocks of processes say together; `None` when one of them has ended.
fn clocks(processes: &[i32]) -> Option<Duration> {
    processes.iter().map(|pid| sys::cpu_clock(*pid)).sum()
}
