//! Immutable layers on disk, for ptest.
//!
//! A [`Store`] keeps trees. A tree is staged, committed, and from then on a *layer*: it never
//! changes, and its [`LayerId`] is the hash of its [`Manifest`], so that one tree is kept once
//! whoever makes it. Layers are ordered in a [`Stack`], where an upper one hides or deletes what
//! lower ones have, as overlayfs does.
//!
//! This crate speaks of trees only. It knows nothing of Python or of environments, starts no
//! process, mounts nothing, prints nothing, and reads neither environment variables nor the
//! current directory. Any number of processes of one user may use a store at the same time, and
//! any of them may be killed at any moment.
//!
//! ```
//! use ptest_store::{CommitOptions, Stack, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let (home, copy) = (directory.path().join("store"), directory.path().join("copy"));
//! let store = Store::open(&home)?;
//! let staging = store.stage()?;
//! std::fs::write(staging.path().join("greeting"), "hello")?;
//! let layer = store.commit(staging, CommitOptions::default())?.layer;
//!
//! let stack = Stack::new([layer.id]);
//! assert_eq!(store.resolve(&stack)?.len(), 1);
//! store.clone_tree(&stack, &copy, None)?;
//! assert_eq!(std::fs::read_to_string(copy.join("greeting"))?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! What is kept is the caller's to say: rows of a table of their own, written in the transaction
//! that records a [`Stack`], and asked for by [`Store::collect`]. `examples/backup.rs` is a whole
//! program of that shape, which keeps the states that a directory had.
#![forbid(unsafe_code)]

mod access;
mod boot;
mod collect;
mod commit;
mod contents;
mod copy;
mod db;
mod error;
mod fork;
mod home;
mod id;
mod layer;
mod layout;
mod linked;
mod manifest;
mod materialize;
mod moved;
mod overlay_marks;
mod pack;
mod parallel;
mod rebase;
mod rebuild;
mod recover;
mod remove;
mod rewrite;
mod salvage;
mod scan;
mod served;
mod stack;
mod staging;
mod steps;
mod store;
mod trash;
mod turns;
mod verify;
mod view;
mod watch;

pub use rusqlite;

pub use self::collect::Collected;
pub use self::commit::{CommitOptions, Committed, Prepared, Source};
pub use self::contents::CopyMethod;
pub use self::copy::{Cloned, Moved, Rewrite, Text};
pub use self::db::Database;
pub use self::error::{Error, ErrorKind, Result};
pub use self::fork::{after_fork, before_fork};
pub use self::id::{ContentHash, LayerId, ParseIdError, StackId};
pub use self::layer::Layer;
pub use self::manifest::{BadTreePath, Entry, Kind, Manifest, ManifestError, Mtime, TreePath};
pub use self::pack::{
    Compression, Exported, ImportLimits, Imported, Package, PackageError, TarError,
};
pub use self::rebuild::Rebuilding;
pub use self::recover::Recovered;
pub use self::salvage::Salvaged;
pub use self::scan::{LeftOut, Lost, Modes, Mtimes, Specials};
pub use self::stack::Stack;
pub use self::staging::Staging;
pub use self::store::Store;
pub use self::trash::Emptied;
pub use self::verify::{Depth, Verdict};
pub use self::view::{Change, View, Visible};
pub use self::watch::Watch;

/// Lets something fail at a chosen step. Only with the feature `faults`.
#[cfg(feature = "faults")]
pub mod faults {
    pub use crate::steps::{Fault, STEPS, arm, at, pass};
}

/// Reads packages without a store. Only with the feature `fuzzing`.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use crate::pack::fuzzing::{package, tar};
}
