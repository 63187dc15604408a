//! Options that a program gives by name, read as a table of a file is.
//!
//! For callers without a command line: a Python function, a request. Not for what the names mean: that is for whoever reads
//! the table.

use std::path::Path;

use serde_json::{Map, Value as Json};
use toml_edit::{Array, InlineTable, Item, Table as TomlTable, Value};

use super::load::Sources;
use super::table::Table;
use super::value::Context;
use super::{Config, ConfigError};
use crate::error::{Error, ErrorKind};

/// Values by name. What is null is not given.
#[derive(Clone, Debug, Default)]
pub struct Options {
    table: TomlTable,
}

impl Options {
    /// Values as JSON has them: texts, numbers, truth values, and lists and objects of these.
    pub fn new(values: Map<String, Json>) -> Self {
        let given = values
            .into_iter()
            .filter_map(|(name, value)| Some((name, Item::Value(toml(value)?))));
        Self {
            table: given.collect(),
        }
    }

    /// What is given, to be read key by key.
    pub(crate) fn table(&self) -> Table<'_> {
        Table::of_arguments(&self.table)
    }
}

impl Config {
    /// The directory of the store.
    ///
    /// # Errors
    ///
    /// When nothing says where it is.
    pub fn store_home(&self) -> Result<&Path, Error> {
        self.home.as_deref().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "the store has no place")
                .with_hint("set PTEST_HOME, XDG_DATA_HOME or HOME to an absolute path")
        })
    }

    /// Takes over what a caller says of settings, who stands where `sources` says.
    ///
    /// # Errors
    ///
    /// When there is no such setting, and when it does not take that value.
    pub fn take_options(
        &mut self,
        options: &Options,
        sources: &Sources,
    ) -> Result<(), ConfigError> {
        let home = sources.home_directory();
        let context = Context {
            base: sources.working_directory.as_deref(),
            home: home.as_deref(),
        };
        options
            .table()
            .fields()
            .try_for_each(|field| self.take_field(&field, &context))
    }
}

/// `None` for null, which TOML does not have.
fn toml(value: Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(value) => value.into(),
        Json::String(value) => value.into(),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Json::Array(values) => values
            .into_iter()
            .filter_map(toml)
            .collect::<Array>()
            .into(),
        Json::Object(values) => {
            let pairs = values
                .into_iter()
                .filter_map(|(name, value)| Some((name, toml(value)?)));
            pairs.collect::<InlineTable>().into()
        }
    })
}
