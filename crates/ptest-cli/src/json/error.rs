//! The report of a failure.

use serde::Serialize;

use super::Report;

/// What a reporting command writes to stdout in place of its report if it fails under `--format json`. The same goes
/// to stderr, for people.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorReport {
    pub(crate) error: ErrorDto,
}

#[derive(Debug, Serialize)]
pub(crate) struct ErrorDto {
    /// What kind of thing went wrong, for programs to branch on.
    pub(crate) kind: String,
    pub(crate) message: String,
    /// Why, outermost first.
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
    /// The words of the tool that failed.
    pub(crate) output: Option<String>,
}

impl Report for ErrorReport {
    const NAME: &'static str = "ptest.error";

    fn samples() -> Vec<Self> {
        let empty = ErrorDto {
            kind: "not_found".to_owned(),
            message: "there is no environment `web`".to_owned(),
            causes: Vec::new(),
            hint: None,
            output: None,
        };
        let full = ErrorDto {
            kind: "resolution".to_owned(),
            message: "no versions satisfy the requirements".to_owned(),
            causes: vec!["the installer failed".to_owned()],
            hint: Some("try another version".to_owned()),
            output: Some("No matching distribution found".to_owned()),
        };
        vec![Self { error: empty }, Self { error: full }]
    }
}
