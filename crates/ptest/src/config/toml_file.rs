//! A configuration file: read, parsed, and each key with its position.
//!
//! Knows nothing of which keys exist.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml_edit::{Document, Item, TableLike};

use super::error::{ConfigError, Place};

/// A parsed file.
#[derive(Debug)]
pub(crate) struct TomlFile {
    path: PathBuf,
    document: Document<String>,
    section: &'static [&'static str],
}

impl TomlFile {
    /// Reads a file; `None` if it is not there. `section` is the path of the table that holds the settings; a file
    /// without that table counts as not there.
    pub(super) fn read(
        path: &Path,
        section: &'static [&'static str],
    ) -> Result<Option<Self>, ConfigError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, text, section),
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(ConfigError::Read {
                file: path.to_owned(),
                source,
            }),
        }
    }

    /// Reads a file that must be there, all of which counts.
    pub(crate) fn required(path: &Path) -> Result<Self, ConfigError> {
        let unread = |source| ConfigError::Unreadable {
            file: path.to_owned(),
            source,
        };
        let text = fs::read_to_string(path).map_err(unread)?;
        let file = Self::parse(path, text, &[])?;
        // The whole of a file is a table.
        file.ok_or_else(|| unread(io::ErrorKind::InvalidData.into()))
    }

    /// As [`TomlFile::read`], of a text already read.
    pub(super) fn parse(
        path: &Path,
        text: String,
        section: &'static [&'static str],
    ) -> Result<Option<Self>, ConfigError> {
        // A file that nowhere says the section's name cannot have it: no other tool's broken or huge file is parsed.
        if section.last().is_some_and(|name| !text.contains(name)) {
            return Ok(None);
        }
        let position = |offset| position(&text, offset);
        let document = match Document::parse(text.clone()) {
            Ok(document) => document,
            Err(error) => {
                let (line, column) = position(error.span().map_or(0, |span| span.start));
                let place = Place::File {
                    file: path.to_owned(),
                    line,
                    column,
                };
                return Err(ConfigError::Syntax {
                    place,
                    message: one_line(error.message()),
                });
            }
        };
        let file = Self {
            path: path.to_owned(),
            document,
            section,
        };
        Ok(file.table().is_some().then_some(file))
    }

    /// The file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that relative paths in the file start from.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.path.parent()
    }

    /// Every key of the section with its value, the key's place and the value's place.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let table = self.table();
        table.into_iter().flat_map(move |table| {
            table.iter().map(move |(name, item)| {
                let key_at = table
                    .key(name)
                    .and_then(toml_edit::Key::span)
                    .map_or(0, |span| span.start);
                let value_at = item.span().map_or(key_at, |span| span.start);
                Entry {
                    name,
                    item,
                    key_place: self.place(key_at),
                    value_place: self.place(value_at),
                }
            })
        })
    }

    /// What a path in the file means.
    pub(crate) fn path_from(&self, path: &str) -> PathBuf {
        self.directory()
            .map_or_else(|| path.into(), |directory| directory.join(path))
    }

    pub(super) fn table(&self) -> Option<&dyn TableLike> {
        let mut item = self.document.as_item();
        for name in self.section {
            item = item.get(name)?;
        }
        item.as_table_like()
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let (line, column) = position(self.document.raw(), offset);
        Place::File {
            file: self.path.clone(),
            line,
            column,
        }
    }
}

/// One key of a file.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) item: &'a Item,
    pub(super) key_place: Place,
    pub(super) value_place: Place,
}

/// Whether an error only says that there is no such file.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// What the parser says, as a fragment of one line.
pub(super) fn one_line(message: &str) -> String {
    message.trim().replace('\n', ", ")
}

/// Line and column of a byte offset, from 1.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        assert_eq!(position("ab\nçd", 0), (1, 1));
        assert_eq!(position("ab\nçd", 3), (2, 1));
        assert_eq!(position("ab\nçd", 5), (2, 2));
        assert_eq!(position("ab", 99), (1, 3));
    }

    #[test]
    fn a_file_that_does_not_mention_the_section_is_not_parsed() {
        let broken = "[project\nname = 'x'".to_owned();
        assert!(
            TomlFile::parse(Path::new("pyproject.toml"), broken, &["tool", "ptest"])
                .unwrap()
                .is_none()
        );
    }
}
