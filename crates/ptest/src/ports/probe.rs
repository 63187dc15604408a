//! Whether a port is in use on this machine: by binding it.
//!
//! A socket of ours asks for no sharing (`SO_REUSEADDR`, `SO_REUSEPORT`), so that the kernel refuses it whenever any other
//! socket has the port at an address that overlaps, whether it listens or not, and for the minute in which connections of a
//! server that ended may still have packets on their way (tcp(7), `TIME_WAIT`). Nothing is sent or received.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::PortProtocol;
use crate::error::{Error, ErrorKind, Result};

/// Whether nobody has the port, at this address or at any.
pub(super) fn is_free(port: u16, protocol: PortProtocol, address: Option<IpAddr>) -> Result<bool> {
    for kind in protocol.sockets() {
        match attempt(*kind, port, address) {
            Ok(()) => {}
            Err(Errno::ADDRINUSE) => return Ok(false),
            Err(errno) => return Err(failed(port, address, errno)),
        }
    }
    Ok(true)
}

/// An IPv6 socket that is bound to no address takes those of IPv4 too, so that one says it of both.
fn attempt(kind: SocketType, port: u16, address: Option<IpAddr>) -> Result<(), Errno> {
    if let Some(address) = address {
        return attempt_at(kind, SocketAddr::new(address, port));
    }
    match attempt_at(kind, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
        // The kernel was started without IPv6.
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
            attempt_at(kind, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
        }
        other => other,
    }
}

fn attempt_at(kind: SocketType, address: SocketAddr) -> Result<(), Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if family == AddressFamily::INET6 && address.ip().is_unspecified() {
        // Whatever `net.ipv6.bindv6only` says.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)
}

fn failed(port: u16, address: Option<IpAddr>, errno: Errno) -> Error {
    let what = match address {
        Some(address) => format!("bind port {port} of {address}"),
        None => format!("bind port {port}"),
    };
    let error = Error::io(what, errno.into());
    match (errno, address) {
        (Errno::ACCESS, _) => error.with_hint(
            "low ports need a privilege (`net.ipv4.ip_unprivileged_port_start`): name a range from 1024 up",
        ),
        (Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT, Some(address)) => Error::new(
            ErrorKind::InvalidInput,
            format!("{address} is no address of this machine"),
        )
        .with_hint("`ip address` shows which it has; without one all are meant"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    /// A port that nobody else has: the kernel chose it for what is bound there.
    fn port(listener: &TcpListener) -> u16 {
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn a_listener_at_any_address_of_either_family_is_seen() {
        for address in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"] {
            let Ok(listener) = TcpListener::bind((address, 0)) else {
                // Without IPv6 nobody listens there.
                assert!(address.contains(':'), "{address}");
                continue;
            };
            let port = port(&listener);
            assert!(
                !is_free(port, PortProtocol::Tcp, None).unwrap(),
                "{address}"
            );
            assert!(
                !is_free(port, PortProtocol::Both, None).unwrap(),
                "{address}"
            );
            assert!(is_free(port, PortProtocol::Udp, None).unwrap(), "{address}");
            drop(listener);
            assert!(
                is_free(port, PortProtocol::Both, None).unwrap(),
                "{address}"
            );
        }
    }

    #[test]
    fn at_one_address_only_who_is_there_or_everywhere_is_in_the_way() {
        let listener = TcpListener::bind(("127.0.0.2", 0)).unwrap();
        let at = |address: &str| {
            let address = Some(address.parse().unwrap());
            is_free(port(&listener), PortProtocol::Tcp, address).unwrap()
        };
        assert!(at("127.0.0.1"));
        assert!(!at("127.0.0.2"));
        assert!(!at("0.0.0.0"));
        assert!(!at("::"));
    }

    #[test]
    fn who_only_receives_is_seen_too() {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(!is_free(port, PortProtocol::Udp, None).unwrap());
        assert!(!is_free(port, PortProtocol::Both, None).unwrap());
        assert!(is_free(port, PortProtocol::Tcp, None).unwrap());
    }

    #[test]
    fn an_address_of_another_machine_is_said_to_be_one() {
        // For documentation only: RFC 5737.
        let address = Some("192.0.2.1".parse().unwrap());
        let error = is_free(20_000, PortProtocol::Tcp, address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
    }
}
