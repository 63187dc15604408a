//! Interpreters, installers and wheels against the real things.

mod interpreters;
mod support;
