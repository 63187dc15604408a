//! Clean, reproducible, disposable environments in about a millisecond.
//!
//! A [`Ptest`] is one open store; [`Ptest::create`] makes an [`Environment`] in
//! it; [`Environment::run`] runs a command there. Below lie two crates: the
//! store of layers and the sandbox of processes.
//!
//! The library never prints, never reads the process environment or the current
//! directory by itself, and never panics on input.
#![forbid(unsafe_code)]

pub mod apply;
mod asked;
mod author;
mod background;
mod bulk;
mod collect;
pub mod config;
mod difference;
mod disk;
pub mod doctor;
pub mod enclosure;
pub mod engine;
pub mod environment;
pub mod error;
pub mod events;
mod failure;
mod fork;
pub mod git;
pub mod hooks;
mod http;
mod improve;
mod init_program;
mod json;
pub mod kernel;
pub mod labels;
mod lease;
mod lock;
mod materialize;
pub mod matrix;
pub mod monitor;
mod mortal;
mod names;
pub mod operation;
mod pack;
mod packages;
mod parallel;
mod ports;
pub mod progress;
pub mod project;
pub mod prove;
mod provision;
mod prune;
mod ptest;
pub mod python;
mod random;
mod rebuild;
mod recipe;
mod recover;
mod refusals;
mod repair;
mod room;
mod run;
pub mod runs;
mod schema;
pub mod secrets;
pub mod settings;
mod snapshot;
pub mod spec;
mod steps;
mod swap;
mod sync;
pub mod telemetry;
#[cfg(test)]
mod test_support;
mod tidy;
pub mod timestamp;
pub mod variables;
mod verify;
mod view;

pub use self::asked::Asked;
pub use self::collect::{Collected, Collection, StoreSize};
pub use self::difference::{Difference, FileChange};
pub use self::environment::{Environment, Name};
pub use self::error::{Error, ErrorKind, Result, causes};
pub use self::failure::Failure;
pub use self::fork::{Fork, Forked};
pub use self::improve::Improved;
pub use self::materialize::Materialized;
pub use self::pack::{Import, Packed, Unpacked};
pub use self::packages::{Distribution, Package, PackageChange};
pub use self::ports::{PortLease, PortName, PortOwner, PortProtocol, PortRange, PortRequest};
pub use self::progress::{Progress, Step};
pub use self::provision::Provision;
pub use self::prune::Pruned;
pub use self::ptest::{OpenOptions, Ptest};
pub use self::rebuild::Rebuilt;
pub use self::recover::Recovery;
pub use self::refusals::{Refusal, RefusalReason, Refusals};
pub use self::repair::{DamagedLayer, Outcome, StoreVerification};
pub use self::room::Room;
pub use self::run::{CompletedRun, Input, Output, Run, Running};
pub use self::snapshot::{Origin, Snapshot, Taken};
pub use self::spec::{EnvironmentSpec, Lifetime, Requirements};
pub use self::tidy::{Housekeeping, ThrownAway};
pub use self::verify::{Problem, Verification};
pub use self::view::HostView;
pub use ptest_sandbox::{Captured, Keep, Spill, StreamKind, Writes, duplicate};
pub use ptest_store::{Compression, Depth, Salvaged, after_fork, before_fork};

/// Lets something fail at a chosen step. Only with the feature `faults`.
#[cfg(feature = "faults")]
pub mod faults {
    pub use ptest_store::faults::{Fault, arm};

    pub use crate::steps::STEPS;
}
