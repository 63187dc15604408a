//! The record of runs: each execution of a command in an environment, from its begin to its end and for some time after.
//!
//! A run is recorded where every command starts, [`Environment::spawn`](crate::Environment::spawn), so that nobody has to
//! remember to. Its row says that it runs before it does; whoever dies with a run open leaves a row that the next opening of
//! the store finds. What a run is made of is [`record`]'s; what is kept of its output is taken by
//! [`Environment::run`](crate::Environment::run).

mod active;
mod arguments;
mod follow;
mod id;
mod log;
mod logged;
mod output;
mod record;
mod retention;
mod streams;
pub(crate) mod table;
mod taking;
mod told;

pub use self::active::ActiveRun;
pub use self::follow::LogFollower;
pub use self::id::{RunChoice, RunId};
pub use self::log::LogReader;
pub use self::output::{Lines, OutputFilter, Piece, RunOutput};
pub use self::record::{Conditions, Outcome, RunRecord};
pub use self::streams::{Destination, Stream, Streams};
pub(crate) use self::taking::Taking;
