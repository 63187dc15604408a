//! What a sandbox was refused, on record: a file of bounded size with one JSON object a line.
//!
//! The proxy writes; any process may read meanwhile, and sees whole records. Each has a number that is one more than that
//! of the record before, also when older ones are gone: so a reader can tell how many there were, and take only what is
//! new to it. Not for what was allowed, nor for requests that are not understood.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, fstat, openat, renameat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::proxy::rules::{Host, USUAL_PORTS, authority};

/// The record's name in the directory that the proxy is given. Not there when nothing was refused.
pub const FILE: &str = "refusals";

/// What the record is written anew as, when it has become too large.
const NEXT: &str = "refusals.new";

/// Most bytes of the record.
const MOST_BYTES: u64 = 256 << 10;

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// How many there were before it, and one.
    pub number: u64,
    /// When it was, by RFC 3339.
    pub time: String,
    /// The name or address that was asked for.
    pub host: String,
    /// The port that was asked for.
    pub port: u16,
    /// Why it was refused.
    pub reason: Reason,
    /// Where the name leads, when that is the reason.
    #[serde(default)]
    pub address: Option<IpAddr>,
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No rule allows it.
    NotAllowed,
    /// The name leads to an address of this machine or its network, which no rule allows.
    LocalAddress,
}

impl Reason {
    /// The word used in records and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::LocalAddress => "local_address",
        }
    }
}

impl Refusal {
    /// Host and port as in a URL.
    pub fn target(&self) -> String {
        authority(&self.host, self.port)
    }

    /// The rule that would allow it.
    pub fn missing_rule(&self) -> String {
        missing_rule(&self.host, self.port, self.address)
    }
}

/// The rule that would allow what was refused.
pub(crate) fn missing_rule(host: &str, port: u16, address: Option<IpAddr>) -> String {
    let host = address.map_or_else(|| host.to_owned(), |address| address.to_string());
    if USUAL_PORTS.contains(&port) {
        host
    } else {
        authority(&host, port)
    }
}

/// The record as its only writer has it.
#[derive(Debug)]
pub(crate) struct Record {
    directory: OwnedFd,
    /// The number of the last refusal, once that is known.
    last: Option<u64>,
}

impl Record {
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self {
            directory,
            last: None,
        }
    }

    /// Adds a refusal.
    pub(crate) fn add(
        &mut self,
        host: &Host,
        port: u16,
        reason: Reason,
        address: Option<IpAddr>,
    ) -> io::Result<()> {
        let before = match self.last {
            Some(last) => last,
            None => last_number(&self.read()?),
        };
        let number = before + 1;
        let line = line(number, SystemTime::now(), host, port, reason, address);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
        let mut file = File::from(self.open(FILE, flags)?);
        if fstat(&file)?.st_size as u64 + line.len() as u64 > MOST_BYTES {
            file = self.shorten()?;
        }
        file.write_all(line.as_bytes())?;
        self.last = Some(number);
        Ok(())
    }

    /// Leaves the later half of the record.
    fn shorten(&self) -> io::Result<File> {
        let whole = self.read()?;
        let half = &whole[whole.len() / 2..];
        let start = half.iter().position(|byte| *byte == b'\n');
        let kept = start.map_or(&[][..], |start| &half[start + 1..]);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mut file = File::from(self.open(NEXT, flags)?);
        file.write_all(kept)?;
        renameat(&self.directory, NEXT, &self.directory, FILE)?;
        Ok(file)
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.open(FILE, OFlags::RDONLY | OFlags::CLOEXEC) {
            Ok(file) => {
                File::from(file).take(MOST_BYTES).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
            Err(Errno::NOENT) => Ok(bytes),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)
    }
}

/// Names, addresses and words have no character that JSON would have to quote.
fn line(
    number: u64,
    time: SystemTime,
    host: &Host,
    port: u16,
    reason: Reason,
    address: Option<IpAddr>,
) -> String {
    let address = address.map_or_else(|| "null".to_owned(), |address| format!("\"{address}\""));
    format!(
        "{{\"number\":{number},\"time\":\"{}\",\"host\":\"{host}\",\"port\":{port},\"reason\":\"{}\",\
         \"address\":{address}}}\n",
        rfc3339(time),
        reason.as_str()
    )
}

/// The number of the last record in what [`line`] has written; 0 without any.
fn last_number(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes);
    let number = |line: &str| -> Option<u64> {
        let rest = line.strip_prefix("{\"number\":")?;
        rest.split_once(',')?.0.parse().ok()
    };
    text.lines().rev().find_map(number).unwrap_or(0)
}

/// In UTC, with milliseconds.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86400, since.as_secs() % 86400);
    // Howard Hinnant's civil_from_days: years that begin in March end with the leap day.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn record(directory: &tempfile::TempDir) -> Record {
        Record::new(File::open(directory.path()).unwrap().into())
    }

    fn name(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn a_moment_is_written_as_rfc_3339() {
        for (second, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696, "2000-02-29T12:34:56.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_102_444_800, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(second)), text);
        }
    }

    #[test]
    fn numbers_go_on_where_another_proxy_ended() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut record = record(&directory);
            for _ in 0..2 {
                record
                    .add(&name("a.example"), 443, Reason::NotAllowed, None)
                    .unwrap();
            }
        }
        let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
        let starts: Vec<&str> = text.lines().map(|line| &line[..11]).collect();
        assert_eq!(starts, [1, 2, 3, 4].map(|n| format!("{{\"number\":{n}")));
    }

    #[test]
    fn the_record_stays_small_and_keeps_the_latest() {
        let directory = tempfile::tempdir().unwrap();
        let mut record = record(&directory);
        let long = name(&["a".repeat(60).as_str(); 4].join("."));
        let path = directory.path().join(FILE);
        for number in 1..3000 {
            record.add(&long, 1, Reason::NotAllowed, None).unwrap();
            assert!(fs::metadata(&path).unwrap().len() <= MOST_BYTES, "{number}");
        }
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"{\"number\":"));
        assert_eq!(last_number(&bytes), 2999);
    }

    #[test]
    fn the_missing_rule_names_the_port_unless_it_is_usual() {
        let rule = |host: &str, port, address: Option<&str>| {
            missing_rule(host, port, address.map(|address| address.parse().unwrap()))
        };
        assert_eq!(rule("a.example", 443, None), "a.example");
        assert_eq!(rule("a.example", 8443, None), "a.example:8443");
        assert_eq!(rule("::1", 22, None), "[::1]:22");
        assert_eq!(rule("a.example", 443, Some("10.0.0.1")), "10.0.0.1");
    }
}
