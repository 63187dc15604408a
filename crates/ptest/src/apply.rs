//! Environments as a file declares them: what is to be there, what has to be done for it, and the doing.
//!
//! What is not as the file says is brought there, and only that: applying a file twice does nothing the
//! second time, and after a failure the next time goes on. What the file did not make is never touched.

mod carry_out;
mod file;
mod plan;
mod schema;
pub(crate) mod table;

pub use self::carry_out::Applied;
pub use self::file::{Declared, File};
pub use self::plan::{Action, Allowed, Difference, Plan, Planned, PlannedHook};
pub use self::schema::schema;
pub(crate) use self::table::Mark;
