//! The report of `ptest diff`.

use std::fs;

use ptest::engine::{Change, ChangeKind};
use serde::Serialize;

use crate::Report;

/// What `diff` writes.
#[derive(Debug, Serialize)]
pub struct ScratchReport {
    /// In the order of their paths.
    pub changes: Vec<ScratchChange>,
}

/// A path of the project that commands see otherwise than it is.
#[derive(Debug, Serialize)]
pub struct ScratchChange {
    path: String,
    /// `added`, `changed` or `removed`.
    change: &'static str,
}

impl ScratchChange {
    /// A line for people.
    pub fn line(&self) -> String {
        let sign = match self.change {
            "added" => '+',
            "removed" => '-',
            _ => '~',
        };
        format!("{sign} {}\n", self.path)
    }
}

impl From<Change> for ScratchChange {
    fn from(change: Change) -> Self {
        let is_there = fs::symlink_metadata(&change.path).is_ok();
        Self {
            change: match change.kind {
                ChangeKind::Deleted => "removed",
                ChangeKind::Written if is_there => "changed",
                ChangeKind::Written => "added",
            },
            path: change.path.display().to_string(),
        }
    }
}

impl Report for ScratchReport {
    const NAME: &'static str = "ptest.scratch";

    fn samples() -> Vec<Self> {
        vec![Self {
            changes: vec![ScratchChange {
                path: "/project/file".to_owned(),
                change: "added",
            }],
        }]
    }
}
