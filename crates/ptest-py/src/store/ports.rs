//! Leases of ports.

use std::num::NonZeroU16;

use ptest::environment::ProcessIdentity;
use ptest::{PortOwner, PortProtocol, PortRequest};
use ptest_report::PortsReport;
use pyo3::prelude::*;

use super::Store;
use super::opening::invalid;
use crate::document::{Seconds, dictionary};
use crate::environment::Environment;
use crate::error::Result;

#[pymethods]
impl Store {
    /// Leases ports: to an environment, for a time in seconds, or to this process.
    #[pyo3(signature = (count, environment, name, range, protocol, address, ttl))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the options of one call"
    )]
    fn acquire_ports<'py>(
        &self,
        py: Python<'py>,
        count: NonZeroU16,
        environment: Option<&Environment>,
        name: Option<&str>,
        range: Option<&str>,
        protocol: Option<&str>,
        address: Option<&str>,
        ttl: Option<Seconds>,
    ) -> Result<Bound<'py, PyAny>> {
        let owner = match (environment, ttl) {
            (Some(environment), _) => PortOwner::Environment(environment.identity().clone()),
            (None, Some(ttl)) => PortOwner::detached_for(ttl.0),
            (None, None) => PortOwner::Process(ProcessIdentity::current()?),
        };
        let range = range.map(str::parse).transpose()?;
        let request = PortRequest {
            owner,
            count,
            range: range.or(*self.config.port_range),
            protocol: protocol
                .map(str::parse::<PortProtocol>)
                .transpose()?
                .unwrap_or_default(),
            address: address
                .map(str::parse)
                .transpose()
                .map_err(|error| invalid("address", error))?,
            name: name.map(str::parse).transpose()?,
        };
        let leases = py.detach(|| self.ptest.acquire_ports(&request))?;
        dictionary(py, &PortsReport::new(&leases))
    }

    /// Ends leases of ports; gives those that were leased.
    fn release_ports(&self, py: Python<'_>, ports: Vec<u16>) -> Result<Vec<u16>> {
        Ok(py.detach(|| self.ptest.release_ports(&ports))?)
    }

    /// Every lease of a port.
    fn ports<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let leases = py.detach(|| self.ptest.port_leases())?;
        dictionary(py, &PortsReport::new(&leases))
    }
}
