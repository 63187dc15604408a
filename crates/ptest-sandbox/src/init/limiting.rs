//! The limits of a sandbox as init sees them: what the kernel says of those that it holds, who looks after the others,
//! and how all is ended that exceeds one.

use std::mem;
use std::time::{Duration, Instant};

use crate::init::gauges::Gauges;
use crate::init::processes::Process;
use crate::init::runs::Charge;
use crate::init::watch::Watcher;
use crate::limits::{Limit, Struck};
use crate::plan::Isolation;
use crate::protocol::Duties;
use crate::sys;

/// How soon after one attempt to kill everything the next follows.
const PURGE_INTERVAL: Duration = Duration::from_millis(2);
/// After how many attempts the leaders go too: then nothing can be started meanwhile.
const PURGE_PATIENCE: u32 = 5;
/// Init and the new leader are processes of the same user.
const OVERHEAD: u64 = 2;

pub(super) struct Limiting {
    duties: Duties,
    pub(super) gauges: Gauges,
    pub(super) watcher: Watcher,
    kills: u64,
    refusals: u64,
    was_full: bool,
    purge: Option<Purge>,
    is_full: bool,
}

/// All commands are being killed.
struct Purge {
    next: Instant,
    attempts: u32,
}

impl Limiting {
    pub(super) fn new(duties: Duties, gauges: Gauges, watcher: Watcher) -> Self {
        Self {
            was_full: watcher.is_full(),
            duties,
            gauges,
            watcher,
            kills: 0,
            refusals: 0,
            purge: None,
            is_full: false,
        }
    }

    /// What limits mean for one more command beside so many.
    pub(super) fn charge(&self, others: usize) -> Charge {
        let mut resources = self.duties.resources.clone();
        // Every leader is a process of the same user.
        resources.processes = resources
            .processes
            .map(|limit| limit.saturating_add(OVERHEAD + others as u64));
        let signals = [
            (libc::SIGXCPU, Limit::CpuTime),
            (libc::SIGXFSZ, Limit::FileSize),
        ];
        let by_signal = signals
            .into_iter()
            .filter_map(|(signal, limit)| Some((signal, self.struck(limit, 0, true)?)));
        Charge {
            resources,
            expendable: self.configured(Limit::Memory).is_some(),
            by_signal: by_signal.collect(),
        }
    }

    /// When there is something to do.
    pub(super) fn next_action(&self) -> Option<Instant> {
        let purge = self.purge.as_ref().map(|purge| purge.next);
        purge.into_iter().chain(self.watcher.next_look()).min()
    }

    /// Memory has run out, or will in a moment.
    pub(super) fn hear_alarm(&mut self) -> Option<Struck> {
        let rang = self.gauges.hear_alarm();
        self.memory_strike(rang)
    }

    /// What the kernel has done since this was last asked.
    pub(super) fn strikes_of_the_kernel(&mut self) -> Vec<Struck> {
        let mut strikes: Vec<Struck> = self.memory_strike(false).into_iter().collect();
        let refusals = self.gauges.process_refusals();
        if refusals > self.refusals {
            self.refusals = refusals;
            strikes.extend(self.struck(Limit::Pids, 0, false));
        }
        strikes.extend(self.filling_disk());
        strikes
    }

    /// The strike at whoever filled the disk since this was last asked.
    pub(super) fn filling_disk(&mut self) -> Option<Struck> {
        let full = self.full_disk();
        let was_full = mem::replace(&mut self.was_full, full.is_some());
        full.filter(|_| !was_full)
    }

    /// The strike at whoever wants to write more, where the kernel lets nothing more be written: nobody says who wanted to.
    pub(super) fn full_disk(&self) -> Option<Struck> {
        let is_full = self.watcher.is_full();
        is_full.then(|| self.struck(Limit::Disk, 0, false))?
    }

    fn memory_strike(&mut self, rang: bool) -> Option<Struck> {
        let kills = self.gauges.memory_kills();
        let is_new = kills > self.kills;
        self.kills = self.kills.max(kills);
        let peak = self.gauges.peak_memory().unwrap_or_default();
        (rang || is_new)
            .then(|| self.struck(Limit::Memory, peak, true))
            .flatten()
    }

    fn configured(&self, limit: Limit) -> Option<u64> {
        let all = &self.duties.configured;
        all.iter()
            .find(|(one, _)| *one == limit)
            .map(|(_, value)| *value)
    }

    fn struck(&self, limit: Limit, reached: u64, ended: bool) -> Option<Struck> {
        let configured = self.configured(limit)?;
        Some(Struck {
            limit,
            configured,
            reached: reached.max(configured),
            ended,
        })
    }

    /// From now on everything is killed, until nothing is left.
    pub(super) fn begin_purge(&mut self) {
        self.purge.get_or_insert(Purge {
            next: Instant::now(),
            attempts: 0,
        });
    }

    /// Whether nothing can run here any more: all commands are gone, and files in memory take what they left.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    fn is_out_of_memory(&self) -> bool {
        let Some(limit) = self.configured(Limit::Memory) else {
            return false;
        };
        let used = self.gauges.memory();
        used.unwrap_or_else(|| self.watcher.files_in_memory()) > limit / 10 * 9
    }

    /// Whether commands must wait, or they would be killed with the others.
    pub(super) fn is_purging(&self) -> bool {
        self.purge.is_some()
    }

    /// Kills the commands that there are, if they are to be.
    pub(super) fn purge(&mut self, now: Instant, commands: &[Process], isolation: Isolation) {
        let Some(purge) = &mut self.purge else { return };
        if commands.is_empty() {
            self.purge = None;
            self.is_full = self.is_out_of_memory();
            return;
        }
        // In a pid namespace that is everything but init; outside it would be the user's whole session.
        if purge.attempts >= PURGE_PATIENCE && isolation.has_namespaces() {
            let _gone = sys::kill(-1, libc::SIGKILL);
        }
        for process in commands {
            // One that has just ended is what is wanted.
            let _gone = sys::kill(process.pid, libc::SIGKILL);
        }
        purge.attempts += 1;
        purge.next = now + PURGE_INTERVAL;
    }
}
