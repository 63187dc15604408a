//! The points between two effects on the disk, where a test can end the process.
//!
//! In a normal build [`reach`] is nothing. With the feature `faults`, which only this crate's own
//! tests turn on, `abort_at` names a step and the process ends there as if it had been killed.

/// Says that every effect before this step is done and none after it.
#[cfg(not(feature = "faults"))]
#[inline]
pub(crate) fn reach(_step: &'static str) {}

#[cfg(feature = "faults")]
pub(crate) use armed::reach;
#[cfg(feature = "faults")]
pub use armed::{STEPS, abort_at};

#[cfg(feature = "faults")]
mod armed {
    use std::sync::OnceLock;

    /// Every step, in the order in which each operation reaches them.
    pub const STEPS: &[&str] = &[
        "open.directory",
        "open.marker",
        "open.directories",
        "open.database",
        "stage.wrapper",
        "commit.scanned",
        "commit.applied",
        "commit.manifest-staged",
        "commit.tree-renamed",
        "commit.manifest-renamed",
        "commit.row",
        "quarantine.row",
        "quarantine.tree",
        "collect.row",
        "collect.tree",
        "trash.renamed",
        "clone.copied",
    ];

    static ABORT_AT: OnceLock<String> = OnceLock::new();

    /// Ends this process, without any clean-up, when it reaches `step`. Can be set once.
    ///
    /// # Panics
    ///
    /// When no such step exists, or one was named before.
    pub fn abort_at(step: &str) {
        assert!(STEPS.contains(&step), "no step is named {step}");
        ABORT_AT
            .set(step.to_owned())
            .expect("one step is named once");
    }

    pub(crate) fn reach(step: &'static str) {
        assert!(STEPS.contains(&step), "step {step} is not listed");
        if ABORT_AT.get().is_some_and(|at| at == step) {
            std::process::abort();
        }
    }
}
