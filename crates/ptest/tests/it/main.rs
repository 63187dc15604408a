//! Integration tests of the library, in one program.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a skipped test says so")]

mod apply;
mod clone;
mod collect;
mod configuration;
mod context;
mod database;
mod endurance;
mod engine;
mod events;
mod failures;
mod hand_over;
mod hooks;
mod improve;
mod logs;
mod many;
mod monitor;
mod mortal;
mod ports;
mod power;
mod predecessor;
mod python;
mod quota;
mod recovery;
mod room;
mod run;
mod runs;
mod snapshots;
mod soak;
mod steps;
mod tidy;
