//! The most that an environment may use: what can be limited, how, and what it is to strike a limit.
//!
//! Not for who holds a limit: that is the engine's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use ptest_sandbox::{Kept, Limit, Strength, Struck};
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::config::{format_bytes, format_duration};

/// Limits on what runs in an environment. What is `None` has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, of all that runs together; there is no swap beside them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memory: Option<u64>,
    /// Processors' time, of all that runs together.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpus: Option<Cpus>,
    /// Processes and threads at one time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pids: Option<u32>,
    /// Processor time of one command, with all that it starts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu_time: Option<Duration>,
    /// Descriptors that one process may have open.
    #[serde(default, skip_serializing_if = "is_default")]
    pub open_files: Option<u32>,
    /// Bytes of one file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub file_size: Option<u64>,
    /// Bytes on the disk that is the environment's own: what commands write in its tree and its home.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disk: Option<u64>,
}

/// A number of processors, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cpus(pub u32);

impl Limits {
    /// What is asked for, each with its value in the unit of [`Limit`].
    pub fn asked(&self) -> Vec<(Limit, u64)> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let all = [
            (Limit::Memory, self.memory),
            (Limit::Cpus, self.cpus.map(|cpus| cpus.0.into())),
            (Limit::Pids, self.pids.map(u64::from)),
            (Limit::CpuTime, self.cpu_time.map(milliseconds)),
            (Limit::OpenFiles, self.open_files.map(u64::from)),
            (Limit::FileSize, self.file_size),
            (Limit::Disk, self.disk),
        ];
        all.into_iter()
            .filter_map(|(limit, value)| Some((limit, value?)))
            .collect()
    }

    /// These, and of others what these do not say.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            memory: self.memory.or(others.memory),
            cpus: self.cpus.or(others.cpus),
            pids: self.pids.or(others.pids),
            cpu_time: self.cpu_time.or(others.cpu_time),
            open_files: self.open_files.or(others.open_files),
            file_size: self.file_size.or(others.file_size),
            disk: self.disk.or(others.disk),
        }
    }

    /// What code that nobody trusts may use of a machine with so much memory, unless something else is asked for: half of
    /// that, 1,024 processes and threads, 4,096 open files in each, 8 GiB on the disk.
    pub fn of_untrusted(memory: u64) -> Self {
        Self {
            memory: Some(memory / 2),
            pids: Some(1024),
            open_files: Some(4096),
            disk: Some(8 << 30),
            ..Self::default()
        }
    }
}

/// A value of a limit, for people.
pub fn amount(limit: Limit, value: u64) -> String {
    match limit {
        Limit::Memory | Limit::FileSize | Limit::Disk => format_bytes(value),
        Limit::Cpus => Cpus(u32::try_from(value).unwrap_or(u32::MAX)).to_string(),
        Limit::CpuTime => format_duration(Duration::from_millis(value)),
        Limit::Pids | Limit::OpenFiles => value.to_string(),
    }
}

/// A limit that struck, as a sentence.
pub fn tell(struck: &Struck) -> String {
    let limit = struck.limit;
    let configured = amount(limit, struck.configured);
    if struck.ended {
        let reached = amount(limit, struck.reached);
        format!("the limit `{limit}` of {configured} ended the command, which reached {reached}")
    } else {
        format!("the limit `{limit}` of {configured} was reached: more is refused")
    }
}

impl FromStr for Cpus {
    type Err = InvalidCpus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: f64 = text.trim().parse().map_err(|_| InvalidCpus)?;
        let thousandths = (number * 1000.0).round();
        // The kernel shares out no less than a hundredth.
        if (10.0..=f64::from(u32::MAX)).contains(&thousandths) {
            Ok(Self(thousandths as u32))
        } else {
            Err(InvalidCpus)
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1000.0)
    }
}

/// Why a text is no number of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a number of processors such as `2` or `1.5`, at least 0.01, is expected")]
pub struct InvalidCpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_numbers_with_a_point() {
        assert_eq!("1.5".parse(), Ok(Cpus(1500)));
        assert_eq!("2".parse(), Ok(Cpus(2000)));
        assert_eq!(Cpus(1500).to_string(), "1.5");
        for text in ["0", "0.001", "-1", "", "two", "inf", "NaN", "1e300"] {
            assert_eq!(text.parse::<Cpus>(), Err(InvalidCpus), "{text}");
        }
    }

    #[test]
    fn a_struck_limit_is_named_with_what_it_was_set_to_and_what_was_reached() {
        let struck = |limit, configured, reached, ended| Struck {
            limit,
            configured,
            reached,
            ended,
        };
        assert_eq!(
            tell(&struck(Limit::Memory, 512 << 20, 600 << 20, true)),
            "the limit `memory` of 512 MiB ended the command, which reached 600 MiB"
        );
        assert_eq!(
            tell(&struck(Limit::Pids, 20, 20, false)),
            "the limit `pids` of 20 was reached: more is refused"
        );
    }
}
