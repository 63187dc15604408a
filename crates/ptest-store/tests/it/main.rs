//! The store as its callers see it, on real disks, mounts, users and processes.
#![expect(
    clippy::unwrap_used,
    reason = "a test whose preparation fails has failed"
)]

mod commit;
mod corpus;
mod example;
mod faults;
mod hostile;
mod linked;
mod materialize;
mod moved;
mod open;
mod overlay;
mod pack;
mod package_damaged;
mod package_form;
mod package_hostile;
mod processes;
mod properties;
mod reflink;
mod served;
mod space;
mod support;
mod trash;
mod users;
mod verify;
