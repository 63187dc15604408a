//! Tests of the built program, as a user runs it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod allow;
mod apply;
mod config;
mod context;
mod damage;
mod distributions;
mod doctor;
mod edges;
mod environments;
mod events;
mod gc;
mod hard_links;
mod improve;
mod isolation;
mod log;
mod many;
mod materialize;
mod matrix;
mod package;
mod packages;
mod path;
mod ports;
mod projects;
mod prove;
mod reference;
mod run;
mod signals;
mod snapshots;
mod terminal;
mod upkeep;
mod wheel;
