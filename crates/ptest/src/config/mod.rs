//! The layered configuration: which settings there are, where they come from, what they are worth.
//!
//! Sources, each stronger than the one before: built in, `/etc/ptest/config.toml`,
//! `$XDG_CONFIG_HOME/ptest/config.toml` (else `~/.config/ptest/config.toml`), the project's `ptest.toml` or
//! `[tool.ptest]` in its `pyproject.toml` (the nearest directory upwards that has one), `PTEST_*` variables, options
//! of the command line. A stronger source replaces a value whole, lists and tables too; only options that can be
//! given several times add to the configured value. A value keeps its [`Origin`].
//!
//! Everything here is a function of [`Sources`]: nothing reads the process environment or the current directory.
//! What a setting *means* is the business of whoever reads it; here it only has a type.

mod choice;
mod edit;
mod error;
mod hook;
mod keys;
mod load;
mod options;
mod origin;
mod project;
mod schema;
mod table;
mod toml_file;
mod units;
mod value;

pub use choice::{ColorChoice, InstallerChoice, LogLevel, ProgressChoice, UserHome};
pub use edit::set;
pub use error::{ConfigError, Place};
pub(crate) use hook::read as read_hooks;
pub use keys::{Config, KEYS, Key, Row};
pub(crate) use load::project_file;
pub use load::{Files, Sources};
pub use options::Options;
pub use origin::{Origin, Setting, Source};
pub use schema::{file_schema, pyproject_schema};
pub(crate) use table::{Field, Table};
pub(crate) use toml_file::TomlFile;
pub use units::{
    InvalidUnit, Size, Timeout, format_bytes, format_duration, parse_bytes, parse_duration,
};
pub(crate) use value::Context;
