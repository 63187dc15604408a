//! Hooks: commands and URLs that are called when something happens.
//!
//! What happens is never kept waiting for them: they are called by a process that serves them ([`Ptest::serve_hooks`]), from
//! what was recorded, and where that ends too early the next one goes on. Not for events themselves: those are
//! [`events`](crate::events)'.

mod call;
mod hook;
mod serve;
pub(crate) mod table;

pub use self::hook::{Action, Hook};
pub use self::serve::{Attendance, Served};
use crate::error::Result;
use crate::events;
use crate::ptest::Ptest;

/// The variable that says for which event a hook was called. A ptest that sees it calls no hooks for what it does.
pub const CAUSE: &str = "PTEST_CAUSE";

/// A hook, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookStatus {
    /// What it is.
    pub hook: Hook,
    /// The file that declares it; `None` if a configuration does.
    pub source: Option<String>,
    /// The last event that it is done with.
    pub sequence: i64,
    /// How many events it is still to be called for.
    pub waiting: usize,
}

impl Ptest {
    /// These hooks, and those that files declare, each with how far it is.
    pub fn hooks(&self, hooks: &[Hook]) -> Result<Vec<HookStatus>> {
        let database = self.store().database();
        let known = table::in_force(database, hooks)?.into_iter();
        let status = |known: table::Known| {
            let filter = known.hook.filter(known.sequence);
            let mut waiting = database
                .read(|connection| events::table::earliest(connection, &filter, usize::MAX))?;
            waiting.retain(Hook::may_be_called_for);
            Ok(HookStatus {
                hook: known.hook,
                source: known.source,
                sequence: known.sequence,
                waiting: waiting.len(),
            })
        };
        known.map(status).collect()
    }
}
