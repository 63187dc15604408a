//! A command in each cell of a matrix: interpreters, sets of requirements, variables.
//!
//! Each cell has an environment of its own, which lives as long as the cell runs. What a matrix is comes
//! from a project's file and from the caller; which cells there are and what each needs is computed
//! before anything is made.

mod axes;
pub(crate) mod declared;
mod junit;
mod plan;
mod run;
mod told;

pub use self::axes::{Axes, Cell, Point, RequirementSet};
pub use self::declared::Declared;
pub use self::junit::merge;
pub use self::plan::{CellPlan, Install, installable, plan, requirements};
pub use self::run::{CellResult, Happening, Outcome, RunOptions, Watch};
pub use self::told::told;
