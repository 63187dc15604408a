//! One command from its start to its end, as init sees it.
//!
//! A run hears of its command through the leader's socket and acts at times of its own. It is told
//! by [`events`](crate::init::events) when either is due, and says what the client should hear; it
//! does not know connections.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, fstat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::init::execute::Context;
use crate::init::leader::{self, Ending, MAX_MESSAGE, Told};
use crate::init::{AtStage as _, processes, terminal};
use crate::limits::Struck;
use crate::plan::Privileges;
use crate::protocol::{Exit, Failure, Leftovers, Reply, Resources, Spawn, Stage, Status};
use crate::sys::{self, Fork};

/// How soon after one attempt to kill everything, or one look at what is ending, the next follows, at first and at most.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// One command.
pub(super) struct Run {
    leader_pid: i32,
    leader: OwnedFd,
    command: Option<i32>,
    /// The controlling side of the command's terminal, until the client gets it.
    controller: Option<OwnedFd>,
    on_terminal: bool,
    started: Instant,
    timeout: Option<Duration>,
    grace: Duration,
    leftovers: Leftovers,
    key: Option<u64>,
    client_gone: bool,
    timed_out: bool,
    leaked: u32,
    struck: Option<Struck>,
    by_signal: Vec<(i32, Struck)>,
    ending: Option<(Ending, Duration)>,
    phase: Phase,
}

/// What limits mean for one command.
pub(super) struct Charge {
    /// What the kernel holds it to.
    pub(super) resources: Resources,
    /// Whether it is a better choice than init when memory has run out.
    pub(super) expendable: bool,
    /// The signals by which the kernel ends what strikes a limit.
    pub(super) by_signal: Vec<(i32, Struck)>,
}

/// What is being done with a run.
enum Phase {
    /// Nothing: the command runs.
    Running,
    /// It was asked to end, and will be killed at that time.
    Terminating(Instant),
    /// It has ended, others of its group that were asked too have not; they are looked at next at that time.
    Lingering {
        kill: Instant,
        next: Instant,
        interval: Duration,
    },
    /// Everything below the leader is being killed, next at that time.
    Killing { next: Instant, interval: Duration },
    /// Nothing is left to do.
    Over,
}

/// What the client should hear, with what descriptor.
pub(super) type News = (Reply, Option<OwnedFd>);

impl Run {
    /// Starts a command. Its descriptors are the three standard ones, or none for a terminal.
    pub(super) fn start(
        spawn: &Spawn,
        passed: Vec<OwnedFd>,
        privileges: &Privileges,
        charge: Charge,
    ) -> Result<Self, Failure> {
        let (descriptors, controller) = match spawn.terminal {
            Some(size) => {
                let terminal = terminal::open(size)?;
                (terminal.descriptors, Some(terminal.controller))
            }
            None => (usable(passed)?, None),
        };
        let on_terminal = controller.is_some();
        let flags = SocketFlags::CLOEXEC;
        let (leader, init) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .at(Stage::Fork, "")?;
        match sys::fork().at(Stage::Fork, "")? {
            Fork::Child => {
                let context = Context {
                    privileges,
                    descriptors,
                    terminal: on_terminal,
                    resources: charge.resources,
                };
                leader::run(init, spawn, context)
            }
            Fork::Parent(pid) => Ok(Self {
                leader_pid: pid.as_raw_nonzero().get(),
                leader,
                command: None,
                controller,
                on_terminal,
                started: Instant::now(),
                timeout: spawn.timeout,
                grace: spawn.grace,
                leftovers: spawn.leftovers,
                key: spawn.key,
                client_gone: false,
                timed_out: false,
                leaked: 0,
                struck: None,
                by_signal: charge.by_signal,
                ending: None,
                phase: Phase::Running,
            }),
        }
    }

    /// Readable when the leader has something to say, or is gone.
    pub(super) fn leader(&self) -> BorrowedFd<'_> {
        self.leader.as_fd()
    }

    /// The leader's process, which is init's and not the command's.
    pub(super) fn leader_pid(&self) -> i32 {
        self.leader_pid
    }

    /// Whether the run can be forgotten. The leader ends when it is.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// When [`Run::act`] has something to do.
    pub(super) fn next_action(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => self.started.checked_add(self.command.and(self.timeout)?),
            Phase::Terminating(kill) => Some(kill),
            Phase::Lingering { kill, next, .. } => Some(next.min(kill)),
            Phase::Killing { next, .. } => Some(next),
            Phase::Over => None,
        }
    }

    /// Does what is due.
    pub(super) fn act(&mut self, now: Instant) -> Option<News> {
        if self.next_action().is_none_or(|due| due > now) {
            return None;
        }
        match self.phase {
            Phase::Running => {
                self.timed_out = true;
                match now.checked_add(self.grace) {
                    Some(kill) if !self.grace.is_zero() => {
                        self.signal(libc::SIGTERM, true);
                        // A stopped process would take its leave only when it is continued.
                        self.signal(libc::SIGCONT, true);
                        self.phase = Phase::Terminating(kill);
                        None
                    }
                    _ => self.kill(now),
                }
            }
            Phase::Terminating(_) => self.kill(now),
            Phase::Lingering { kill, interval, .. } => self.linger(now, kill, interval),
            Phase::Killing { interval, .. } => self.kill_again(now, interval),
            Phase::Over => None,
        }
    }

    /// Takes in one message of the leader. A command that fails while the disk is full was struck by that.
    pub(super) fn hear(&mut self, full: Option<Struck>) -> Option<News> {
        let mut bytes = [0; MAX_MESSAGE];
        let count = match rustix::io::read(&self.leader, &mut bytes) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return None,
            other => other.unwrap_or(0),
        };
        match postcard::from_bytes(&bytes[..count]) {
            Ok(Told::Started { pid }) => {
                self.command = Some(pid);
                self.started = Instant::now();
                Some((Reply::Started { pid }, self.controller.take()))
            }
            Ok(Told::Failed(failure)) => {
                self.phase = Phase::Over;
                Some((Reply::Failed(failure), None))
            }
            // Other stops are not the terminal's: a frozen sandbox, a debugger.
            Ok(Told::Stopped {
                signal: signal @ (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU),
            }) if self.on_terminal => Some((Reply::Stopped { signal }, None)),
            Ok(Told::Stopped { .. }) => None,
            Ok(Told::Ended(ending)) => self.end(ending, full),
            Err(_) => self.lose_leader(),
        }
    }

    /// The client is gone: nothing of the command may stay.
    pub(super) fn abandon(&mut self, now: Instant) {
        self.client_gone = true;
        match self.phase {
            Phase::Over => {}
            _ => drop(self.kill(now)),
        }
    }

    /// A limit strikes: the command is ended for it, or learns that it was refused something.
    pub(super) fn strike(&mut self, struck: Struck, now: Instant) -> Option<News> {
        let is_graver = self
            .struck
            .is_none_or(|before| struck.ended && !before.ended);
        if is_graver {
            self.struck = Some(struck);
        }
        if struck.ended && !matches!(self.phase, Phase::Over | Phase::Killing { .. }) {
            self.kill(now)
        } else {
            None
        }
    }

    /// Whether its command was started with this key, and has not ended.
    pub(super) fn is_running_as(&self, key: u64) -> bool {
        self.key == Some(key) && self.command.is_some() && self.ending.is_none()
    }

    /// Signals the command or its process group, if it runs.
    pub(super) fn signal(&self, signal: i32, group: bool) {
        if let (Some(command), None) = (self.command, &self.ending) {
            // It may have ended this very moment.
            let _gone = sys::kill(if group { -command } else { command }, signal);
        }
    }

    fn end(&mut self, ending: Ending, full: Option<Struck>) -> Option<News> {
        let left = if ending.leftovers {
            processes::descendants(self.leader_pid).len()
        } else {
            0
        };
        self.leaked = left as u32;
        if let Status::Signal { signal, .. } = ending.status {
            let by_it = self.by_signal.iter().find(|(one, _)| *one == signal);
            self.struck = self.struck.or(by_it.map(|(_, struck)| *struck));
        }
        if ending.status != Status::Code(0) {
            self.struck = self.struck.or(full);
        }
        self.ending = Some((ending, self.started.elapsed()));
        let is_struck = self.struck.is_some_and(|struck| struck.ended);
        let is_condemned =
            self.leftovers == Leftovers::Kill || self.timed_out || self.client_gone || is_struck;
        match self.phase {
            _ if !is_condemned || left == 0 => self.finish(),
            Phase::Terminating(kill) => self.linger(Instant::now(), kill, INTERVALS.0),
            _ => self.kill(Instant::now()),
        }
    }

    /// Leaves what is left of the command's group the rest of its grace. What left the group was not asked to end, and is
    /// killed with the last of them.
    fn linger(&mut self, now: Instant, kill: Instant, interval: Duration) -> Option<News> {
        let group = self.command.unwrap_or_default();
        let left = processes::descendants(self.leader_pid);
        if now >= kill || !left.iter().any(|process| process.is_in_group(group)) {
            return self.kill(now);
        }
        let interval = (interval * 2).min(INTERVALS.1);
        self.phase = Phase::Lingering {
            kill,
            next: now + interval,
            interval,
        };
        None
    }

    fn kill(&mut self, now: Instant) -> Option<News> {
        self.kill_again(now, INTERVALS.0)
    }

    fn kill_again(&mut self, now: Instant, interval: Duration) -> Option<News> {
        let left = processes::signal_descendants(self.leader_pid, libc::SIGKILL);
        if left == 0 && self.ending.is_some() {
            return self.finish();
        }
        let interval = (interval * 2).min(INTERVALS.1);
        self.phase = Phase::Killing {
            next: now + interval,
            interval,
        };
        None
    }

    fn finish(&mut self) -> Option<News> {
        let (ending, elapsed) = self.ending.as_ref()?;
        let exit = Exit {
            status: ending.status,
            timed_out: self.timed_out,
            leaked: self.leaked,
            user_time: ending.user_time,
            system_time: ending.system_time,
            peak_memory_bytes: ending.peak_memory_bytes,
            elapsed: *elapsed,
            struck: self.struck,
            read_bytes: ending.read_bytes,
            written_bytes: ending.written_bytes,
        };
        self.phase = Phase::Over;
        Some((Reply::Exited(exit), None))
    }

    /// Somebody inside has killed the leader, and with it the command.
    fn lose_leader(&mut self) -> Option<News> {
        if self.ending.is_some() {
            self.phase = Phase::Over;
            return None;
        }
        self.signal(libc::SIGKILL, true);
        let ending = Ending {
            status: Status::Signal {
                signal: libc::SIGKILL,
                core: false,
            },
            user_time: Duration::ZERO,
            system_time: Duration::ZERO,
            peak_memory_bytes: 0,
            read_bytes: 0,
            written_bytes: 0,
            leftovers: false,
        };
        let news = self.end(ending, None);
        self.phase = Phase::Over;
        news
    }
}

/// The three standard descriptors. A directory would be a way out of the sandbox.
fn usable(passed: Vec<OwnedFd>) -> Result<[OwnedFd; 3], Failure> {
    let names = ["standard input", "standard output", "standard error"];
    for (descriptor, name) in passed.iter().zip(names) {
        let kind = FileType::from_raw_mode(fstat(descriptor).at(Stage::Descriptors, name)?.st_mode);
        if kind.is_dir() {
            return Err(rustix::io::Errno::ISDIR).at(Stage::Descriptors, name);
        }
    }
    passed
        .try_into()
        .map_err(|_| rustix::io::Errno::BADF)
        .at(Stage::Descriptors, "")
}
