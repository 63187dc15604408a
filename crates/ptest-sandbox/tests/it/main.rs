//! Sandboxes as their users meet them: real namespaces, real mounts, real processes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests"
)]

mod attendance;
mod commands;
mod crippled;
mod endings;
mod groups;
mod hard_endings;
mod isolation;
mod limits;
mod ordinary_user;
mod probes;
mod proxies;
mod quota;
mod records;
mod stacks;
mod still;
mod strict;
mod support;
mod terminals;
