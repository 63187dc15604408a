//! Which ports may be leased: a range that was asked for, or one that the kernel leaves alone.

use std::fmt;
use std::fs;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The ports from one to another, both included; `20000-29999` as text, or one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from `first` to `last`; `None` where that is no port, or they are the wrong way round.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (0 < first && first <= last).then_some(Self { first, last })
    }

    /// The lowest port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub fn last(self) -> u16 {
        self.last
    }

    /// How many ports it has.
    pub fn count(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }

    fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// What of it lies below a port, and what does not.
    fn split(self, at: u16) -> (Option<Self>, Option<Self>) {
        let below = at.checked_sub(1).map(|below| below.min(self.last));
        (
            below.and_then(|last| Self::new(self.first, last)),
            Self::new(self.first.max(at), self.last),
        )
    }
}

impl FromStr for PortRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().ok();
        port(first)
            .zip(port(last))
            .and_then(|(first, last)| Self::new(first, last))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidInput,
                    format!("`{}` is no range of ports", text.escape_debug()),
                )
                .with_hint(
                    "write the lowest and the highest, such as `20000-29999`, from 1 to 65535",
                )
            })
    }
}

impl TryFrom<String> for PortRange {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// The ports that a request is served from: ranges, lowest first, that do not touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spans(Vec<PortRange>);

impl From<PortRange> for Spans {
    fn from(range: PortRange) -> Self {
        Self(vec![range])
    }
}

impl Spans {
    /// Those that the kernel gives to nobody by itself on this machine.
    ///
    /// What cannot be read is as the kernel has it by default: a ptest inside an environment may not see it.
    pub(crate) fn usual() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
        let given = read("ip_local_port_range").unwrap_or_default();
        let reserved = read("ip_local_reserved_ports").unwrap_or_default();
        Self::left(&given, &reserved)
    }

    /// What the kernel's own words leave: ip(7) has `ip_local_port_range`, the ports that are given to who names none, and
    /// the kernel's ip-sysctl documentation `ip_local_reserved_ports`, those that programs of the machine are known to use.
    fn left(given: &str, reserved: &str) -> Self {
        const KERNEL_DEFAULT: (u16, u16) = (32768, 60999);
        // Below are the ports that programs have by default: 5432, 8080, 11211.
        const ORDINARY: u16 = 20_000;
        const PRIVILEGED: u16 = 1024;
        const ENOUGH: u32 = 1000;
        let mut numbers = given.split_whitespace().map_while(|word| word.parse().ok());
        let (low, high) = numbers.next().zip(numbers.next()).unwrap_or(KERNEL_DEFAULT);
        let sides = [
            low.checked_sub(1)
                .and_then(|last| PortRange::new(PRIVILEGED, last)),
            high.checked_add(1)
                .and_then(|first| PortRange::new(first.max(PRIVILEGED), u16::MAX)),
        ];
        let side = sides
            .into_iter()
            .flatten()
            .max_by_key(|side| side.count())
            .filter(|side| side.count() >= ENOUGH)
            // Where the kernel gives out nearly all there is nothing better than what is free now.
            .unwrap_or(PortRange {
                first: ORDINARY,
                last: KERNEL_DEFAULT.0 - 1,
            });
        let (_, above) = side.split(ORDINARY);
        let side = above
            .filter(|above| above.count() >= ENOUGH)
            .unwrap_or(side);
        let mut spans = Self(vec![side]);
        let reserved = reserved.trim().split(',');
        for range in reserved.filter_map(|range| range.parse::<PortRange>().ok()) {
            spans.take_out(range);
        }
        spans
    }

    fn take_out(&mut self, out: PortRange) {
        self.0 = self
            .0
            .iter()
            .flat_map(|span| {
                let (below, _) = span.split(out.first);
                let above = out.last.checked_add(1).and_then(|next| span.split(next).1);
                [below, above]
            })
            .flatten()
            .collect();
    }

    /// The spans in the order in which they are gone through from a port on, once round.
    pub(super) fn beginning_at(&self, start: u16) -> impl Iterator<Item = PortRange> {
        let after = self.0.iter().filter_map(move |span| span.split(start).1);
        after.chain(self.0.iter().filter_map(move |span| span.split(start).0))
    }

    pub(super) fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|span| span.contains(port))
    }

    /// The port that is this many after the first; begins again where there are no more.
    pub(super) fn nth(&self, number: u32) -> Option<u16> {
        let mut left = number.checked_rem(self.count())?;
        for span in &self.0 {
            if left < span.count() {
                return Some(span.first + left as u16);
            }
            left -= span.count();
        }
        None
    }

    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|span| span.count()).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = PortRange> {
        self.0.iter().copied()
    }
}

impl fmt::Display for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&spans.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_reads_back_and_what_is_none_is_refused() {
        for text in ["1-65535", "20000-29999", "8080"] {
            assert_eq!(text.parse::<PortRange>().unwrap().to_string(), text);
        }
        for text in ["", "-", "0-5", "5-4", "1-65536", "a", "1-2-3"] {
            assert!(text.parse::<PortRange>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_the_kernel_gives_out_and_what_is_reserved_is_left_alone() {
        for (given, reserved, left) in [
            ("32768\t60999\n", "\n", "20000-32767"),
            (
                "32768 60999",
                "8080,20000-20010,25000,32767",
                "20011-24999, 25001-32766",
            ),
            ("32768 60999", "1-65535", ""),
            // The larger side is above, or there is little below what programs have by default.
            ("1024 40000", "", "40001-65535"),
            ("20100 65535", "", "1024-20099"),
            ("65535 65535", "", "20000-65534"),
            // Nearly all is given out, or nobody says what is.
            ("1024 65535", "", "20000-32767"),
            ("", "", "20000-32767"),
            ("nonsense", "nonsense", "20000-32767"),
        ] {
            assert_eq!(
                Spans::left(given, reserved).to_string(),
                left,
                "{given} {reserved}"
            );
        }
    }

    #[test]
    fn every_port_is_come_by_once_from_wherever_one_starts() {
        let spans = Spans::left("32768 60999", "20003-32764");
        assert_eq!(spans.to_string(), "20000-20002, 32765-32767");
        for start in [1, 20_000, 20_001, 25_000, 32_767, 65_535] {
            let mut ports: Vec<u16> = spans
                .beginning_at(start)
                .flat_map(|span| span.first..=span.last)
                .collect();
            let at_least = ports.iter().find(|port| **port >= start);
            assert!(at_least.is_none_or(|first| *first == ports[0]), "{ports:?}");
            ports.sort_unstable();
            assert_eq!(ports, [20_000, 20_001, 20_002, 32_765, 32_766, 32_767]);
        }
        let nth: Vec<u16> = (0..7).filter_map(|number| spans.nth(number)).collect();
        assert_eq!(nth[3..], [32_765, 32_766, 32_767, 20_000]);
    }
}
