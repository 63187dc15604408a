//! Blocks of addresses, and which addresses are the Internet's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
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

    pub(super) fn contains(self, address: IpAddr) -> bool {
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

    /// One address alone.
    pub(super) fn of(address: IpAddr) -> Self {
        let prefix = Self::bits(address);
        Self { address, prefix }
    }

    pub(super) fn new(address: IpAddr, prefix: u32) -> Self {
        Self { address, prefix }
    }

    pub(super) fn is_ipv6(self) -> bool {
        self.address.is_ipv6()
    }

    pub(super) fn first(self) -> IpAddr {
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

    /// The longest prefix of such an address.
    pub(super) fn bits(address: IpAddr) -> u32 {
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
pub(super) fn is_public(address: IpAddr) -> bool {
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
