//! The points between two effects of an operation, where a test can end the process or let the next effect fail.
//!
//! In a normal build [`reach`] is nothing. What happens within one effect on the store is that crate's, which has steps of
//! its own.

use crate::error::Result;

/// Every step, by the operation that it is of.
#[cfg(feature = "faults")]
pub const STEPS: &[&str] = &[
    "create.row",
    "create.instance",
    "activate.row",
    "activate.init",
    "deactivate.row",
    "deactivate.init",
    "swap.noted",
    "swap.made",
    "swap.row",
    "swap.settled",
    "hand-over.prepared",
    "hand-over.noted",
    "hand-over.row",
    "snapshot.copied",
    "snapshot.synced",
    "fork.known",
    "remove.row",
    "remove.instance",
    "remove.view",
    "remove.forgotten",
];

/// Says that every effect before this step is done and none after it.
#[cfg(not(feature = "faults"))]
#[inline]
#[expect(
    clippy::unnecessary_wraps,
    reason = "with the feature `faults` a step can fail"
)]
pub(crate) fn reach(_step: &'static str) -> Result<()> {
    Ok(())
}

/// Says that every effect before this step is done and none after it.
///
/// # Panics
///
/// At a step that is not listed.
#[cfg(feature = "faults")]
pub(crate) fn reach(step: &'static str) -> Result<()> {
    assert!(STEPS.contains(&step), "step {step} is not listed");
    Ok(ptest_store::faults::pass(step)?)
}
