//! Integration tests of the library, in one program.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a skipped test says so")]

mod apply;
mod clone;
mod collect;
mod context;
mod endurance;
mod engine;
mod events;
mod failures;
mod hand_over;
mod improve;
mod many;
mod mortal;
mod ports;
mod python;
mod recovery;
mod room;
mod run;
mod runs;
mod snapshots;
mod tidy;
