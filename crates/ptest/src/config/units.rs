//! Durations and sizes as people write them, for configuration files and the command line alike.
//!
//! `M` is MiB here, as in Docker, systemd and `dd`: a limit of `512M` is 536,870,912 bytes, never 512,000,000 and
//! never 51. Who means powers of ten writes `MB`.

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;

/// The longest duration accepted: a century, so that adding one to a clock reading never overflows.
const LONGEST: Duration = Duration::from_hours(24 * 365 * 100);

/// Reads a duration: `1500ms`, `60s`, `5m`, `1h30m`, `2d`; a bare number means seconds.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidUnit> {
    let invalid = |why| InvalidUnit {
        text: text.to_owned(),
        why,
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(invalid("it is empty"));
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let number: f64 = number.parse().map_err(|_| invalid("a number is missing"))?;
        let unit_end = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "" if after.is_empty() && total.is_zero() => 1.0,
            "" => return Err(invalid("a unit is missing")),
            _ => return Err(invalid("the units are ms, s, m, h and d")),
        };
        total = Duration::try_from_secs_f64(number * unit)
            .ok()
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum <= LONGEST)
            .ok_or_else(|| invalid("it is longer than a century"))?;
        rest = after;
    }
    Ok(total)
}

/// Reads a size: `512M` (= `512MiB` = 536,870,912 bytes), `2G`, `64k`, `1.5GiB`, `100MB` (= 100,000,000 bytes); a bare
/// number means bytes. Case does not matter.
pub fn parse_bytes(text: &str) -> Result<u64, InvalidUnit> {
    let invalid = |why| InvalidUnit {
        text: text.to_owned(),
        why,
    };
    let (number, unit) = split_number(text.trim());
    if number.is_empty() {
        return Err(invalid("a number is missing"));
    }
    let unit: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => {
            return Err(invalid(
                "the units are B, K, M, G and T, with iB (1024) or B (1000)",
            ));
        }
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole
            .checked_mul(unit)
            .ok_or_else(|| invalid("it is too large"));
    }
    let bytes = number
        .parse::<f64>()
        .map_err(|_| invalid("a number is missing"))?
        * unit as f64;
    // 2^64 is exactly representable, so everything below it converts without saturating.
    if bytes < 18_446_744_073_709_551_616.0 {
        Ok(bytes.round() as u64)
    } else {
        Err(invalid("it is too large"))
    }
}

/// Writes a duration in the form that [`parse_duration`] reads back to the same value, to the millisecond.
pub fn format_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let millis = duration.as_millis();
    let mut text = String::new();
    let mut rest = millis;
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest / length > 0 {
            text += &(rest / length).to_string();
            text += unit;
            rest %= length;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// Writes a size for people: three figures and a power of 1024.
pub fn format_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" || value >= 100.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// How much of something there may be: more than nothing, which is no limit to some and everything to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// So many bytes; none is no size.
    pub const fn new(bytes: u64) -> Option<Self> {
        match bytes {
            0 => None,
            bytes => Some(Self(bytes)),
        }
    }

    /// In bytes; never zero.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match parse_bytes(text)? {
            0 => Err(InvalidUnit {
                text: text.to_owned(),
                why: "it is zero; leave it out for no limit",
            }),
            bytes => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for Size {
    /// In the largest unit in which it is a whole number, so that it reads back the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = (self.0.trailing_zeros() / 10).min(4);
        let name = ["", "K", "M", "G", "T"][unit as usize];
        write!(f, "{}{name}", self.0 >> (10 * unit))
    }
}

/// How long a command may run: longer than zero. Zero is refused, because half of all programs take it for "at once"
/// and the other half for "no limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(Duration);

impl Timeout {
    /// The duration; never zero.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Timeout {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let duration = parse_duration(text)?;
        if duration.is_zero() {
            return Err(InvalidUnit {
                text: text.to_owned(),
                why: "it is zero; leave it out for no limit",
            });
        }
        Ok(Self(duration))
    }
}

/// Why a text is no duration or size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not understood: {why}")]
pub struct InvalidUnit {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_units_and_bare_numbers_are_seconds() {
        let read = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(read("60s"), Ok(60_000));
        assert_eq!(read("1500ms"), Ok(1_500));
        assert_eq!(read("1h30m"), Ok(5_400_000));
        assert_eq!(read("1.5h"), Ok(5_400_000));
        assert_eq!(read("2d"), Ok(172_800_000));
        assert_eq!(read("90"), Ok(90_000));
        assert_eq!(read("0"), Ok(0));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            " ",
            "s",
            "-5s",
            "5 parsecs",
            "1h30",
            "1..5s",
            "1e9s",
            "99999999999999999999d",
            "inf",
            "5s5",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn m_is_mebibytes_and_mb_is_megabytes() {
        assert_eq!(parse_bytes("512M"), Ok(536_870_912));
        assert_eq!(parse_bytes("512m"), Ok(536_870_912));
        assert_eq!(parse_bytes("512MiB"), Ok(536_870_912));
        assert_eq!(parse_bytes("512 Mi"), Ok(536_870_912));
        assert_eq!(parse_bytes("512MB"), Ok(512_000_000));
        assert_eq!(parse_bytes("1.5G"), Ok(1_610_612_736));
        assert_eq!(parse_bytes("123"), Ok(123));
        assert_eq!(parse_bytes("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "M",
            "-1",
            "5X",
            "1.2.3M",
            "18446744073709551616",
            "16777216T",
            "0x10",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_written_duration_reads_back_the_same() {
        for millis in [0, 1, 999, 1_000, 60_000, 86_400_000, 5_432_100] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
        assert_eq!(format_duration(Duration::from_hours(24)), "24h");
    }

    #[test]
    fn sizes_for_people_have_three_figures() {
        assert_eq!(format_bytes(0), "0 B");
        assert_eq!(format_bytes(1023), "1023 B");
        assert_eq!(format_bytes(1536), "1.5 KiB");
        assert_eq!(format_bytes(512 << 20), "512 MiB");
    }

    #[test]
    fn a_written_size_reads_back_the_same() {
        for (bytes, text) in [
            (1, "1"),
            (1536, "1536"),
            (512 << 20, "512M"),
            (3 << 50, "3072T"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Size(bytes)));
        }
        assert!("0".parse::<Size>().is_err());
    }

    #[test]
    fn a_timeout_of_zero_is_refused() {
        assert!("0".parse::<Timeout>().is_err());
        assert!("0ms".parse::<Timeout>().is_err());
        assert_eq!(
            "1ms".parse::<Timeout>().unwrap().duration(),
            Duration::from_millis(1)
        );
    }
}
