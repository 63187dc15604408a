//! The report of a failure.

use serde::Serialize;

use super::Report;
use crate::error::CliError;

/// What a reporting command writes to stdout in place of its report if it fails under `--format json`. The same goes
/// to stderr, for people.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorReport {
    pub(crate) error: ErrorDto,
}

#[derive(Debug, Serialize)]
pub(crate) struct ErrorDto {
    /// What kind of thing went wrong, for programs to branch on.
    kind: String,
    message: String,
    /// Why, outermost first.
    causes: Vec<String>,
    hint: Option<String>,
    /// The words of the tool that failed.
    output: Option<String>,
}

impl From<&CliError> for ErrorDto {
    fn from(error: &CliError) -> Self {
        Self {
            kind: error.kind().to_string(),
            message: error.to_string(),
            causes: error.causes(),
            hint: error.hint(),
            output: error.output().map(str::to_owned),
        }
    }
}

impl ErrorDto {
    pub(super) fn samples() -> Vec<Self> {
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
