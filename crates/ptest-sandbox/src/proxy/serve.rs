//! The proxy at work: `ptest-init proxy`, a process outside of the sandbox that it serves.
//!
//! It takes connections from a socket of the sandbox's own network, hears what each wants, and connects to what the rules
//! allow. It lives exactly as long as the sandbox's init, whose process it watches. What it holds is bounded: a number of
//! connections at a time, each with one thread, one head and two buffers; further ones wait until one ends. How requests
//! are written is [`http`]'s and [`socks`]'s, what is allowed is [`rules`](super::rules)'.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};
use rustix::process::{
    DumpableBehavior, PidfdFlags, Resource, Rlimit, chdir, getpid, getrlimit, pidfd_open,
    set_dumpable_behavior, setrlimit, setsid,
};
use rustix::stdio;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use crate::protocol::Reply;
use crate::proxy::http::{self, Answer};
use crate::proxy::refusals::{Reason, Record, missing_rule};
use crate::proxy::relay::relay;
use crate::proxy::rules::{Host, Rules};
use crate::proxy::socks::{self, Outcome};
use crate::proxy::{Order, Passed};
use crate::sys::{self, Fork};
use crate::wire::{self, Inbox};

/// How long the order may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most connections at a time.
const MOST_CONNECTIONS: u64 = 512;
/// Most bytes of a request's head.
const MOST_HEAD: usize = 32 << 10;
/// How many times more is read of who has had the last answer.
const MOST_UNREAD: usize = 64;
/// How long one address may take to answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Resolving a name takes most of it.
const STACK: usize = 256 << 10;

/// Takes the order on standard input, then serves until init ends.
pub(crate) fn run() -> io::Result<()> {
    // What the client's process has open without CLOEXEC is not ours to hold for life.
    sys::close_range(3, u32::MAX, false)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    sys::place_descriptor(null.as_fd(), 0)?;
    chdir("/")?;
    let deadline = Some(Instant::now() + PATIENCE);
    let mut inbox = Inbox::default();
    let (order, descriptors) =
        wire::receive::<Order>(socket.as_fd(), &mut inbox, deadline).map_err(io::Error::other)?;
    let passed = Passed::sort(&order, descriptors).ok_or(io::ErrorKind::InvalidData)?;
    // Nobody's child, or it would be a zombie of the client's for as long as that lives.
    if order.detached
        && let Fork::Parent(_) = sys::fork()?
    {
        return Ok(());
    }
    serve(socket, order, passed).map(|never| match never {})
}

/// Serves until init has ended. Who asked for it hears when it is ready.
fn serve(client: OwnedFd, order: Order, passed: Passed) -> io::Result<Infallible> {
    restrict()?;
    let own = getpid();
    let pidfd = pidfd_open(own, PidfdFlags::empty())?;
    let listener = TcpListener::from(passed.listener);
    let proxy = Arc::new(Proxy {
        rules: Rules::new(order.rules),
        patience: order.patience,
        record: passed.record.map(|record| Mutex::new(Record::new(record))),
        slots: Slots::new(raise_descriptor_limit()),
    });
    thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || accept(&proxy, &listener))?;
    let ready = Reply::Forked {
        pid: own.as_raw_nonzero().get(),
    };
    wire::send(client.as_fd(), &ready, &[pidfd.as_fd()], None).map_err(io::Error::other)?;
    drop((client, pidfd));
    let ended = wire::wait_for(&passed.init, PollFlags::IN, None);
    // At once: an orderly exit could wait for what the threads hold.
    sys::exit_now(if ended.is_ok() { 0 } else { 125 })
}

/// It needs the network and one file, and hears what anybody says.
fn restrict() -> io::Result<()> {
    // Keys and signals of the client's terminal are not for it.
    setsid()?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, none)?)
}

/// How many connections there can be. Each takes two descriptors, and a moment three.
fn raise_descriptor_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = MOST_CONNECTIONS * 2 + 128;
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let enough = current.is_none_or(|current| current >= raised);
    let limit = Rlimit {
        current: Some(raised),
        maximum,
    };
    let there = if enough || setrlimit(Resource::Nofile, limit).is_ok() {
        raised
    } else {
        current.unwrap_or(raised)
    };
    (there.saturating_sub(128) / 2).clamp(1, MOST_CONNECTIONS)
}

fn accept(proxy: &Arc<Proxy>, listener: &TcpListener) {
    loop {
        let slot = Slots::take(proxy);
        match listener.accept() {
            Ok((client, _)) => {
                // Without a thread the connection closes, and its slot is free again.
                let _refused = thread::Builder::new()
                    .stack_size(STACK)
                    .spawn(move || slot.0.converse(client));
            }
            // The connection is gone already, or the whole machine has no descriptors: that passes.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// What all connections share.
struct Proxy {
    rules: Rules,
    /// How long a request may take to come.
    patience: Duration,
    record: Option<Mutex<Record>>,
    slots: Slots,
}

/// How many more connections there can be.
struct Slots {
    free: Mutex<u64>,
    freed: Condvar,
}

/// A connection's place. It is free again when this is dropped.
struct Slot(Arc<Proxy>);

impl Slots {
    fn new(count: u64) -> Self {
        Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    fn free(&self) -> MutexGuard<'_, u64> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is one.
    fn take(proxy: &Arc<Proxy>) -> Slot {
        let slots = &proxy.slots;
        let mut free = slots
            .freed
            .wait_while(slots.free(), |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Slot(Arc::clone(proxy))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.slots.free() += 1;
        self.0.slots.freed.notify_one();
    }
}

/// Why a host cannot be reached.
enum Unreached {
    /// A name's address, when that is the reason.
    Refused(Option<IpAddr>),
    Unresolved(io::Error),
    Unreachable(io::Error),
}

impl Proxy {
    /// Hears what a client wants, does it, and ends when that has ended.
    fn converse(&self, client: TcpStream) {
        let mut said = Said {
            client: &client,
            bytes: Vec::new(),
            deadline: Instant::now() + self.patience,
        };
        // Who goes away early, or fails later, has nothing to hear of it.
        let _ended = match said.more() {
            Ok(()) if said.bytes[0] == socks::VERSION => self.speak_socks(said),
            Ok(()) => self.speak_http(said),
            Err(error) => Err(error.into()),
        };
    }

    fn speak_http(&self, mut said: Said<'_>) -> io::Result<()> {
        let client = said.client;
        if !said.bytes[0].is_ascii_graphic() {
            let answer = Answer::Malformed("this is neither HTTP nor SOCKS 5");
            return self.dismiss(client, &answer.to_bytes());
        }
        let mut seen = 0;
        let length = loop {
            if let Some(length) = http::head_length(&said.bytes, seen) {
                break length;
            }
            seen = said.bytes.len();
            match said.more() {
                Ok(()) => {}
                Err(Unheard::Late) => return self.dismiss(client, &Answer::TooSlow.to_bytes()),
                Err(Unheard::TooLong) => return self.dismiss(client, &Answer::TooLarge.to_bytes()),
                Err(Unheard::Io(error)) => return Err(error),
            }
        };
        let rest = said.bytes.split_off(length);
        let request = match http::parse(&said.bytes) {
            Ok(request) => request,
            Err(malformed) => {
                return self.dismiss(client, &Answer::Malformed(malformed.0).to_bytes());
            }
        };
        drop(said);
        let (host, port) = (request.host.to_string(), request.port);
        match self.reach(&request.host, port) {
            Ok(server) => {
                let early = if let Some(head) = request.head {
                    [head, rest].concat()
                } else {
                    (&mut &*client).write_all(http::ESTABLISHED)?;
                    rest
                };
                relay(client, &server, early)
            }
            Err(Unreached::Refused(address)) => {
                let remedy = format!("--allow {}", missing_rule(&host, port, address));
                let answer = Answer::Refused {
                    host: &host,
                    port,
                    remedy: &remedy,
                };
                self.dismiss(client, &answer.to_bytes())
            }
            Err(Unreached::Unresolved(error) | Unreached::Unreachable(error)) => {
                let why = error.to_string();
                let answer = Answer::Failed {
                    host: &host,
                    port,
                    why: &why,
                };
                self.dismiss(client, &answer.to_bytes())
            }
        }
    }

    fn speak_socks(&self, mut said: Said<'_>) -> io::Result<()> {
        let client = said.client;
        let (is_open, length) = loop {
            match socks::greeting(&said.bytes) {
                Some(greeting) => break greeting,
                None => said.more()?,
            }
        };
        if !is_open {
            return self.dismiss(client, &socks::UNWELCOME);
        }
        said.bytes.drain(..length);
        (&mut &*client).write_all(&socks::WELCOME)?;
        let ((host, port), length) = loop {
            match socks::request(&said.bytes) {
                Ok(Some(request)) => break request,
                Ok(None) => said.more()?,
                Err(outcome) => return self.dismiss(client, &outcome.to_bytes()),
            }
        };
        said.bytes.drain(..length);
        let outcome = match self.reach(&host, port) {
            Ok(server) => {
                (&mut &*client).write_all(&Outcome::Connected.to_bytes())?;
                return relay(client, &server, said.bytes);
            }
            Err(Unreached::Refused(..)) => Outcome::NotAllowed,
            Err(Unreached::Unreachable(error))
                if error.kind() == io::ErrorKind::ConnectionRefused =>
            {
                Outcome::ConnectionRefused
            }
            Err(_) => Outcome::HostUnreachable,
        };
        self.dismiss(client, &outcome.to_bytes())
    }

    /// Connects to a host, if it is allowed and where it is allowed. A name is resolved once, and only then.
    fn reach(&self, host: &Host, port: u16) -> Result<TcpStream, Unreached> {
        if !self.rules.allow(host, port) {
            return Err(self.refuse(host, port, Reason::NotAllowed, None));
        }
        let addresses: Vec<IpAddr> = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let found = (name.as_str(), port)
                    .to_socket_addrs()
                    .map_err(Unreached::Unresolved)?;
                let found: Vec<IpAddr> = found.map(|found| found.ip().to_canonical()).collect();
                let mut permitted = found.clone();
                permitted.retain(|address| self.rules.let_lead_to(*address, port));
                if let (true, Some(local)) = (permitted.is_empty(), found.first()) {
                    let local = Some(*local);
                    return Err(self.refuse(host, port, Reason::LocalAddress, local));
                }
                permitted
            }
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECT_LIMIT) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(Unreached::Unreachable(last))
    }

    /// Gives the last answer, and waits for the client to take it: closing at once, with words of the client unread, would
    /// take the answer back.
    fn dismiss(&self, mut client: &TcpStream, answer: &[u8]) -> io::Result<()> {
        client.write_all(answer)?;
        client.shutdown(Shutdown::Write)?;
        let deadline = Instant::now() + self.patience;
        let mut unread = [0; 4096];
        for _ in 0..MOST_UNREAD {
            let left = deadline.saturating_duration_since(Instant::now());
            if wire::wait_for(client, PollFlags::IN, Some(left)).is_err()
                || client.read(&mut unread)? == 0
            {
                break;
            }
        }
        Ok(())
    }

    /// On record before it is said, so that who was refused can look.
    fn refuse(&self, host: &Host, port: u16, reason: Reason, address: Option<IpAddr>) -> Unreached {
        if let Some(record) = &self.record {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            // A full disk is no reason to allow it, nor to serve nobody any more.
            let _unrecorded = record.add(host, port, reason, address);
        }
        Unreached::Refused(address)
    }
}

/// What a client has said before it is served.
struct Said<'a> {
    client: &'a TcpStream,
    bytes: Vec<u8>,
    deadline: Instant,
}

/// Why there is no more of it.
enum Unheard {
    Late,
    TooLong,
    Io(io::Error),
}

impl Said<'_> {
    /// Waits for more.
    fn more(&mut self) -> Result<(), Unheard> {
        let room = MOST_HEAD.saturating_sub(self.bytes.len());
        if room == 0 {
            return Err(Unheard::TooLong);
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        wire::wait_for(self.client, PollFlags::IN, Some(left)).map_err(|_| Unheard::Late)?;
        let mut buffer = [0; 4096];
        let count = buffer.len().min(room);
        match (&mut &*self.client).read(&mut buffer[..count]) {
            Ok(0) => Err(Unheard::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.bytes.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) => Err(Unheard::Io(error)),
        }
    }
}

impl From<Unheard> for io::Error {
    fn from(unheard: Unheard) -> Self {
        match unheard {
            Unheard::Late => io::ErrorKind::TimedOut.into(),
            Unheard::TooLong => io::ErrorKind::InvalidData.into(),
            Unheard::Io(error) => error,
        }
    }
}

/// The descriptors that come with the order.
impl Passed {
    fn sort(order: &Order, descriptors: Vec<OwnedFd>) -> Option<Self> {
        let mut descriptors = descriptors.into_iter();
        let (init, listener) = (descriptors.next()?, descriptors.next()?);
        let lock = if order.locked {
            Some(descriptors.next()?)
        } else {
            None
        };
        let record = if order.recorded {
            Some(descriptors.next()?)
        } else {
            None
        };
        Some(Self {
            init,
            listener,
            _lock: lock,
            record,
        })
    }
}
