//! Skeleton.
pub mod python;
