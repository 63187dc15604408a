//! The store as its callers see it, on real disks, mounts, users and processes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod commit;
mod faults;
mod materialize;
mod open;
mod overlay;
mod properties;
mod support;
mod trash;
mod users;
mod verify;
