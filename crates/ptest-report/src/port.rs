//! Reports of ports.

use ptest::{PortLease, PortOwner};
use serde::Serialize;

use crate::{ErrorDto, Report};

/// What `port acquire` and `port list` write.
#[derive(Debug, Serialize)]
pub struct PortsReport {
    ports: Vec<PortDto>,
}

/// A port that is leased.
#[derive(Debug, Serialize)]
pub(crate) struct PortDto {
    port: u16,
    /// What it was looked at for: `tcp`, `udp` or `both`.
    protocol: &'static str,
    /// At which address; null for any.
    address: Option<String>,
    name: Option<String>,
    /// `environment`, `process` or `detached`.
    owner: &'static str,
    /// The id of the environment that has it.
    environment: Option<String>,
    /// The id of the process that has it.
    process: Option<u32>,
    /// When the lease ends, if it ends with time.
    until: Option<String>,
    acquired_at: String,
}

impl PortsReport {
    /// Leases that hold.
    pub fn new(leases: &[PortLease]) -> Self {
        Self {
            ports: leases.iter().map(Into::into).collect(),
        }
    }
}

impl From<&PortLease> for PortDto {
    fn from(lease: &PortLease) -> Self {
        let (mut environment, mut process, mut end) = (None, None, None);
        match &lease.owner {
            PortOwner::Environment(id) => environment = Some(id.to_string()),
            PortOwner::Process(identity) => process = Some(identity.pid),
            PortOwner::Detached { until } => end = Some(until.to_string()),
        }
        Self {
            port: lease.port,
            protocol: lease.protocol.as_str(),
            address: lease.address.map(|address| address.to_string()),
            name: lease.name.as_ref().map(ToString::to_string),
            owner: lease.owner.as_str(),
            environment,
            process,
            until: end,
            acquired_at: lease.acquired_at.to_string(),
        }
    }
}

impl PortDto {
    pub(crate) fn samples() -> Vec<Self> {
        let bare = || Self {
            port: 20_000,
            protocol: "both",
            address: None,
            name: None,
            owner: "process",
            environment: None,
            process: None,
            until: None,
            acquired_at: "2026-01-01T00:00:00.000Z".to_owned(),
        };
        let full = Self {
            address: Some("127.0.0.1".to_owned()),
            name: Some("http".to_owned()),
            environment: Some("e0".to_owned()),
            process: Some(1),
            until: Some("2026-01-01T00:00:00.000Z".to_owned()),
            ..bare()
        };
        vec![bare(), full]
    }
}

impl Report for PortsReport {
    const NAME: &'static str = "ptest.ports";

    fn samples() -> Vec<Self> {
        vec![Self {
            ports: PortDto::samples(),
        }]
    }
}

/// What `port release` writes.
#[derive(Debug, Serialize)]
pub struct ReleasedPortsReport {
    released: Vec<u16>,
    failed: Vec<FailedDto>,
}

#[derive(Debug, Serialize)]
struct FailedDto {
    port: u16,
    error: ErrorDto,
}

impl ReleasedPortsReport {
    /// The ports that were released, and those that could not be.
    pub fn new<E>(released: Vec<u16>, failed: &[(u16, E)]) -> Self
    where
        for<'a> ErrorDto: From<&'a E>,
    {
        let failed = failed.iter().map(|(port, error)| FailedDto {
            port: *port,
            error: error.into(),
        });
        Self {
            released,
            failed: failed.collect(),
        }
    }
}

impl Report for ReleasedPortsReport {
    const NAME: &'static str = "ptest.released_ports";

    fn samples() -> Vec<Self> {
        let failed = ErrorDto::samples().into_iter().map(|error| FailedDto {
            port: 20_001,
            error,
        });
        vec![Self {
            released: vec![20_000],
            failed: failed.collect(),
        }]
    }
}
