//! Runs processes in isolation: namespaces, root assembly, limits, terminals, output.
//!
//! The library is the client: [`Launcher`] starts the program `ptest-init`, which makes the
//! sandbox that a [`Plan`] describes and runs [`Command`]s in it. The program's code is in
//! [`init`]. Nothing here knows of environments, layers or Python.

pub mod cgroup;
pub mod client;
pub mod collect;
pub mod enclosure;
mod enforcement;
pub mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod identity;
pub mod init;
pub mod launch;
pub mod limits;
pub mod lock;
mod os_bytes;
pub mod output;
pub mod plan;
pub mod probe;
pub mod profile;
pub mod protocol;
pub mod proxy;
pub mod queue;
pub mod quota;
pub mod ring;
pub mod run;
#[expect(
    unsafe_code,
    reason = "system calls that neither std nor rustix offers safely"
)]
mod sys;
pub mod terminal;
mod wire;

pub use client::{Client, Frozen};
pub use collect::{Collector, Tap};
pub use enclosure::{Enclosed, Enclosure};
pub use error::{Error, Result};
pub use launch::{LaunchOptions, Launcher, Listen, Owner, Sandbox};
pub use limits::{Disk, Kept, Limit, Limits, Strength, Struck};
pub use output::{Captured, Keep, Spill, StreamKind};
pub use plan::{
    Access, Isolation, Mount, Network, Overlay, Plan, Privileges, Root, Source, SystemCalls, Upper,
};
pub use profile::{Home, Level, Mirror, Shape, Writes};
pub use protocol::{
    Exit, Leftovers, Listed, Listing, Meter, Status, Term, TerminalSize, Traffic, Usage,
};
pub use run::{Command, Run, Stdio};
pub use sys::{duplicate, is_still};
