//! Values as JSON text for the database.

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

/// The text of a value. Only a path that is not UTF-8 has none.
pub(crate) fn text<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|source| {
        Error::new(ErrorKind::InvalidInput, "a path cannot be recorded")
            .with_hint("paths given to ptest must be UTF-8")
            .with_source(source)
    })
}
