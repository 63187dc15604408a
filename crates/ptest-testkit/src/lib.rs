//! What the tests of every crate share: guards for what a test needs of the machine, and the search for what a test left behind.
//!
//! Nothing here is published. The guards and the search know nothing of the other crates, so that any of them can use them;
//! what knows the library stands behind the feature `suite`.

pub mod image;
pub mod leftovers;
pub mod requirement;
#[cfg(feature = "suite")]
pub mod suite;
