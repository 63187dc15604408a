//! Environments: identity, states, owners, rows, and the handle to one.

mod handle;
pub mod id;
pub mod owner;
pub mod state;
pub(crate) mod table;

pub use self::handle::{Disk, Environment, Status};
pub use self::id::{EnvironmentId, Name};
pub use self::owner::{Owner, ProcessIdentity};
pub use self::state::{IllegalTransition, State, Transition};
pub use self::table::{Python, Record};
