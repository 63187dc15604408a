//! How a rule is written.

use std::net::IpAddr;

use super::block::Block;
use super::host::{digits, name, parse_port};
use super::{Hosts, Rule};

/// Reads a rule; the error says what is wrong with the text.
pub(super) fn rule(text: &str) -> Result<Rule, String> {
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(format!("it is a URL; its host alone is `{host}`"));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("there is no `]`")?;
            let port = rest.strip_prefix(':');
            if port.is_none() && !rest.is_empty() {
                return Err("after `]` there is a port, as in `[::1]:443`".to_owned());
            }
            (host, port)
        }
        // One with more colons is an IPv6 address.
        None if text.matches(':').count() == 1 => text
            .split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port))),
        None => (text, None),
    };
    let port = match port {
        Some(port) => Some(
            parse_port(port).ok_or_else(|| format!("`{port}` is no port: they are 1 to 65535"))?,
        ),
        None => None,
    };
    Ok(Rule {
        hosts: hosts(host)?,
        port,
    })
}

fn hosts(text: &str) -> Result<Hosts, String> {
    if let Some((address, prefix)) = text.split_once('/') {
        let address = address.parse::<IpAddr>().map_err(|_| {
            "before `/` there is an address, as in `10.0.0.0/8`; a path is no part of a host"
                .to_owned()
        })?;
        return network(address, prefix).map(Hosts::Network);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let address = address.to_canonical();
        return Ok(Hosts::Network(Block::of(address)));
    }
    match text.strip_prefix("*.") {
        Some(parent) => name(parent).map(Hosts::Below),
        None => name(text).map(Hosts::Name),
    }
}

fn network(address: IpAddr, prefix: &str) -> Result<Block, String> {
    let most = Block::bits(address);
    let prefix = digits(prefix)
        .filter(|prefix| *prefix <= most)
        .ok_or_else(|| format!("after `/` there is a number from 0 to {most}"))?;
    let block = Block::new(address, prefix);
    let first = block.first();
    if first != address {
        return Err(format!("the network is `{first}/{prefix}`"));
    }
    match (address, address.to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(_)) => {
            Err("write a network of IPv4 as one, without `::ffff:`".to_owned())
        }
        _ => Ok(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for text in [
            "pypi.org",
            "*.pythonhosted.org:8443",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::/0",
            "192.0.2.1:80",
            "::1",
            "[::1]:443",
            "[fd00::/8]:443",
            "my_host",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        let spelled = "[::1]".parse::<Rule>().unwrap();
        assert_eq!(spelled.to_string(), "::1");
    }

    #[test]
    fn what_is_no_host_says_what_is_wrong() {
        for (text, why) in [
            ("", "empty"),
            (":443", "empty"),
            ("*", "`*.example.org`"),
            ("a.*.org", "`*.example.org`"),
            ("*.", "empty"),
            ("a..b", "between two dots"),
            ("https://pypi.org/simple", "its host alone is `pypi.org`"),
            ("pypi.org/simple", "a path is no part"),
            ("pypi.org:0", "`0` is no port"),
            ("pypi.org:http", "`http` is no port"),
            ("pypi.org:+80", "`+80` is no port"),
            ("pypi.org:65536", "`65536` is no port"),
            ("user@pypi.org", "no `@`"),
            ("py pi.org", "no ` `"),
            ("bücher.example", "xn--"),
            ("10.1.2.3/8", "the network is `10.0.0.0/8`"),
            ("10.0.0.0/33", "0 to 32"),
            ("::ffff:10.0.0.0/104", "without `::ffff:`"),
            ("[::1", "no `]`"),
            ("[::1]443", "after `]`"),
            ("127.1", "IP address"),
            ("0x7f000001", "IP address"),
            ("1.2.3.4.5", "IP address"),
            ("fe80::1%eth0", "no `:`"),
        ] {
            let error = text.parse::<Rule>().unwrap_err();
            assert!(error.why.contains(why), "{text}: {error}");
        }
    }
}
