//! What an instance does, in figures: what it uses, what was sampled of that, and its processes.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// What an instance uses now, and has used since it was activated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of everything that runs or ran.
    pub cpu: Duration,
    /// Memory now, in bytes.
    pub memory: u64,
    /// The most that it was, in bytes, as far as it was seen.
    pub memory_peak: u64,
    /// Where the figures of memory are from.
    pub memory_source: Meter,
    /// Processes now, init not counted.
    pub processes: u32,
    /// Bytes read from disks.
    pub read: u64,
    /// Bytes written to disks.
    pub written: u64,
    /// What went through the network, where it is the environment's own.
    pub traffic: Option<Traffic>,
}

/// Where a figure of use is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// The kernel's count of a control group: files in memory are in it, and shared pages once.
    ControlGroup,
    /// The sum over processes.
    #[default]
    Processes,
}

impl Meter {
    /// The word used in JSON and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlGroup => "control_group",
            Self::Processes => "processes",
        }
    }
}

/// Bytes through a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// That arrived.
    pub received: u64,
    /// That were sent.
    pub sent: u64,
}

/// What an instance used at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its number among the samples of one activation: 1, 2, …
    pub sequence: u64,
    /// When it was taken.
    pub time: Timestamp,
    /// CPU time of everything that ran since the activation.
    pub cpu: Duration,
    /// Memory then, in bytes.
    pub memory: u64,
    /// The most that it was since the activation.
    pub memory_peak: u64,
    /// Processes then.
    pub processes: u32,
    /// Bytes read from disks since the activation.
    pub read: u64,
    /// Bytes written to disks since then.
    pub written: u64,
    /// What went through the network since then, where it is the environment's own.
    pub traffic: Option<Traffic>,
    /// What commands wrote takes on disk, where somebody counts.
    pub disk: Option<u64>,
}

/// Samples of one activation, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// Names the activation; no other of the instance has the same.
    pub series: u64,
    /// Them.
    pub samples: Vec<Sample>,
}

/// Up to which sample of which activation somebody has seen them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The activation.
    pub series: u64,
    /// The last sample's number.
    pub sequence: u64,
}

/// The processes of an instance's commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// Them, each after its parent.
    pub processes: Vec<Listed>,
    /// How many more there are than could be listed.
    pub left_out: u32,
}

/// One process of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id, as the environment sees it.
    pub pid: i32,
    /// Its parent's, if that is one of them.
    pub parent: Option<i32>,
    /// When it was started, in ticks of the machine's clock: with the id it names one process for ever.
    pub started: u64,
    /// The letter of its state: proc_pid_stat(5).
    pub state: char,
    /// How many threads it has.
    pub threads: u32,
    /// CPU time that it and its waited-for children have used.
    pub cpu: Duration,
    /// Its resident memory in bytes, shared pages included.
    pub memory: u64,
    /// What it runs, for people: its arguments, or its name in brackets. Not always all of it, and as it chose it.
    pub command: String,
}

impl Processes {
    /// How deep below the first of its ancestors each is.
    pub fn depths(&self) -> Vec<usize> {
        let mut known = HashMap::new();
        let mut depths = Vec::new();
        for process in &self.processes {
            let parent = process.parent.and_then(|parent| known.get(&parent));
            let depth = parent.map_or(0, |depth: &usize| depth + 1);
            known.insert(process.pid, depth);
            depths.push(depth);
        }
        depths
    }
}
