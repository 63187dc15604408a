//! What a sandbox is made of: the ordered list that init carries out.
//!
//! A [`Plan`] is data. Whoever computes it (see [`crate::profile`]) decides; init obeys without
//! looking at the host itself. Nothing here touches the system.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::os_bytes;

/// Everything that init needs to know before the first command runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whether the sandbox has namespaces of its own.
    pub isolation: Isolation,
    /// The host name inside; without one the host's is kept.
    pub hostname: Option<String>,
    /// What the root is before anything is mounted. Ignored without namespaces, like what is mounted.
    pub root: Root,
    /// The mounts of the root, in the order in which they are attached.
    pub mounts: Vec<Mount>,
    /// Most bytes that can be written in all [`Mount::Discarded`] together; half of the memory without it.
    pub discarded_size: Option<u64>,
    /// What the commands may do.
    pub privileges: Privileges,
}

impl Plan {
    /// A plan without namespaces: commands see the host as it is, and end with the sandbox.
    pub fn bare() -> Self {
        Self {
            isolation: Isolation::None,
            hostname: None,
            root: Root::Empty,
            mounts: Vec::new(),
            discarded_size: None,
            privileges: Privileges::default(),
        }
    }
}

/// How far a sandbox is apart from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Its own process groups only. Processes are found and ended by walking their ancestry.
    None,
    /// Its own user, mount, pid, ipc and uts namespaces. The kernel ends every process with init.
    Namespaces {
        /// What it has of a network.
        network: Network,
        /// Its own cgroup namespace too: nothing inside sees where in the host's groups it is.
        control_groups: bool,
    },
}

impl Isolation {
    /// Whether there are namespaces at all.
    pub fn has_namespaces(self) -> bool {
        self != Self::None
    }

    /// Whether the network is the sandbox's alone.
    pub fn has_own_network(self) -> bool {
        matches!(self, Self::Namespaces { network, .. } if network != Network::Host)
    }
}

/// What the root of a sandbox is before anything is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// An empty directory, which is read-only when everything is mounted.
    #[default]
    Empty,
    /// The host's, with all that is mounted there.
    Host(Access),
}

/// What a sandbox has of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// Nothing, not even a loopback that is up.
    None,
    /// Its own loopback, with every port free.
    Private,
}

/// One step of assembling the root. Targets are absolute paths inside; missing ones are created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// Makes a file or a directory, with everything mounted below it, visible at the target.
    Bind {
        /// Where the tree comes from.
        source: Source,
        /// Where it appears.
        #[serde(with = "os_bytes")]
        target: PathBuf,
        /// Whether it can be written.
        access: Access,
        /// Whether device nodes in it work.
        devices: bool,
        /// Left out and reported, instead of failing the launch, when it cannot be had.
        optional: bool,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Where it appears.
        #[serde(with = "os_bytes")]
        target: PathBuf,
        /// Most bytes it holds; without a size the kernel's default, half of the memory.
        size: Option<u64>,
        /// The mode of its root directory.
        mode: u32,
        /// Sealed when the root is complete; until then later mounts may create their targets in it.
        read_only: bool,
    },
    /// A directory.
    Directory {
        /// Its path.
        #[serde(with = "os_bytes")]
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// Its path.
        #[serde(with = "os_bytes")]
        path: PathBuf,
        /// What it points to.
        #[serde(with = "os_bytes")]
        target: PathBuf,
    },
    /// A file with given contents.
    File {
        /// Its path.
        #[serde(with = "os_bytes")]
        path: PathBuf,
        /// What it holds.
        contents: Vec<u8>,
        /// Its mode.
        mode: u32,
    },
    /// A fresh procfs that shows the sandbox's own processes.
    Proc {
        /// Where it appears.
        #[serde(with = "os_bytes")]
        target: PathBuf,
    },
    /// A fresh instance of the pseudo-terminal file system.
    DevPts {
        /// Where it appears.
        #[serde(with = "os_bytes")]
        target: PathBuf,
    },
    /// A stack of directories seen as one.
    Overlay(Overlay),
    /// A directory of the host, at its place, that can be written: what is written is in memory, and gone with the sandbox.
    /// What is mounted below is not seen; where a user namespace forbids that, it is an error.
    Discarded {
        /// The directory, without symbolic links.
        #[serde(with = "os_bytes")]
        path: PathBuf,
    },
    /// Covers a file or a directory with nothing. A target that does not exist is already hidden.
    Hide {
        /// What is covered.
        #[serde(with = "os_bytes")]
        target: PathBuf,
    },
    /// Makes a tree of the new root read-only. A target that does not exist is left alone.
    ReadOnly {
        /// What can no longer be written.
        #[serde(with = "os_bytes")]
        target: PathBuf,
    },
}

impl Mount {
    /// A bind of a host path at the same path inside.
    pub fn same(path: impl Into<PathBuf>, access: Access) -> Self {
        let path = path.into();
        Self::bind(path.clone(), path, access)
    }

    /// A bind of a host path that must exist, and have no symbolic links in it.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<PathBuf>, access: Access) -> Self {
        Self::Bind {
            source: Source::Host(source.into()),
            target: target.into(),
            access,
            devices: false,
            optional: false,
        }
    }

    /// The same mount, left out and reported when a bind's source cannot be had.
    #[must_use]
    pub fn or_left_out(mut self) -> Self {
        if let Self::Bind { optional, .. } = &mut self {
            *optional = true;
        }
        self
    }
}

/// Where a bind's tree comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A path of the host, opened before anything is covered. Without symbolic links in it: one that is there all the
    /// same was put there meanwhile, and is refused.
    Host(#[serde(with = "os_bytes")] PathBuf),
    /// A path of the new root as it is when this step is reached.
    Inside(#[serde(with = "os_bytes")] PathBuf),
}

/// Whether a tree can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Read-only, with everything mounted below.
    ReadOnly,
    /// As writable as it is on the host.
    ReadWrite,
}

/// A stack of directories seen as one.
///
/// Opaque directories and other marks are kept in `user.overlay.*` attributes. A stack of one
/// directory is a plain bind of it. Without an upper directory the result is read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Host directories that do not change, the bottom one first. At most [`MAX_LAYERS`]. No path of an overlay has symbolic
    /// links in it.
    #[serde(with = "os_bytes")]
    pub lowers: Vec<PathBuf>,
    /// Where changes go.
    pub upper: Option<Upper>,
    /// Where the stack appears.
    #[serde(with = "os_bytes")]
    pub target: PathBuf,
}

/// The kernel's limit of lower directories in one overlay.
pub const MAX_LAYERS: usize = 500;

/// The writable directory of an overlay. It must not be in use by another sandbox: see [`crate::lock`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upper {
    /// The host directory that receives changes.
    #[serde(with = "os_bytes")]
    pub directory: PathBuf,
    /// An empty directory on the same file system, for the kernel's own use.
    #[serde(with = "os_bytes")]
    pub work: PathBuf,
}

/// What commands in a sandbox may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges {
    /// The capabilities that commands keep, as a bit set; `None` leaves them as they are.
    pub capabilities: Option<u64>,
    /// Whether set-user-id programs and file capabilities give nothing.
    pub no_new_privileges: bool,
    /// The system calls that they may make.
    pub system_calls: SystemCalls,
    /// Whether no user namespace can be made inside, and so no other one either. The plan mounts a procfs for that.
    pub no_nested_namespaces: bool,
    /// Whether Landlock, where the kernel has it, keeps them to what the plan's mounts let them read and write, and from
    /// signals and abstract sockets that lead outside.
    pub landlock: bool,
}

/// Which system calls can be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SystemCalls {
    /// All that the kernel offers.
    #[default]
    All,
    /// All but those that reach the whole machine: kernel modules, keyrings, BPF, tracing, another user's terminal input.
    OfTheSandbox,
    /// Those alone that ordinary programs make, of the machine's own kind.
    Ordinary,
}
