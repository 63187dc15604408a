//! Which hosts a sandbox may reach, and where a name must not lead.
//!
//! Decisions about text and numbers only: names are resolved, and addresses connected to, elsewhere.

mod block;
mod host;
mod parse;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::block::{Block, is_public};
pub(crate) use self::host::{Host, authority};

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
        parse::rule(text).map_err(|why| InvalidRule {
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
            Hosts::Network(block) if block.is_ipv6() && self.port.is_some() => {
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
}
