//! Interpreters, installers and wheels against the real things.

mod downloads;
mod installed;
mod installers;
mod installing;
mod interpreters;
mod server;
mod support;
pub(crate) mod wheels;
