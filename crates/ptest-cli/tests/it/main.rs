//! Tests of the built program, as a user runs it.

mod config;
mod context;
mod edges;
mod reference;
