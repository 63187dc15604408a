//! A table of a file, read key by key: who reads it says which keys there are and what they take, and every
//! complaint has its place.
//!
//! Not for settings, whose keys and types are in `keys`.

use std::collections::BTreeMap;

use toml_edit::{Item, TableLike, Value};

use super::error::{ConfigError, Place};
use super::keys::nearest;
use super::toml_file::TomlFile;
use super::value::with_article;

/// A table, or what a file consists of.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    /// The file that it is written in, if it is in one.
    file: Option<&'a TomlFile>,
    table: &'a dyn TableLike,
}

/// A key with its value.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    table: Table<'a>,
    /// The key.
    pub(crate) key: &'a str,
    /// The value.
    pub(crate) item: &'a Item,
}

impl<'a> Table<'a> {
    /// The section of a file that was read; `None` if the file does not have it.
    pub(crate) fn of(file: &'a TomlFile) -> Option<Self> {
        let table = file.table()?;
        Some(Self {
            file: Some(file),
            table,
        })
    }

    /// What a caller gives by name.
    pub(crate) fn of_arguments(table: &'a dyn TableLike) -> Self {
        Self { file: None, table }
    }

    /// Every key.
    pub(crate) fn fields(self) -> impl Iterator<Item = Field<'a>> {
        self.table.iter().map(move |(key, item)| Field {
            table: self,
            key,
            item,
        })
    }

    /// The value of a key, if it is there.
    pub(crate) fn field(self, key: &str) -> Option<Field<'a>> {
        self.fields().find(|field| field.key == key)
    }

    /// The error for the first key that is none of these, if there is one.
    pub(crate) fn refuse_unknown(self, known: &[&'static str]) -> Result<(), ConfigError> {
        match self.fields().find(|field| !known.contains(&field.key)) {
            Some(field) => Err(field.unknown(known)),
            None => Ok(()),
        }
    }

    /// Where a key is written.
    fn key_place(self, key: &str) -> Place {
        let span = self.table.key(key).and_then(toml_edit::Key::span);
        self.place(span.map_or(0, |span| span.start))
    }

    fn place(self, offset: usize) -> Place {
        self.file.map_or(Place::Argument, |file| file.place(offset))
    }
}

impl<'a> Field<'a> {
    /// Where the value is written; of a table with a header of its own, where its name is.
    pub(crate) fn place(&self) -> Place {
        match self.item.span() {
            Some(span) if !self.item.is_table() => self.table.place(span.start),
            _ => self.table.key_place(self.key),
        }
    }

    /// The error for a key that is none of these.
    pub(crate) fn unknown(&self, known: &[&'static str]) -> ConfigError {
        ConfigError::UnknownField {
            place: self.table.key_place(self.key),
            key: self.key.to_owned(),
            nearest: nearest(known.iter().copied(), self.key),
            known: known.join(", "),
        }
    }

    /// The error for a value that the key does not take.
    pub(crate) fn invalid(&self, expected: &str, found: impl Into<String>) -> ConfigError {
        ConfigError::Field {
            place: self.place(),
            key: self.key.to_owned(),
            expected: expected.to_owned(),
            found: found.into(),
        }
    }

    /// A text.
    pub(crate) fn text(&self) -> Result<String, ConfigError> {
        let text = self.item.as_str();
        text.map(str::to_owned)
            .ok_or_else(|| self.other_type("a text"))
    }

    /// A list of texts; a text alone is a list of one.
    pub(crate) fn texts(&self) -> Result<Vec<String>, ConfigError> {
        const EXPECTED: &str = "a list of texts";
        if let Some(text) = self.item.as_str() {
            return Ok(vec![text.to_owned()]);
        }
        let list = self
            .item
            .as_array()
            .ok_or_else(|| self.other_type(EXPECTED))?;
        list.iter()
            .map(|value| {
                let text = value.as_str().map(str::to_owned);
                text.ok_or_else(|| self.invalid(EXPECTED, with_article(value.type_name())))
            })
            .collect()
    }

    /// A whole number from 1.
    pub(crate) fn count(&self) -> Result<u32, ConfigError> {
        const EXPECTED: &str = "a whole number from 1";
        let number = self
            .item
            .as_integer()
            .ok_or_else(|| self.other_type(EXPECTED))?;
        let count = u32::try_from(number).ok().filter(|count| *count > 0);
        count.ok_or_else(|| self.invalid(EXPECTED, number.to_string()))
    }

    /// A table.
    pub(crate) fn table(&self) -> Result<Table<'a>, ConfigError> {
        let table = self
            .item
            .as_table_like()
            .ok_or_else(|| self.other_type("a table"))?;
        Ok(Table {
            file: self.table.file,
            table,
        })
    }

    /// A list of tables.
    pub(crate) fn tables(&self) -> Result<Vec<Table<'a>>, ConfigError> {
        const EXPECTED: &str = "a list of tables";
        let file = self.table.file;
        if let Some(tables) = self.item.as_array_of_tables() {
            return Ok(tables.iter().map(|table| Table { file, table }).collect());
        }
        let list = self
            .item
            .as_array()
            .ok_or_else(|| self.other_type(EXPECTED))?;
        list.iter()
            .map(|value| match value {
                Value::InlineTable(table) => Ok(Table { file, table }),
                other => Err(self.invalid(EXPECTED, with_article(other.type_name()))),
            })
            .collect()
    }

    /// A table of texts.
    pub(crate) fn map(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let fields = self.table()?.fields();
        fields
            .map(|field| Ok((field.key.to_owned(), field.text()?)))
            .collect()
    }

    fn other_type(&self, expected: &str) -> ConfigError {
        self.invalid(expected, with_article(self.item.type_name()))
    }
}
