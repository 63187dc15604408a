//! The report of `ptest diff`.

use std::path::Path;

use serde::Serialize;

use super::Report;

/// What `diff` writes.
#[derive(Debug, Serialize)]
pub(crate) struct ScratchReport {
    pub(crate) changes: Vec<ScratchChange>,
}

/// A path of the project that commands see otherwise than it is.
#[derive(Debug, Serialize)]
pub(crate) struct ScratchChange {
    path: String,
    /// `added`, `changed` or `removed`.
    change: &'static str,
}

impl ScratchChange {
    pub(crate) fn new(path: &Path, change: &'static str) -> Self {
        Self {
            path: path.display().to_string(),
            change,
        }
    }

    /// A line for people.
    pub(crate) fn line(&self) -> String {
        let sign = match self.change {
            "added" => '+',
            "removed" => '-',
            _ => '~',
        };
        format!("{sign} {}\n", self.path)
    }
}

impl Report for ScratchReport {
    const NAME: &'static str = "ptest.scratch";

    fn samples() -> Vec<Self> {
        vec![Self {
            changes: vec![ScratchChange::new("/project/file".as_ref(), "added")],
        }]
    }
}
