//! Reports of packing and unpacking.

use ptest::{Packed, Unpacked};
use serde::Serialize;

use crate::Report;

/// What `export` writes.
#[derive(Debug, Serialize)]
pub struct PackedReport {
    /// The size of the file.
    bytes: u64,
    layers: usize,
    /// The digest of the image.
    image: String,
    /// What the environment has and no layer can hold, each a sentence for people.
    left_out: Vec<String>,
}

impl From<Packed> for PackedReport {
    fn from(packed: Packed) -> Self {
        let Packed {
            bytes,
            layers,
            image,
            left_out,
        } = packed;
        Self {
            bytes,
            layers,
            image,
            left_out,
        }
    }
}

impl Report for PackedReport {
    const NAME: &'static str = "ptest.packed";

    fn samples() -> Vec<Self> {
        vec![Self {
            bytes: 1,
            layers: 1,
            image: "sha256:0".to_owned(),
            left_out: vec!["lib/pipe is left out: a FIFO".to_owned()],
        }]
    }
}

/// What `import` writes.
#[derive(Debug, Serialize)]
pub struct UnpackedReport {
    /// `environment` or `snapshot`.
    kind: &'static str,
    /// Its name, or the id of an environment without one.
    name: String,
    /// The version of its Python here.
    python: String,
    /// How many layers the store did not have.
    added_layers: usize,
    shared_layers: usize,
    /// What is not here as it was there, each a sentence for people.
    differs: Vec<String>,
}

impl From<Unpacked> for UnpackedReport {
    fn from(unpacked: Unpacked) -> Self {
        Self {
            kind: if unpacked.is_snapshot {
                "snapshot"
            } else {
                "environment"
            },
            name: unpacked.label,
            python: unpacked.python,
            added_layers: unpacked.added,
            shared_layers: unpacked.shared,
            differs: unpacked.differs,
        }
    }
}

impl Report for UnpackedReport {
    const NAME: &'static str = "ptest.unpacked";

    fn samples() -> Vec<Self> {
        vec![Self {
            kind: "environment",
            name: "web".to_owned(),
            python: "3.12.3".to_owned(),
            added_layers: 1,
            shared_layers: 1,
            differs: vec!["patch version: 3.12.1 there, 3.12.3 here".to_owned()],
        }]
    }
}
