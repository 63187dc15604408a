//! Stops every process of the sandbox for as long as somebody needs its files to be still.
//!
//! By SIGSTOP, for a freezer of a control group is seldom to be had. Who asked for it is known by a
//! connection: when that is gone, for whatever reason, the processes go on. Not for what is stopped
//! from a terminal, and what was stopped before stays so.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::init::processes::Process;
use crate::sys;

/// How long freezing may take.
const LIMIT: Duration = Duration::from_secs(2);

/// What is stopped, and for whom.
#[derive(Default)]
pub(super) struct Freezing {
    /// The connections that asked for it.
    holders: HashSet<u64>,
    /// What somebody else had stopped before.
    stopped: HashSet<i32>,
}

impl Freezing {
    /// Stops all that `commands` gives, for one more connection; `false` when some of it does not
    /// stop in time: then all goes on.
    pub(super) fn begin(&mut self, id: u64, commands: impl Fn() -> Vec<Process>) -> bool {
        if self.holders.is_empty() {
            self.stopped = commands()
                .iter()
                .filter(|process| process.is_stopped_by_signal())
                .map(|process| process.pid)
                .collect();
            if !stop(&commands) {
                self.go_on(commands());
                return false;
            }
        }
        self.holders.insert(id);
        true
    }

    /// Whether commands must wait.
    pub(super) fn is_frozen(&self) -> bool {
        !self.holders.is_empty()
    }

    /// Whether this connection asked for it.
    pub(super) fn is_for(&self, id: u64) -> bool {
        self.holders.contains(&id)
    }

    /// A connection has ended. If it was the last that needed stillness all goes on.
    pub(super) fn end(&mut self, id: u64, commands: impl FnOnce() -> Vec<Process>) {
        if self.holders.remove(&id) && !self.is_frozen() {
            self.go_on(commands());
        }
    }

    /// Children before their parents, so that no parent wakes to find its child stopped.
    fn go_on(&self, commands: Vec<Process>) {
        let ours = commands
            .into_iter()
            .rev()
            .filter(|process| !self.stopped.contains(&process.pid));
        for process in ours {
            // One that has ended meanwhile needs no signal.
            let _gone = sys::kill(process.pid, libc::SIGCONT);
        }
    }
}

/// There may be new processes while others are being stopped: repeat until none runs.
fn stop(commands: impl Fn() -> Vec<Process>) -> bool {
    let deadline = Instant::now() + LIMIT;
    loop {
        let running: Vec<Process> = commands()
            .into_iter()
            .filter(|process| !process.is_stopped())
            .collect();
        if running.is_empty() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        for process in running {
            let _gone = sys::kill(process.pid, libc::SIGSTOP);
        }
        thread::yield_now();
    }
}
