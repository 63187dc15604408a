//! How much a sandbox may use: what can be limited, how strictly a limit holds, and what it is to strike one.
//!
//! Data only. Who holds a limit is chosen by `enforcement`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::os_bytes;

/// The most that a sandbox may use. What is `None` has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory of all commands together. They get no swap.
    pub memory: Option<u64>,
    /// Thousandths of a processor's time, of all commands together.
    pub cpus: Option<u64>,
    /// Processes and threads at one time, of all commands together.
    pub processes: Option<u64>,
    /// Processor time of a command with everything it starts.
    pub cpu_time: Option<Duration>,
    /// Descriptors that one process may have open.
    pub open_files: Option<u64>,
    /// Bytes of one file.
    pub file_size: Option<u64>,
    /// Bytes on the disk, in some directories of the host together.
    pub disk: Option<Disk>,
}

/// A limit of what directories hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Bytes that are allocated.
    pub bytes: u64,
    /// Directories of the host, none below another.
    #[serde(with = "os_bytes")]
    pub directories: Vec<PathBuf>,
    /// The file that stands for a project of them, so that the kernel can hold the limit where there are project quotas. It is
    /// made when it is needed, beside them in a directory that stays as long as they do. See [`quota`](crate::quota).
    #[serde(with = "os_bytes")]
    pub project: Option<PathBuf>,
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// [`Limits::memory`], in bytes.
    Memory,
    /// [`Limits::cpus`], in thousandths of a processor.
    Cpus,
    /// [`Limits::processes`].
    Pids,
    /// [`Limits::cpu_time`], in milliseconds.
    CpuTime,
    /// [`Limits::open_files`].
    OpenFiles,
    /// [`Limits::file_size`], in bytes.
    FileSize,
    /// [`Limits::disk`], in bytes.
    Disk,
}

impl Limit {
    /// The word used in JSON, in messages, and as an option.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpus => "cpus",
            Self::Pids => "pids",
            Self::CpuTime => "cpu-time",
            Self::OpenFiles => "open-files",
            Self::FileSize => "file-size",
            Self::Disk => "disk",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How strictly a limit holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// The kernel does not let anything exceed it.
    Enforced,
    /// What exceeds it is noticed, a moment later, and ended.
    Watched,
    /// It does not hold.
    #[default]
    None,
}

impl Strength {
    /// The word used in JSON and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Watched => "watched",
            Self::None => "none",
        }
    }
}

/// A limit that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Which, and so in what unit it is.
    pub limit: Limit,
    /// What it is set to.
    pub configured: u64,
    /// How strictly it holds.
    pub strength: Strength,
}

/// A limit that struck while a command ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// Which, and so in what unit the others are.
    pub limit: Limit,
    /// What it was set to.
    pub configured: u64,
    /// What was reached, as far as it was seen; no less than what was configured.
    pub reached: u64,
    /// Whether the command was ended for it. Otherwise it was refused something, and went on.
    pub ended: bool,
}

impl Limits {
    /// What is asked for, with its value.
    pub fn asked(&self) -> Vec<(Limit, u64)> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let all = [
            (Limit::Memory, self.memory),
            (Limit::Cpus, self.cpus),
            (Limit::Pids, self.processes),
            (Limit::CpuTime, self.cpu_time.map(milliseconds)),
            (Limit::OpenFiles, self.open_files),
            (Limit::FileSize, self.file_size),
            (Limit::Disk, self.disk.as_ref().map(|disk| disk.bytes)),
        ];
        all.into_iter()
            .filter_map(|(limit, value)| Some((limit, value?)))
            .collect()
    }
}
