//! What an engine can do: read by the layer above, the tests and people.

use serde::{Deserialize, Serialize};

/// What an engine can do on this machine.
///
/// An engine names what it has and leaves the rest to the default, which is
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// Files written in an environment last until it is removed.
    pub files: bool,
    /// Those files, and the stack's, are on this machine.
    pub host_files: bool,
    /// A stack can be swapped under an environment.
    pub restack: bool,
    /// What was written in an environment can be copied into a layer.
    pub snapshot: bool,
    /// What was written in an environment at rest can become a layer without being copied.
    pub hand_over: bool,
    /// A command can be run on a terminal of its own.
    pub terminal: bool,
    /// A running command can be signalled.
    pub signal: bool,
    /// A command can be ended after a time.
    pub timeout: bool,
    /// What an environment uses can be read.
    pub usage: bool,
    /// Its processes can be listed and signalled.
    pub processes: bool,
    /// What it uses is sampled while something is done.
    pub samples: bool,
    /// The number of processes can be limited.
    pub pids_limit: bool,
    /// The profiles `standard` and `strict` hold.
    pub isolation: bool,
}
