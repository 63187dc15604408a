//! Init at work: one loop over clients, commands, signals and time.
//!
//! It never blocks on anybody. When it returns the process ends, and in a pid namespace the kernel
//! ends everything else with it; without one everything is killed first.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, listen};
use rustix::process::{
    DumpableBehavior, geteuid, getpid, set_child_subreaper, set_dumpable_behavior, setsid,
};

use crate::init::accounts::Accounts;
use crate::init::freezing::Freezing;
use crate::init::limiting::Limiting;
use crate::init::preference::Preference;
use crate::init::processes::{self, Process};
use crate::init::runs::{News, Run};
use crate::init::stub::Passed;
use crate::init::term::{self, Term};
use crate::init::watch::{self, Watched, Watcher};
use crate::init::{AtStage as _, listing, root, security};
use crate::limits::Struck;
use crate::plan::{Isolation, Network, Plan, Privileges};
use crate::protocol::{Failure, Launch, LeftOut, Reply, Request, Spawn, Stage, Usage};
use crate::proxy;
use crate::sys::{self, WaitEvent};
use crate::wire::{self, Filled, Inbox, WireError};

/// How long clients may take to hear how their commands ended, when nothing can go on.
const FAREWELL: Duration = Duration::from_secs(1);

/// How often it is looked whether everything has ended, while it is to end.
const ENDING_INTERVAL: Duration = Duration::from_millis(2);

/// How many connections may be open on which nothing is being done: who has something to ask asks it at once.
const MOST_IDLE: usize = 256;

/// How long no connection is accepted when there are no descriptors for one.
const DEAF_INTERVAL: Duration = Duration::from_millis(10);

/// How long a grace is at most: what is longer than the clock can tell is as long.
const LONGEST_GRACE: Duration = Duration::from_secs(u32::MAX as u64);

/// Makes the sandbox and serves it until it ends.
pub(super) fn run(control: OwnedFd, launch: Launch, passed: Passed) {
    let preference = Preference::own();
    let (signals, watcher, reply, entrance) = match set_up(&launch, &passed) {
        Ok(ready) => ready,
        Err(failure) => {
            let _gone = wire::send(control.as_fd(), &Reply::Failed(failure), &[], None);
            return;
        }
    };
    let entrance_fd: Vec<BorrowedFd<'_>> = entrance.iter().map(|one| one.as_fd()).collect();
    if wire::send(control.as_fd(), &reply, &entrance_fd, None).is_err() {
        return;
    }
    // The proxy's alone: were it open here too, nobody would notice that the proxy is gone.
    drop(entrance);
    let mut server = Server {
        isolation: launch.plan.isolation,
        privileges: launch.plan.privileges,
        limiting: Limiting::new(launch.duties, passed.gauges, watcher),
        preference,
        // Held until this process ends.
        _lock: passed.lock,
        owner: passed.owner,
        listener: passed.listener,
        signals,
        control: launch.kept.then_some(0),
        connections: BTreeMap::from([(0, Connection::new(control))]),
        next_connection: 1,
        deaf_until: None,
        runs: BTreeMap::new(),
        leaders: HashSet::new(),
        freezing: Freezing::default(),
        waiting: Vec::new(),
        term: Term::new(launch.term, Instant::now()),
        ending: None,
        accounts: Accounts::new(passed.ring),
    };
    while server.turn() {}
    server.record_end();
    if server.isolation == Isolation::None {
        // The kernel does not.
        processes::kill_descendants(getpid());
    }
}

/// Makes the sandbox. Returns the descriptor of signals, who looks after limits, what the client is told, and the proxy's
/// socket.
fn set_up(
    launch: &Launch,
    passed: &Passed,
) -> Result<(OwnedFd, Watcher, Reply, Option<OwnedFd>), Failure> {
    let plan = &launch.plan;
    setsid().at(Stage::Fork, "")?;
    let signals = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
    let signals = sys::signals_as_descriptor(&signals).at(Stage::Fork, "")?;
    // As long as the host's tree is in sight.
    let watched = Watched::open(&launch.duties.watch)?;
    let left_out = match plan.isolation {
        Isolation::Namespaces { network, .. } => set_up_namespaces(plan, network)?,
        Isolation::None => {
            set_child_subreaper(Some(getpid())).at(Stage::Fork, "")?;
            Vec::new()
        }
    };
    // As long as it may use any port.
    let entrance = if launch.proxied {
        Some(proxy::listener().at(Stage::Network, "the proxy's port")?)
    } else {
        None
    };
    // Commands run as the same user: without this they could take init over.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::Privileges, "")?;
    let landlock =
        security::restrict_descendants(plan, &watched.directories).at(Stage::Privileges, "")?;
    if let Some(listener) = &passed.listener {
        // Done here and not by the client, so that its peers see init's identity.
        listen(listener, 64).at(Stage::Request, "")?;
    }
    let watcher = Watcher::new(launch.duties.watch.clone(), plan, watched)
        // What cannot be looked at any more would count for nothing.
        .at(Stage::Limits, "")?;
    Ok((
        signals,
        watcher,
        Reply::Ready { left_out, landlock },
        entrance,
    ))
}

fn set_up_namespaces(plan: &Plan, network: Network) -> Result<Vec<LeftOut>, Failure> {
    if network == Network::Private {
        sys::raise_loopback().at(Stage::Network, "lo")?;
    }
    let left_out = root::assemble(plan)?;
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).at(Stage::Hostname, name)?;
    }
    Ok(left_out)
}

struct Server {
    isolation: Isolation,
    privileges: Privileges,
    limiting: Limiting,
    preference: Preference,
    _lock: Option<OwnedFd>,
    owner: Option<OwnedFd>,
    listener: Option<OwnedFd>,
    signals: OwnedFd,
    /// The connection whose end is the sandbox's end.
    control: Option<u64>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    /// No connection is accepted before, for want of descriptors.
    deaf_until: Option<Instant>,
    /// By the number of the connection that each was asked for on.
    runs: BTreeMap<u64, Run>,
    /// The leaders of runs that have not been reaped, those of forgotten runs among them.
    leaders: HashSet<i32>,
    freezing: Freezing,
    /// Commands that were asked for while none can be started, each with its connection and descriptors.
    waiting: Vec<(u64, Box<Spawn>, Vec<OwnedFd>)>,
    term: Term,
    /// When everything that then still runs is killed.
    ending: Option<Instant>,
    accounts: Accounts,
}

struct Connection {
    socket: OwnedFd,
    inbox: Inbox,
    /// There may be another request in the inbox.
    has_more: bool,
}

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            inbox: Inbox::default(),
            has_more: false,
        }
    }
}

/// What has something to say.
#[derive(Clone, Copy)]
enum Source {
    Owner,
    /// Memory has run out. Heard before what that has ended.
    Alarm,
    Survey,
    Listener,
    Signals,
    Connection(u64),
    Leader(u64),
}

impl Server {
    /// Waits for something and deals with it. Returns whether to go on.
    fn turn(&mut self) -> bool {
        let Ok(ready) = self.wait() else {
            return false;
        };
        for source in ready {
            let proceed = match source {
                Source::Owner => false,
                Source::Signals => self.take_signals(),
                Source::Listener => {
                    self.accept();
                    true
                }
                Source::Connection(id) => self.converse(id),
                Source::Alarm => {
                    let struck = self.limiting.hear_alarm();
                    self.strike(struck);
                    true
                }
                Source::Survey => {
                    let struck = self.limiting.watcher.end_survey();
                    self.strike(struck);
                    true
                }
                Source::Leader(id) => {
                    self.notice();
                    let full = self.limiting.full_disk();
                    let news = self.runs.get_mut(&id).and_then(|run| run.hear(full));
                    self.pass_on(id, news);
                    true
                }
            };
            if !proceed {
                return false;
            }
        }
        self.look();
        self.record();
        self.start_waiting();
        let now = Instant::now();
        let due: Vec<u64> = self.runs.keys().copied().collect();
        for id in due {
            let news = self.runs.get_mut(&id).and_then(|run| run.act(now));
            self.pass_on(id, news);
        }
        let count = self.runs.len();
        self.runs.retain(|_, run| !run.is_over());
        if self.runs.len() < count {
            self.term.touch(now);
        }
        self.end_in_time(now);
        self.ending.is_none_or(|end| now < end && !self.has_ended())
    }

    /// Ends everything when the time is over.
    fn end_in_time(&mut self, now: Instant) {
        let is_due = self.term.next_action().is_some_and(|next| next <= now);
        if self.ending.is_none() && is_due {
            let is_used = !self.has_ended();
            if self.term.is_over(now, is_used) {
                self.end(now, term::GRACE);
            }
        }
    }

    /// Asks all that runs to end, and ends it after the grace.
    fn end(&mut self, now: Instant, grace: Duration) {
        if !grace.is_zero() {
            self.signal_commands(libc::SIGTERM);
            self.signal_commands(libc::SIGCONT);
        }
        self.ending = Some(now + grace.min(LONGEST_GRACE));
    }

    fn wait(&self) -> Result<Vec<Source>, Errno> {
        let mut sources = vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        let mut add = |source, descriptor| sources.push((source, descriptor, PollFlags::IN));
        if let Some(owner) = &self.owner {
            add(Source::Owner, owner.as_fd());
        }
        let hears = self.deaf_until.is_none_or(|until| until <= Instant::now());
        if let Some(listener) = self.listener.as_ref().filter(|_| hears) {
            add(Source::Listener, listener.as_fd());
        }
        if let Some((_, result)) = self.limiting.watcher.survey() {
            add(Source::Survey, result);
        }
        // Whoever has asked for more than was served yet sends no more before it is.
        let (asked, quiet): (Vec<_>, Vec<_>) = self
            .connections
            .iter()
            .partition(|(_, connection)| connection.has_more);
        for (id, connection) in quiet {
            add(Source::Connection(*id), connection.socket.as_fd());
        }
        let alarm = self.limiting.gauges.memory_alarm();
        sources.extend(alarm.map(|(alarm, flags)| (Source::Alarm, alarm, flags)));
        let leaders = self.runs.iter();
        sources.extend(leaders.map(|(id, run)| (Source::Leader(*id), run.leader(), PollFlags::IN)));

        let acts = self.runs.values().filter_map(Run::next_action);
        let mut next = acts
            .chain(self.limiting.next_action())
            .chain(self.accounts.next_look())
            .chain(self.deaf_until)
            .chain(self.term.next_action().filter(|_| self.ending.is_none()))
            .min();
        if self.ending.is_some() {
            let look = Instant::now() + ENDING_INTERVAL;
            next = Some(next.map_or(look, |next| next.min(look)));
        }
        let mut timeout = next.map(|next| next.saturating_duration_since(Instant::now()));
        if !asked.is_empty() {
            timeout = Some(Duration::ZERO);
        }
        let polled = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags));
        let mut polled: Vec<PollFd<'_>> = polled.collect();
        match poll(&mut polled, timeout.map(wire::timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(other) => return Err(other),
        }
        let ready = sources
            .iter()
            .zip(&polled)
            .filter(|(_, poll)| !poll.revents().is_empty());
        let asked = asked.into_iter().map(|(id, _)| Source::Connection(*id));
        Ok(ready
            .map(|((source, ..), _)| *source)
            .chain(asked)
            .collect())
    }

    /// Reaps whatever has ended. Returns false when init itself is told to end.
    fn take_signals(&mut self) -> bool {
        let told_to_end = sys::arrived_signals(&self.signals)
            .into_iter()
            .any(|signal| signal != libc::SIGCHLD);
        let mut stopped = Vec::new();
        while let Ok(Some(waited)) = sys::wait_any(false, true) {
            match waited.event {
                WaitEvent::Stopped(_) => stopped.push(waited.pid),
                WaitEvent::Other => {}
                WaitEvent::Exited(_) | WaitEvent::Signaled { .. } => {
                    self.leaders.remove(&waited.pid);
                }
            }
        }
        // Commands run as the same user and may stop their leader, which could then not tell that they have ended.
        let survey = self.limiting.watcher.survey().map(|(pid, _)| pid);
        for pid in stopped {
            if self.leaders.contains(&pid) || survey == Some(pid) {
                let _gone = sys::kill(pid, libc::SIGCONT);
            }
        }
        !told_to_end
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let socket = match accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            // Who waits to be accepted stays, and would be heard of without end.
            Err(Errno::MFILE | Errno::NFILE) if !self.drop_idle(0) => {
                self.deaf_until = Some(Instant::now() + DEAF_INTERVAL);
                return;
            }
            Err(_) => return,
        };
        self.deaf_until = None;
        let user = sys::peer(socket.as_fd()).map(|peer| peer.user);
        if user.is_ok_and(|user| user == geteuid().as_raw() || user == 0) {
            self.connect(socket);
        }
    }

    fn connect(&mut self, socket: OwnedFd) {
        self.drop_idle(MOST_IDLE);
        self.connections
            .insert(self.next_connection, Connection::new(socket));
        self.next_connection += 1;
    }

    /// Drops the connection that has been of no use for longest if there are more than so many. Returns whether it did.
    fn drop_idle(&mut self, most: usize) -> bool {
        let is_idle = |id: &u64| {
            !self.has_command(*id) && !self.freezing.is_for(*id) && self.control != Some(*id)
        };
        let mut idle = self.connections.keys().copied().filter(is_idle);
        let oldest = idle.next();
        match oldest.filter(|_| idle.count() >= most) {
            Some(id) => {
                self.hang_up(id);
                true
            }
            None => false,
        }
    }

    /// Takes in what a client says. Returns false when that ends the sandbox.
    fn converse(&mut self, id: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else {
            return true;
        };
        if !connection.has_more
            && !matches!(
                connection.inbox.fill(connection.socket.as_fd()),
                Ok(Filled::Open)
            )
        {
            return self.hang_up(id);
        }
        // One request a turn, so that nobody who asks for much keeps the others waiting.
        match connection.inbox.next::<Request>() {
            Ok(Some((request, descriptors))) => {
                connection.has_more = !connection.inbox.is_empty();
                self.serve(id, request, descriptors);
                true
            }
            Ok(None) => {
                connection.has_more = false;
                true
            }
            Err(error) => {
                // The header of the answer says which version is spoken here.
                if matches!(error, WireError::Version(_)) {
                    self.say(id, &refusal(libc::EPROTO), None);
                }
                self.hang_up(id)
            }
        }
    }

    fn hang_up(&mut self, id: u64) -> bool {
        self.connections.remove(&id);
        self.waiting.retain(|(other, ..)| *other != id);
        self.thaw(id);
        if let Some(run) = self.runs.get_mut(&id) {
            run.abandon(Instant::now());
        }
        self.control != Some(id)
    }

    fn serve(&mut self, id: u64, request: Request, descriptors: Vec<OwnedFd>) {
        match request {
            Request::Adopt => descriptors
                .into_iter()
                .for_each(|socket| self.connect(socket)),
            Request::Spawn(_) if self.has_command(id) || self.ending.is_some() => {
                self.say(id, &refusal(libc::EBUSY), None);
            }
            Request::Spawn(spawn) => self.waiting.push((id, spawn, descriptors)),
            Request::Signal { signal, group } => {
                if let Some(run) = self.runs.get(&id) {
                    run.signal(signal, group);
                }
            }
            Request::SignalRun { key, signal } => {
                let mut runs = self.runs.values();
                let reply = match runs.find(|run| run.is_running_as(key)) {
                    Some(run) => {
                        run.signal(signal, true);
                        Reply::Done
                    }
                    None => refusal(libc::ESRCH),
                };
                self.say(id, &reply, None);
            }
            Request::Usage => {
                let family = self.family();
                let usage = self.usage(&family);
                self.say(id, &Reply::Usage(usage), None);
            }
            Request::Processes => {
                let listing = listing::of(&self.commands());
                self.say(id, &Reply::Processes(listing), None);
            }
            Request::SignalProcess {
                pid,
                started,
                signal,
            } => {
                let reply = self.signal_process(pid, started, signal);
                self.say(id, &reply, None);
            }
            Request::Freeze => {
                let mut freezing = std::mem::take(&mut self.freezing);
                let reply = if freezing.begin(id, || self.commands()) {
                    Reply::Done
                } else {
                    refusal(libc::ETIMEDOUT)
                };
                self.freezing = freezing;
                self.say(id, &reply, None);
            }
            Request::Stop { grace } => self.end(Instant::now(), grace),
            Request::Launch(_) => self.say(id, &refusal(libc::EALREADY), None),
        }
    }

    fn start(&mut self, id: u64, spawn: &Spawn, descriptors: Vec<OwnedFd>) {
        let charge = self.limiting.charge(self.runs.len());
        let expendable = charge.expendable;
        let start = || Run::start(spawn, descriptors, &self.privileges, charge);
        let started = if expendable {
            self.preference.for_others(start)
        } else {
            start()
        };
        match started {
            Ok(run) => {
                self.leaders.insert(run.leader_pid());
                self.runs.insert(id, run);
                self.limiting.watcher.wake();
                self.accounts.wake();
            }
            Err(failure) => self.say(id, &Reply::Failed(failure), None),
        }
    }

    /// Whether a command was asked for on this connection and is not over.
    fn has_command(&self, id: u64) -> bool {
        self.runs.contains_key(&id) || self.waiting.iter().any(|(waiting, ..)| *waiting == id)
    }

    /// Starts what was asked for, unless everything has to be still, or is being ended.
    fn start_waiting(&mut self) {
        if self.freezing.is_frozen() || self.limiting.is_purging() {
            return;
        }
        for (id, spawn, descriptors) in std::mem::take(&mut self.waiting) {
            self.start(id, &spawn, descriptors);
        }
    }

    /// Lets go on what was stopped for this connection, if it was.
    fn thaw(&mut self, id: u64) {
        let mut freezing = std::mem::take(&mut self.freezing);
        freezing.end(id, || self.commands());
        self.freezing = freezing;
    }

    fn pass_on(&mut self, id: u64, news: Option<News>) {
        if let Some((reply, descriptor)) = news {
            if let Reply::Exited(exit) = &reply {
                self.accounts.see_peak(exit.peak_memory_bytes);
            }
            self.say(id, &reply, descriptor);
        }
    }

    /// Answers a client. One that does not take its answers is dropped.
    fn say(&mut self, id: u64, reply: &Reply, descriptor: Option<OwnedFd>) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.iter().map(|one| one.as_fd()).collect();
        if wire::send(connection.socket.as_fd(), reply, &descriptors, None).is_err() {
            self.hang_up(id);
        }
    }

    /// Whether every command has ended and its client was told.
    fn has_ended(&self) -> bool {
        self.runs.is_empty() && self.commands().is_empty()
    }

    /// The living processes that are not init's own.
    fn commands(&self) -> Vec<Process> {
        let survey = self.limiting.watcher.survey().map(|(pid, _)| pid);
        let mut found = processes::family(own_pid());
        found.retain(|process| is_command(process, &self.leaders, survey));
        found
    }

    /// Looks after the limits that nobody else holds, and goes on ending what has exceeded one.
    fn look(&mut self) {
        let now = Instant::now();
        if self.limiting.next_action().is_none_or(|next| next > now) {
            return;
        }
        let struck = self.limiting.filling_disk();
        self.strike(struck);
        let commands = self.commands();
        if let Some(configured) = self.limiting.watcher.cpu_time() {
            let runs: Vec<(u64, i32)> = self
                .runs
                .iter()
                .map(|(id, run)| (*id, run.leader_pid()))
                .collect();
            for (id, leader) in runs {
                if let Some(struck) = watch::cpu_time_exceeded(configured, leader) {
                    self.strike_one(id, struck);
                }
            }
        }
        let is_busy = !commands.is_empty() || !self.runs.is_empty();
        let struck = self.limiting.watcher.look(now, &commands, is_busy);
        self.strike(struck);
        self.limiting.purge(now, &commands, self.isolation);
        if self.limiting.is_full() {
            self.ending.get_or_insert(now + FAREWELL);
        }
    }

    /// Asks the kernel whether it has held somebody to a limit.
    fn notice(&mut self) {
        for struck in self.limiting.strikes_of_the_kernel() {
            self.strike(Some(struck));
        }
    }

    /// A limit of all commands together strikes.
    fn strike(&mut self, struck: Option<Struck>) {
        let Some(struck) = struck else { return };
        let ids: Vec<u64> = self.runs.keys().copied().collect();
        for id in ids {
            self.strike_one(id, struck);
        }
        if struck.ended {
            self.limiting.begin_purge();
        }
    }

    fn strike_one(&mut self, id: u64, struck: Struck) {
        let now = Instant::now();
        let news = self
            .runs
            .get_mut(&id)
            .and_then(|run| run.strike(struck, now));
        self.pass_on(id, news);
    }

    fn signal_commands(&self, signal: i32) {
        for process in self.commands() {
            // One that has just ended needs no signal.
            let _gone = sys::kill(process.pid, signal);
        }
    }

    /// The processes below init, dead ones too.
    fn family(&self) -> Vec<Process> {
        let own = own_pid();
        match self.isolation {
            // Of a whole machine.
            Isolation::None => processes::offspring(own).unwrap_or_else(|| processes::family(own)),
            Isolation::Namespaces { .. } => processes::family(own),
        }
    }

    fn usage(&mut self, family: &[Process]) -> Usage {
        let Self {
            leaders, limiting, ..
        } = self;
        let survey = limiting.watcher.survey().map(|(pid, _)| pid);
        self.accounts.measure(
            family,
            |process| is_command(process, leaders, survey),
            &limiting.gauges,
            self.isolation.has_own_network(),
        )
    }

    /// Records what is used, if it is time.
    fn record(&mut self) {
        let now = Instant::now();
        if self.accounts.is_due(now) {
            let family = self.family();
            let usage = self.usage(&family);
            let is_busy = usage.processes > 0 || !self.leaders.is_empty();
            let disk = self.limiting.watcher.disk_bytes();
            self.accounts.record(now, &usage, disk, &family, is_busy);
        }
    }

    /// Records what was used, of which nothing is left.
    fn record_end(&mut self) {
        if !self.accounts.is_open() {
            return;
        }
        let family = self.family();
        let usage = Usage {
            processes: 0,
            memory_bytes: 0,
            ..self.usage(&family)
        };
        let disk = self.limiting.watcher.disk_bytes();
        self.accounts
            .record(Instant::now(), &usage, disk, &[], false);
    }

    fn signal_process(&self, pid: i32, started: u64, signal: i32) -> Reply {
        let mut commands = self.commands().into_iter();
        let is_there = commands.any(|process| process.pid == pid && process.started == started);
        if !is_there {
            return refusal(libc::ESRCH);
        }
        match sys::kill(pid, signal) {
            Ok(()) => Reply::Done,
            Err(error) => refusal(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

fn is_command(process: &Process, leaders: &HashSet<i32>, survey: Option<i32>) -> bool {
    process.is_alive() && !leaders.contains(&process.pid) && Some(process.pid) != survey
}

fn refusal(errno: i32) -> Reply {
    Reply::Failed(Failure {
        stage: Stage::Request,
        subject: "".into(),
        errno,
    })
}

fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}
