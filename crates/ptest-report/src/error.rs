//! The report of a failure.

use std::error::Error as StdError;

use ptest::{Error, ErrorKind};
use serde::Serialize;

use crate::Report;

/// What a reporting command writes to stdout in place of its report if it fails under `--format json`. The same goes
/// to stderr, for people.
#[derive(Debug, Serialize)]
pub struct ErrorReport {
    /// Why it failed.
    pub error: ErrorDto,
}

/// Why something failed.
#[derive(Debug, Serialize)]
pub struct ErrorDto {
    /// What kind of thing went wrong, for programs to branch on.
    kind: String,
    message: String,
    /// Why, outermost first.
    causes: Vec<String>,
    hint: Option<String>,
    /// The words of the tool that failed.
    output: Option<String>,
}

impl From<&Error> for ErrorDto {
    fn from(error: &Error) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self::new(error.kind(), error, hint, error.output())
    }
}

impl ErrorDto {
    /// An error of `kind`, told with its causes.
    pub fn new(
        kind: ErrorKind,
        error: &(dyn StdError + 'static),
        hint: Option<String>,
        output: Option<&str>,
    ) -> Self {
        Self {
            kind: kind.to_string(),
            message: error.to_string(),
            causes: ptest::causes(error),
            hint,
            output: output.map(str::to_owned),
        }
    }

    pub(crate) fn samples() -> Vec<Self> {
        let bare = Self {
            kind: "not_found".to_owned(),
            message: "there is no environment `web`".to_owned(),
            causes: Vec::new(),
            hint: None,
            output: None,
        };
        let full = Self {
            kind: "resolution".to_owned(),
            message: "no versions satisfy the requirements".to_owned(),
            causes: vec!["the installer failed".to_owned()],
            hint: Some("try another version".to_owned()),
            output: Some("No matching distribution found".to_owned()),
        };
        vec![bare, full]
    }
}

impl Report for ErrorReport {
    const NAME: &'static str = "ptest.error";

    fn samples() -> Vec<Self> {
        ErrorDto::samples()
            .into_iter()
            .map(|error| Self { error })
            .collect()
    }
}
