//! What a long operation tells while it goes on.

use std::path::PathBuf;

/// Something that a long operation has begun or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The interpreter is being asked what it is.
    AskingInterpreter,
    /// Versions are being chosen.
    Resolving,
    /// This many distributions are not in the store yet.
    Missing(usize),
    /// The build of an editable project writes into the project.
    WritingInto {
        /// The project's directory.
        project: PathBuf,
    },
    /// The wheel of a distribution is there.
    Fetched {
        /// Its name.
        name: String,
    },
    /// A distribution is in the store now.
    Layered {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// The bytecode of a distribution is being compiled.
    Compiling {
        /// Its name.
        name: String,
    },
    /// An environment is being attacked, to see what it keeps out.
    Attacking {
        /// What is tried.
        what: &'static str,
    },
    /// So many layers are being made one.
    Flattening(usize),
    /// The environment is complete.
    Created,
    /// One of so many environments is done with.
    OneOf {
        /// Its name or id.
        label: String,
        /// How many there are.
        count: usize,
    },
}

/// Who is told. Called from several threads.
pub trait Progress: Sync {
    /// Takes note of a step. Must not block.
    fn step(&self, step: Step);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: Step) {}
}
