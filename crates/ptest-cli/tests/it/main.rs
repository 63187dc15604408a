//! Tests of the built program, as a user runs it.

mod config;
mod context;
mod edges;
mod environments;
mod packages;
mod reference;
mod run;
mod wheel;
