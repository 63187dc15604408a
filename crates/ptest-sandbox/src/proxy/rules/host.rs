//! Hosts and ports as somebody asks for them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A host as somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// In lower case, without a final dot.
    Name(String),
    /// Never an IPv4 address in the clothes of IPv6.
    Address(IpAddr),
}

impl Host {
    /// Reads a name or an address, IPv6 without brackets. `None` when it can be neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.parse::<IpAddr>() {
            Ok(address) => Some(Self::Address(address.to_canonical())),
            Err(_) => name(text).ok().map(Self::Name),
        }
    }

    /// Reads `HOST:PORT`, or `HOST` where there is a default port. IPv6 stands in brackets.
    pub(crate) fn parse_with_port(text: &str, default: Option<u16>) -> Option<(Self, u16)> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            let address = address.parse::<Ipv6Addr>().ok()?;
            (Self::Address(address.to_canonical()), port)
        } else {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (Self::parse(host)?, port)
        };
        let port = match port.strip_prefix(':') {
            // RFC 3986: an empty port is the default one.
            Some("") | None => default.filter(|_| port.len() <= 1)?,
            Some(port) => parse_port(port)?,
        };
        Some((host, port))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Host and port as in a URL.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A domain name in lower case, without a final dot.
pub(super) fn name(text: &str) -> Result<String, String> {
    if !text.is_ascii() {
        return Err("write it as it is resolved, beginning with `xn--`".to_owned());
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if name.contains('*') {
        return Err("a `*` stands for what is before a name, as in `*.example.org`".to_owned());
    }
    if name.len() > 253 {
        return Err("it is longer than a name can be".to_owned());
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("between two dots there are 1 to 63 characters".to_owned());
        }
        // The underscore is in no host's name by the book, and in some.
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if let Some(other) = label.chars().find(|other| !is_usual(*other as u8)) {
            return Err(format!(
                "a name has no `{}`",
                other.to_string().escape_debug()
            ));
        }
    }
    // Resolvers take `127.1` and `0x7f000001` for addresses.
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x");
    if last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err("it ends as an IP address does, and is none".to_owned());
    }
    Ok(name)
}

pub(super) fn parse_port(text: &str) -> Option<u16> {
    digits(text)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
}

/// Without the plus that numbers may have elsewhere.
pub(super) fn digits(text: &str) -> Option<u32> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_resolvers_take_for_addresses_are_no_hosts() {
        for text in [
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "010.0.0.1",
            "1.2.3",
            "a.b%",
            "",
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }
}
