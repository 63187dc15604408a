//! What environments use over time: the samples that engines take, folded into history that stays in bounded space.
//!
//! Not for taking samples: engines do that while something runs. Nobody watches here either: whoever looks, or brings an
//! environment to rest, folds what is new.

mod alert;
mod fold;
pub(crate) mod history;
mod metrics;
mod stats;
mod watch;

pub use self::alert::{Alert, InvalidAlert};
pub use self::history::Totals;
pub use self::metrics::{Family, Labels};
pub use self::stats::{Point, Stats};
pub(crate) use self::watch::Watch;
