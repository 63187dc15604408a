//! What environments use over time: the samples that engines take, folded into history that stays in bounded space.
//!
//! Not for taking samples: engines do that while something runs. Nobody watches here either: whoever looks, or brings an
//! environment to rest, folds what is new.

mod fold;
pub(crate) mod history;
mod stats;

pub use self::history::Totals;
pub use self::stats::{Point, Stats};
