//! Which hosts a sandbox may reach, and where a name must not lead.
//!
//! Decisions about text and numbers only: names are resolved, and addresses connected to, elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The ports of a rule that names none: those of http and https.
pub const USUAL_PORTS: [u16; 2] = [80, 443];

/// Hosts that may be reached, and at which ports.
///
/// Written `HOST` or `HOST:PORT`; without a port the rule is for the [`USUAL_PORTS`]. HOST is
///
/// - a name: that name alone;
/// - `*.NAME`: every name below it, not itself;
/// - an IP address, or a network such as `10.0.0.0/8`. With a port, IPv6 stands in brackets: `[::1]:443`.
///
/// Names are compared without regard to case or a final dot. Others than ASCII are written as they are resolved,
/// beginning with `xn--`.
///
/// A name may lead to public addresses only, unless a rule allows the address. A rule for an address is not one for names
/// that lead there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Rule {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Name(String),
    /// The name's subdomains.
    Below(String),
    Network(Block),
}

/// A text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no host that could be allowed: {why}", text.escape_debug())]
pub struct InvalidRule {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Rule {
    fn is_for(&self, port: u16) -> bool {
        self.port
            .map_or_else(|| USUAL_PORTS.contains(&port), |own| own == port)
    }

    fn allows_name(&self, name: &str, port: u16) -> bool {
        let is_named = match &self.hosts {
            Hosts::Name(own) => own == name,
            Hosts::Below(parent) => name
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.ends_with('.')),
            Hosts::Network(_) => false,
        };
        is_named && self.is_for(port)
    }

    fn allows_address(&self, address: IpAddr, port: u16) -> bool {
        matches!(&self.hosts, Hosts::Network(block) if block.contains(address)) && self.is_for(port)
    }
}

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        parse(text).map_err(|why| InvalidRule {
            text: text.to_owned(),
            why,
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = match &self.hosts {
            Hosts::Name(name) => name.clone(),
            Hosts::Below(name) => format!("*.{name}"),
            Hosts::Network(block) if block.address.is_ipv6() && self.port.is_some() => {
                format!("[{block}]")
            }
            Hosts::Network(block) => block.to_string(),
        };
        match self.port {
            Some(port) => write!(f, "{hosts}:{port}"),
            None => f.write_str(&hosts),
        }
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for Rule {
    type Error = InvalidRule;

    fn try_from(text: String) -> Result<Self, InvalidRule> {
        text.parse()
    }
}

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

/// All that a sandbox may reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// Whether this may be asked for.
    pub(crate) fn allow(&self, host: &Host, port: u16) -> bool {
        self.0.iter().any(|rule| match host {
            Host::Name(name) => rule.allows_name(name, port),
            Host::Address(address) => rule.allows_address(*address, port),
        })
    }

    /// Whether a name that may be asked for may lead there.
    pub(crate) fn let_lead_to(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.0.iter().any(|rule| rule.allows_address(address, port))
    }
}

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    address: IpAddr,
    prefix: u32,
}

impl Block {
    const fn v4(a: u8, b: u8, c: u8, prefix: u32) -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)),
            prefix,
        }
    }

    const fn v6(a: u16, b: u16, c: u16, prefix: u32) -> Self {
        Self {
            address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)),
            prefix,
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    fn first(self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }

    fn bits(address: IpAddr) -> u32 {
        if address.is_ipv4() { 32 } else { 128 }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == Self::bits(self.address) {
            self.address.fmt(f)
        } else {
            write!(f, "{}/{}", self.address, self.prefix)
        }
    }
}

/// What is this machine's, its network's or nobody's: no name of somebody else's may lead there. From the IANA's registries
/// of special-purpose addresses, without those for documentation.
const LOCAL: [Block; 17] = [
    Block::v4(0, 0, 0, 8),
    Block::v4(10, 0, 0, 8),
    Block::v4(100, 64, 0, 10),
    Block::v4(127, 0, 0, 8),
    // Among them the metadata of clouds.
    Block::v4(169, 254, 0, 16),
    Block::v4(172, 16, 0, 12),
    Block::v4(192, 0, 0, 24),
    Block::v4(192, 168, 0, 16),
    Block::v4(198, 18, 0, 15),
    Block::v4(224, 0, 0, 4),
    Block::v4(240, 0, 0, 4),
    // Translated in a way that only the network itself knows.
    Block::v6(0x64, 0xff9b, 1, 48),
    // Teredo: where it leads depends on who else takes part.
    Block::v6(0x2001, 0, 0, 32),
    Block::v6(0xfc00, 0, 0, 7),
    Block::v6(0xfe80, 0, 0, 10),
    Block::v6(0xfec0, 0, 0, 10),
    Block::v6(0xff00, 0, 0, 8),
];

/// Whether an address is one of the Internet.
fn is_public(address: IpAddr) -> bool {
    if let IpAddr::V6(address) = address
        && let Some(meant) = embedded(address)
    {
        return is_public(meant.into());
    }
    !LOCAL.iter().any(|block| block.contains(address))
}

/// The IPv4 address to which an IPv6 one leads: mapped, compatible (so are `::` and `::1`), NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = Some(Ipv4Addr::from_bits(address.to_bits() as u32));
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => last,
        [0x2002, ..] => Some(Ipv4Addr::from_bits((address.to_bits() >> 80) as u32)),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Rule, String> {
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
        let prefix = Block::bits(address);
        return Ok(Hosts::Network(Block { address, prefix }));
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
    let block = Block { address, prefix };
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

/// A domain name in lower case, without a final dot.
fn name(text: &str) -> Result<String, String> {
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

fn parse_port(text: &str) -> Option<u16> {
    digits(text)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
}

/// Without the plus that numbers may have elsewhere.
fn digits(text: &str) -> Option<u32> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Rules {
        Rules::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn allowed(rules: &Rules, target: &str) -> bool {
        let (host, port) = Host::parse_with_port(target, None).unwrap();
        rules.allow(&host, port)
    }

    #[test]
    fn a_name_allows_itself_alone_and_a_wildcard_what_is_below() {
        let rules = rules(&["PyPI.org.", "*.pythonhosted.org"]);
        for target in [
            "pypi.org:443",
            "PYPI.ORG.:80",
            "files.pythonhosted.org:443",
            "a.b.pythonhosted.org:443",
        ] {
            assert!(allowed(&rules, target), "{target}");
        }
        for target in [
            "test.pypi.org:443",
            "xpypi.org:443",
            "pythonhosted.org:443",
            "xpythonhosted.org:443",
            "pypi.org.evil.example:443",
            "203.0.113.7:443",
        ] {
            assert!(!allowed(&rules, target), "{target}");
        }
    }

    #[test]
    fn without_a_port_a_rule_is_for_http_and_https() {
        let rules = rules(&["a.example", "b.example:8080"]);
        let allowed: Vec<_> = ["a.example", "b.example"]
            .iter()
            .flat_map(|name| [80, 443, 8080].map(|port| format!("{name}:{port}")))
            .filter(|target| allowed(&rules, target))
            .collect();
        assert_eq!(allowed, ["a.example:80", "a.example:443", "b.example:8080"]);
    }

    #[test]
    fn addresses_are_allowed_by_themselves_and_by_networks() {
        let rules = rules(&[
            "192.0.2.1",
            "10.0.0.0/8:5432",
            "[::1]:443",
            "fd00::/8",
            "::ffff:192.0.2.9",
        ]);
        for target in [
            "192.0.2.1:80",
            "[::ffff:192.0.2.1]:443",
            "10.255.0.1:5432",
            "[::1]:443",
            "[fdff::1]:80",
            "192.0.2.9:80",
        ] {
            assert!(allowed(&rules, target), "{target}");
        }
        for target in [
            "192.0.2.2:80",
            "10.0.0.1:80",
            "11.0.0.1:5432",
            "[::1]:80",
            "[fe80::1]:80",
            "127.0.0.1:443",
        ] {
            assert!(!allowed(&rules, target), "{target}");
        }
    }

    #[test]
    fn a_name_leads_to_public_addresses_only() {
        let none = rules(&["evil.example"]);
        for local in [
            "0.0.0.0",
            "10.1.2.3",
            "100.100.100.200",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!none.let_lead_to(local.parse().unwrap(), 443), "{local}");
        }
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "203.0.113.7",
            "2606:4700::1111",
            "64:ff9b::101:101",
            "::ffff:1.1.1.1",
        ] {
            assert!(none.let_lead_to(public.parse().unwrap(), 443), "{public}");
        }
        let with = rules(&["evil.example", "127.0.0.0/8", "[::1]:8080"]);
        assert!(with.let_lead_to("127.0.0.1".parse().unwrap(), 443));
        assert!(with.let_lead_to("::ffff:127.0.0.1".parse().unwrap(), 443));
        assert!(with.let_lead_to("::1".parse().unwrap(), 8080));
        assert!(!with.let_lead_to("::1".parse().unwrap(), 443));
    }

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
