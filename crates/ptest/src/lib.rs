//! Skeleton.
pub mod config;
pub mod python;
