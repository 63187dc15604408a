//! Integration tests of the library, in one program.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod python;
