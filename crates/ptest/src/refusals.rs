//! What an environment was refused beyond the hosts that it is allowed.
//!
//! Its proxy writes and this reads, at any time and in any process. Each refusal has a number, so that who has seen some
//! can take only the later ones. Not for what decides about a refusal: that is the sandbox's.

use std::fs;
use std::io;
use std::path::Path;

pub use ptest_sandbox::proxy::{Reason as RefusalReason, Refusal};

use crate::error::{Error, Result};

/// What was refused so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// How many times, since the environment was made.
    pub total: u64,
    /// The latest ones, oldest first. Older ones are forgotten when there are many.
    pub latest: Vec<Refusal>,
}

impl Refusals {
    /// Reads what a proxy has recorded. Without a record nothing was refused.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|source| Error::io(format!("read {}", path.display()), source))?,
        };
        // A line that a proxy was killed over is none.
        let latest: Vec<Refusal> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        Ok(Self {
            total: latest.last().map_or(0, |last| last.number),
            latest,
        })
    }

    /// Those after the first `seen` ones.
    #[must_use]
    pub fn after(mut self, seen: u64) -> Self {
        self.latest.retain(|refusal| refusal.number > seen);
        self.total = self.total.saturating_sub(seen);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_cut_off_is_read_as_far_as_it_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("refusals");
        let line = |number| {
            format!(
                r#"{{"number":{number},"time":"2026-01-01T00:00:00.000Z","host":"a.example","port":443,"reason":"not_allowed","address":null}}"#
            )
        };
        fs::write(&path, format!("{}\n{}\n{{\"numb", line(7), line(8))).unwrap();
        let refusals = Refusals::read(&path).unwrap();
        assert_eq!((refusals.total, refusals.latest.len()), (8, 2));
        let later = refusals.after(7);
        assert_eq!((later.total, later.latest.len()), (1, 1));
        assert_eq!(later.latest[0].reason, RefusalReason::NotAllowed);
        let none = Refusals::read(&directory.path().join("none")).unwrap();
        assert_eq!(none, Refusals::default());
    }
}
