//! Everything that ptest knows of Python: interpreters, requirements, installers and wheels.
//!
//! The way from a request to files is one line of calls, each usable alone:
//!
//! 1. [`discover::find`]: a [`PythonRequest`] leads to an [`Interpreter`].
//! 2. [`skeleton::build`]: the interpreter's virtual environment without packages.
//!
//! Nothing here knows of the database or the layer store: functions take paths, and what is
//! worth keeping is kept through small traits of the caller. All calls block.

pub(crate) mod activation;
pub mod command;
pub mod description;
pub mod discover;
pub mod fetch;
pub mod host;
pub mod index;
pub mod installed;
pub mod installer;
pub mod interpreter;
pub mod name;
pub mod pip;
pub mod portable;
pub mod project;
pub mod provenance;
pub mod redact;
pub mod reqfile;
pub mod request;
pub mod requirement;
pub mod requirements;
pub mod skeleton;
pub mod stage;
pub mod tools;
pub mod tree;
pub mod uv;
pub mod wheel;

mod archive;
mod download;
mod editable;
mod entry_points;
mod environment;
mod ini;
mod pyenv;
mod pylock;
mod record;
pub(crate) mod relocate;
mod report;
mod resolve;

pub use archive::ArchiveError;
pub use command::{Cancel, Supervision};
pub use host::HostEnv;
pub use index::IndexSettings;
pub use installer::{
    Context, FailureKind, Installer, InstallerError, Pinned, Resolution, ResolveRequest, Source,
    Step,
};
pub use interpreter::{Asking, Interpreter, InterpreterCache, InterpreterError, NoCache};
pub use pip::Pip;
pub use request::PythonRequest;
pub use requirement::{Requirement, RequirementError};
pub use requirements::Requirements;
pub use tools::PipTool;
pub use uv::Uv;

/// The path at which every environment sees itself, on every machine and in every engine.
pub const ENV_PREFIX: &str = "/ptest/env";
