//! What a lease of a port is, and what is asked for to get some.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use rustix::net::SocketType;

use super::{PortName, PortRange};
use crate::environment::{EnvironmentId, ProcessIdentity};
use crate::error::{Error, ErrorKind};
use crate::timestamp::Timestamp;

/// What a port is looked at for. A number that is leased for one is not leased for the other meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PortProtocol {
    /// TCP alone; somebody else may have the number in UDP.
    Tcp,
    /// UDP alone; somebody else may have the number in TCP.
    Udp,
    /// TCP and UDP.
    #[default]
    Both,
}

impl PortProtocol {
    /// The word used in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Both => "both",
        }
    }

    /// The sockets that it is tried with.
    pub(super) fn sockets(self) -> &'static [SocketType] {
        match self {
            Self::Tcp => &[SocketType::STREAM],
            Self::Udp => &[SocketType::DGRAM],
            Self::Both => &[SocketType::STREAM, SocketType::DGRAM],
        }
    }
}

impl fmt::Display for PortProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PortProtocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "both" => Ok(Self::Both),
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("`{}` is none of tcp, udp, both", text.escape_debug()),
            )),
        }
    }
}

/// Who a port is leased to, with whom the lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortOwner {
    /// An environment: until it is removed.
    Environment(EnvironmentId),
    /// A process: until it ends.
    Process(ProcessIdentity),
    /// Nobody: until this moment, by the system's clock.
    Detached {
        /// The first moment at which it is no longer leased.
        until: Timestamp,
    },
}

impl PortOwner {
    /// Nobody, for a time from now on.
    pub fn detached_for(time: Duration) -> Self {
        Self::Detached {
            until: Timestamp::now().after(time),
        }
    }

    /// The word used in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Environment(_) => "environment",
            Self::Process(_) => "process",
            Self::Detached { .. } => "detached",
        }
    }
}

/// Ports to be leased.
#[derive(Clone, Debug)]
pub struct PortRequest {
    /// Who they are leased to.
    pub owner: PortOwner,
    /// How many: all of them or none.
    pub count: NonZeroU16,
    /// Which may be taken. Without it, those that the kernel gives to nobody by itself and that nobody reserved:
    /// `ip_local_port_range` in ip(7), `ip_local_reserved_ports` in the kernel's ip-sysctl documentation; from 20000 up.
    /// A range that is named is taken as it is, whatever the kernel does with it.
    pub range: Option<PortRange>,
    /// What they are looked at for.
    pub protocol: PortProtocol,
    /// At which address of this machine nobody may use them; without one at any, of IPv4 and of IPv6.
    pub address: Option<IpAddr>,
    /// What for; one port only. Among those of an environment no two have the same.
    pub name: Option<PortName>,
}

impl PortRequest {
    /// One port for an owner, of which nothing else is asked.
    pub fn new(owner: PortOwner) -> Self {
        Self {
            owner,
            count: NonZeroU16::MIN,
            range: None,
            protocol: PortProtocol::default(),
            address: None,
            name: None,
        }
    }
}

/// A port that is leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortLease {
    /// The number.
    pub port: u16,
    /// What it was looked at for.
    pub protocol: PortProtocol,
    /// At which address, if at one alone.
    pub address: Option<IpAddr>,
    /// What for.
    pub name: Option<PortName>,
    /// Who has it.
    pub owner: PortOwner,
    /// Since when.
    pub acquired_at: Timestamp,
}
