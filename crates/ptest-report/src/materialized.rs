//! The report of `ptest create --materialize`.

use ptest::Materialized;
use serde::Serialize;

use crate::Report;

/// What `create --materialize` writes.
#[derive(Debug, Serialize)]
pub struct MaterializedReport {
    /// Where it is, with symbolic links resolved.
    path: String,
    /// The version of its Python.
    python: String,
    /// The interpreter that its `bin/python` leads to.
    interpreter: String,
    /// How many files, links and directories it has.
    entries: u64,
    /// The sizes of its files together.
    bytes: u64,
    /// How many files share their contents with the store until one of the two is written.
    shared_files: u64,
}

impl From<Materialized> for MaterializedReport {
    fn from(made: Materialized) -> Self {
        Self {
            path: made.path.display().to_string(),
            python: made.python,
            interpreter: made.interpreter.display().to_string(),
            entries: made.entries,
            bytes: made.bytes,
            shared_files: made.shared,
        }
    }
}

impl Report for MaterializedReport {
    const NAME: &'static str = "ptest.materialized";

    fn samples() -> Vec<Self> {
        vec![Self {
            path: "/project/.venv".to_owned(),
            python: "3.12.3".to_owned(),
            interpreter: "/usr/bin/python3.12".to_owned(),
            entries: 1,
            bytes: 1,
            shared_files: 1,
        }]
    }
}
