//! Leases are acquired, given back, and taken from the dead.

use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    PortLease, PortName, PortOwner, PortProtocol, PortRange, PortRequest, Spans, probe, table,
};
use crate::environment::{EnvironmentId, ProcessIdentity, Record, State};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{self, About, Cause, Event};
use crate::ptest::Ptest;
use crate::settings::Settings;
use crate::timestamp::Timestamp;

impl Ptest {
    /// Leases ports: all that are asked for, or none.
    ///
    /// No other caller of this store is given them until they are released or their owner has ended, and nobody on this
    /// machine used them at the moment of the call. A program that knows nothing of ptest may still take one.
    ///
    /// # Errors
    ///
    /// `Busy` where fewer are free, `NotFound` without the environment, `AlreadyExists` where it has a port of that name,
    /// `PermissionDenied` for ports that the caller may not bind, `InvalidInput` for an address that is not this machine's
    /// and for one name of several ports.
    pub fn acquire_ports(&self, request: &PortRequest) -> Result<Vec<PortLease>> {
        if request.name.is_some() && request.count.get() > 1 {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "several ports cannot have one name",
            )
            .with_hint("ask for one at a time, each with a name of its own"));
        }
        let spans = self.port_spans(request.range);
        let wanted = Wanted {
            spans: &spans,
            protocol: request.protocol,
            address: request.address,
            owner: &request.owner,
            name: request.name.as_ref(),
            boot_id: self.boot_id(),
        };
        let count = usize::from(request.count.get());
        self.store().database().write(|transaction| {
            if let PortOwner::Environment(id) = &request.owner {
                refuse_gone(transaction, id)?;
            }
            wanted.acquire(transaction, count)
        })
    }

    /// Every lease that holds, by port.
    pub fn port_leases(&self) -> Result<Vec<PortLease>> {
        self.release_dead_ports()?;
        self.store().database().read(table::all)
    }

    /// Ends the leases of these ports, whoever has them; gives those that were leased.
    ///
    /// Nothing is closed: who has bound one keeps it.
    pub fn release_ports(&self, ports: &[u16]) -> Result<Vec<u16>> {
        self.store().database().write(|transaction| {
            let mut leases = Vec::new();
            for port in ports {
                leases.extend(table::release(transaction, *port)?);
            }
            released(transaction, leases, Cause::Asked)
        })
    }

    /// Ends all leases of an environment; gives the ports.
    pub fn release_ports_of(&self, id: &EnvironmentId) -> Result<Vec<u16>> {
        self.store().database().write(|transaction| {
            let leases = table::release_of(transaction, id)?;
            released(transaction, leases, Cause::Asked)
        })
    }

    /// Ends the leases of dead processes and those whose time is over; gives the ports.
    pub(crate) fn release_dead_ports(&self) -> Result<Vec<u16>> {
        let database = self.store().database();
        // Openings look, and there is rarely anything to write.
        let is_any = database.read(|connection| {
            Ok::<_, Error>(
                table::is_any_expired(connection, Timestamp::now())?
                    || !dead(connection, self.boot_id())?.is_empty(),
            )
        })?;
        if !is_any {
            return Ok(Vec::new());
        }
        database.write(|transaction| release_dead(transaction, self.boot_id()))
    }

    /// The ports that an environment has.
    pub(crate) fn ports_of(&self, id: &EnvironmentId) -> Result<Vec<PortLease>> {
        let database = self.store().database();
        database.read(|connection| table::of_environment(connection, id))
    }

    /// The settings of an environment with the names of the ports that it has now: what another one like it is to have.
    pub(crate) fn settings_now(&self, record: &Record) -> Result<Settings> {
        let ports = self.ports_of(&record.id)?;
        Ok(Settings {
            ports: ports.into_iter().filter_map(|lease| lease.name).collect(),
            ..Settings::clone(&record.settings)
        })
    }

    /// The ports that a request is served from.
    pub(crate) fn port_spans(&self, range: Option<PortRange>) -> Spans {
        range.map_or_else(|| self.usual_ports().clone(), Spans::from)
    }
}

/// Leases a port for each name to an environment that is being made, in the transaction that writes its row.
pub(crate) fn lease_named(
    transaction: &Connection,
    id: &EnvironmentId,
    names: &[PortName],
    spans: &Spans,
    boot_id: &str,
) -> Result<()> {
    for name in names {
        let wanted = Wanted {
            spans,
            protocol: PortProtocol::default(),
            address: None,
            owner: &PortOwner::Environment(id.clone()),
            name: Some(name),
            boot_id,
        };
        wanted.acquire(transaction, 1)?;
    }
    Ok(())
}

/// Ends the leases of an environment in the transaction that deletes its row.
pub(crate) fn release_of_removed(transaction: &Connection, id: &EnvironmentId) -> Result<()> {
    let leases = table::release_of(transaction, id)?;
    released(transaction, leases, Cause::EnvironmentRemoved).map(drop)
}

/// What is looked for.
struct Wanted<'a> {
    spans: &'a Spans,
    protocol: PortProtocol,
    address: Option<IpAddr>,
    owner: &'a PortOwner,
    name: Option<&'a PortName>,
    boot_id: &'a str,
}

impl Wanted<'_> {
    /// Finds and leases ports. What was leased before it failed is given back with the transaction.
    ///
    /// Ports are tried while no other process can lease any: else two that try the same would each find the other in the way.
    fn acquire(&self, transaction: &Connection, count: usize) -> Result<Vec<PortLease>> {
        let now = Timestamp::now();
        let expired = table::release_expired(transaction, now)?;
        released(transaction, expired, Cause::Expired)?;
        if let (PortOwner::Environment(id), Some(name)) = (self.owner, self.name)
            && table::is_named(transaction, id, name)?
        {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("the environment has a port named `{name}`"),
            )
            .with_hint("choose another name, or `ptest port release` it first"));
        }
        let mut leases = Vec::with_capacity(count);
        let mut used = self.search(transaction, count, now, &mut leases)?;
        if leases.len() < count && !release_dead(transaction, self.boot_id)?.is_empty() {
            used = self.search(transaction, count, now, &mut leases)?;
        }
        if leases.len() < count {
            return Err(self.exhausted(transaction, count, leases.len(), used)?);
        }
        Ok(leases)
    }

    /// Leases ports until there are enough, or all have been looked at; gives how many others use.
    fn search(
        &self,
        transaction: &Connection,
        count: usize,
        now: Timestamp,
        leases: &mut Vec<PortLease>,
    ) -> Result<usize> {
        let mut used = 0;
        let Some(start) = self.start(transaction)? else {
            return Ok(used);
        };
        for span in self.spans.beginning_at(start) {
            let mut left = Some(span);
            while let Some(range) = left
                && leases.len() < count
                && let Some(port) = table::first_free(transaction, range)?
            {
                left = port
                    .checked_add(1)
                    .and_then(|next| PortRange::new(next, span.last()));
                if !probe::is_free(port, self.protocol, self.address)? {
                    used += 1;
                    continue;
                }
                let lease = PortLease {
                    port,
                    protocol: self.protocol,
                    address: self.address,
                    name: self.name.cloned(),
                    owner: self.owner.clone(),
                    acquired_at: now,
                };
                table::insert(transaction, &lease)?;
                acquired(transaction, &lease)?;
                leases.push(lease);
            }
        }
        if let Some(last) = leases.last() {
            table::set_last(transaction, last.port)?;
        }
        Ok(used)
    }

    /// Where the search begins: after the port that was leased last, else anywhere.
    fn start(&self, connection: &Connection) -> Result<Option<u16>> {
        let last = table::last(connection)?;
        if self.spans.contains(last) {
            return Ok(Some(last.checked_add(1).unwrap_or(1)));
        }
        let anywhere = u32::from_ne_bytes(crate::random::bytes()?);
        Ok(self.spans.nth(anywhere))
    }

    fn exhausted(
        &self,
        connection: &Connection,
        count: usize,
        found: usize,
        used: usize,
    ) -> Result<Error> {
        let mut leased = 0;
        for span in self.spans.iter() {
            leased += table::count(connection, span)? as usize;
        }
        let leased = leased - found;
        let spans = self.spans;
        let what = match (self.spans.count(), count) {
            (0, _) => "no port is left to choose from: the kernel reserves all".to_owned(),
            (1, 1) => format!("port {spans} is not free: {leased} leased, {used} used by others"),
            (_, 1) => {
                format!("no port of {spans} is free: {leased} are leased, {used} used by others")
            }
            _ => format!(
                "of {count} ports only {found} are free in {spans}: {leased} are leased, {used} used by others"
            ),
        };
        Ok(Error::new(ErrorKind::Busy, what).with_hint(
            "`ptest port list` shows who has the leased ones; `--range` or the setting `port_range` names others",
        ))
    }
}

/// An environment that is being removed gets no more: its ports are given back with its row.
fn refuse_gone(connection: &Connection, id: &EnvironmentId) -> Result<()> {
    let state: Option<String> = connection
        .prepare_cached("SELECT state FROM environments WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    if state.is_some_and(|state| state != State::Removing.as_str()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::NotFound,
        format!("there is no environment {id}"),
    ))
}

/// The processes that hold leases and are no more.
fn dead(connection: &Connection, boot_id: &str) -> Result<Vec<ProcessIdentity>> {
    let mut processes = table::processes(connection)?;
    processes.retain(|process| !process.is_alive(boot_id));
    Ok(processes)
}

fn release_dead(transaction: &Connection, boot_id: &str) -> Result<Vec<u16>> {
    let expired = table::release_expired(transaction, Timestamp::now())?;
    let mut ports = released(transaction, expired, Cause::Expired)?;
    for process in dead(transaction, boot_id)? {
        let leases = table::release_of_process(transaction, &process)?;
        ports.extend(released(transaction, leases, Cause::OwnerDied)?);
    }
    Ok(ports)
}

/// Records that a port was leased.
fn acquired(transaction: &Connection, lease: &PortLease) -> Result<()> {
    let event = Event::PortAcquired {
        port: lease.port,
        protocol: lease.protocol.as_str().to_owned(),
        name: lease.name.clone().map(String::from),
        process: match &lease.owner {
            PortOwner::Process(identity) => Some(identity.pid),
            PortOwner::Environment(_) | PortOwner::Detached { .. } => None,
        },
    };
    record(transaction, &lease.owner, &event)
}

/// Records that leases have ended; gives the ports.
fn released(transaction: &Connection, leases: Vec<PortLease>, cause: Cause) -> Result<Vec<u16>> {
    let mut ports = Vec::with_capacity(leases.len());
    for lease in leases {
        let event = Event::PortReleased {
            port: lease.port,
            name: lease.name.map(String::from),
            cause,
        };
        record(transaction, &lease.owner, &event)?;
        ports.push(lease.port);
    }
    Ok(ports)
}

fn record(transaction: &Connection, owner: &PortOwner, event: &Event) -> Result<()> {
    let PortOwner::Environment(id) = owner else {
        return events::append(transaction, None, event).map(drop);
    };
    let label: Option<String> = transaction
        .prepare_cached("SELECT name FROM environments WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?
        .flatten();
    let label = label.as_deref().unwrap_or(id.as_str());
    events::append(transaction, Some(About { id, label }), event).map(drop)
}
