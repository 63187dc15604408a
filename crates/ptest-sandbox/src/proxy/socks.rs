//! SOCKS 5 (RFC 1928) as a proxy hears it: no authentication, and connections to names and addresses.
//!
//! Reads what has arrived so far; binding, datagrams and older versions are refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::proxy::rules::Host;

/// The first byte of everything that either side says.
pub(crate) const VERSION: u8 = 5;

/// The answer to a greeting: no authentication.
pub(crate) const WELCOME: [u8; 2] = [VERSION, 0];

/// The answer to a greeting that does not offer that.
pub(crate) const UNWELCOME: [u8; 2] = [VERSION, 0xff];

/// What a request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Outcome {
    Connected = 0,
    Failed = 1,
    NotAllowed = 2,
    HostUnreachable = 4,
    ConnectionRefused = 5,
    CommandNotSupported = 7,
    AddressTypeNotSupported = 8,
}

impl Outcome {
    /// The answer to a request. Which of our own addresses a connection has is nobody's business.
    pub(crate) fn to_bytes(self) -> [u8; 10] {
        [VERSION, self as u8, 0, 1, 0, 0, 0, 0, 0, 0]
    }
}

/// A message and how many bytes it took, or `None` as long as it is not there wholly.
pub(crate) type Message<T> = Option<(T, usize)>;

/// Reads a greeting: whether it offers to go without authentication.
pub(crate) fn greeting(bytes: &[u8]) -> Message<bool> {
    let count = usize::from(*bytes.get(1)?);
    let methods = bytes.get(2..2 + count)?;
    Some((methods.contains(&0), 2 + count))
}

/// Reads a request: the host and the port.
pub(crate) fn request(bytes: &[u8]) -> Result<Message<(Host, u16)>, Outcome> {
    let &[version, command, _, kind, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if version != VERSION {
        return Err(Outcome::Failed);
    }
    let (start, length) = match kind {
        1 => (0, 4),
        4 => (0, 16),
        3 => match rest.first() {
            Some(length) => (1, usize::from(*length)),
            None => return Ok(None),
        },
        _ => return Err(Outcome::AddressTypeNotSupported),
    };
    let end = start + length;
    let (Some(host), Some(&[high, low])) = (rest.get(start..end), rest.get(end..end + 2)) else {
        return Ok(None);
    };
    if command != 1 {
        return Err(Outcome::CommandNotSupported);
    }
    let host = match kind {
        3 => std::str::from_utf8(host).ok().and_then(Host::parse),
        _ => address(host).map(|address| Host::Address(address.to_canonical())),
    };
    let port = u16::from_be_bytes([high, low]);
    match host {
        Some(host) if port != 0 => Ok(Some(((host, port), 4 + end + 2))),
        _ => Err(Outcome::Failed),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    let bytes = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Vec<u8> {
        let mut bytes = vec![5, 1, 0, 3, name.len() as u8];
        bytes.extend(name.as_bytes());
        bytes.extend([1, 187]);
        bytes
    }

    #[test]
    fn a_message_is_read_when_it_is_whole_and_no_further() {
        let whole = named("PyPI.org");
        for length in 0..whole.len() {
            assert_eq!(request(&whole[..length]), Ok(None), "{length}");
        }
        let with_more = [&whole[..], b"more"].concat();
        let name = Host::Name("pypi.org".into());
        assert_eq!(request(&with_more), Ok(Some(((name, 443), whole.len()))));
        assert_eq!(greeting(&[5]), None);
        assert_eq!(greeting(&[5, 2, 1]), None);
        assert_eq!(greeting(&[5, 2, 1, 0, 5]), Some((true, 4)));
        assert_eq!(greeting(&[5, 1, 2]), Some((false, 3)));
    }

    #[test]
    fn addresses_are_taken_as_such_however_they_come() {
        let own = [5, 1, 0, 1, 127, 0, 0, 1, 0, 80];
        let mut mapped = vec![5, 1, 0, 4];
        mapped.extend("::ffff:127.0.0.1".parse::<Ipv6Addr>().unwrap().octets());
        mapped.extend([0, 80]);
        let home = Host::Address("127.0.0.1".parse().unwrap());
        for bytes in [&own[..], &mapped] {
            assert_eq!(request(bytes), Ok(Some(((home.clone(), 80), bytes.len()))));
        }
        let (asked, _) = request(&named("127.0.0.1")).unwrap().unwrap();
        assert_eq!(asked, (home, 443));
    }

    #[test]
    fn what_is_not_served_has_an_answer_of_its_own() {
        let with = |place: usize, byte| {
            let mut bytes = named("a.example");
            bytes[place] = byte;
            request(&bytes)
        };
        assert_eq!(with(1, 2), Err(Outcome::CommandNotSupported));
        assert_eq!(with(1, 3), Err(Outcome::CommandNotSupported));
        assert_eq!(with(3, 9), Err(Outcome::AddressTypeNotSupported));
        assert_eq!(with(0, 4), Err(Outcome::Failed));
        assert_eq!(request(&named("a b")), Err(Outcome::Failed));
        assert_eq!(request(&named("127.1")), Err(Outcome::Failed));
        assert_eq!(request(&named("")), Err(Outcome::Failed));
    }
}
