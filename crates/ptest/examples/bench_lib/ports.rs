//! Works about ports: a lease and its end, among few and among many, and what it would take without one.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use ptest::environment::ProcessIdentity;
use ptest::{OpenOptions, PortOwner, PortRequest, Ptest};
use rustix::net::{AddressFamily, SocketType, bind, socket};

use super::{Bench, Result};

/// How many times in one round: a single one is too short for a clock.
const TIMES: u32 = 50;

impl Bench {
    /// Leases a port and gives it back, while so many others are leased.
    pub(super) fn lease(&mut self, work: &str, others: usize) -> Result<Duration> {
        let request = PortRequest::new(PortOwner::Process(ProcessIdentity::current()?));
        let ptest = self.with_leases(others, &request)?;
        let mut taken = Vec::new();
        let (mut acquiring, mut releasing) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..TIMES {
            let begin = Instant::now();
            let leases = ptest.acquire_ports(&request)?;
            acquiring += begin.elapsed();
            taken.extend(leases.iter().map(|lease| lease.port));
        }
        for port in taken {
            let begin = Instant::now();
            ptest.release_ports(&[port])?;
            releasing += begin.elapsed();
        }
        Ok(match work {
            "port-acquire" => acquiring / TIMES,
            _ => (acquiring + releasing) / TIMES,
        })
    }

    /// A store in which so many ports are leased.
    fn with_leases(&mut self, count: usize, request: &PortRequest) -> Result<&Ptest> {
        if !self.leased.contains_key(&count) {
            let home = self.options.home.with_file_name(format!("ports-{count}"));
            let ptest = Ptest::open(OpenOptions {
                home,
                ..self.options.clone()
            })?;
            if let Some(count) = u16::try_from(count)
                .ok()
                .and_then(std::num::NonZeroU16::new)
            {
                let all = PortRequest {
                    count,
                    ..request.clone()
                };
                ptest.acquire_ports(&all)?;
            }
            self.leased.insert(count, ptest);
        }
        self.leased
            .get(&count)
            .ok_or_else(|| "it has just been made".into())
    }
}

/// Binds a port that the kernel chooses and lets it go, in TCP and UDP, as who trusts to luck does.
pub(super) fn bare() -> Result<Duration> {
    let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let begin = Instant::now();
    for _ in 0..TIMES {
        for kind in [SocketType::STREAM, SocketType::DGRAM] {
            bind(socket(AddressFamily::INET6, kind, None)?, &any)?;
        }
    }
    Ok(begin.elapsed() / TIMES)
}
