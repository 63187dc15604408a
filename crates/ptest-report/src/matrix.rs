//! The report of a matrix.

use std::collections::BTreeMap;

use ptest::{
    engine::ExitStatus,
    matrix::{CellPlan, CellResult, Outcome},
};
use serde::Serialize;

use crate::{ErrorDto, Report};

/// What `matrix` writes.
#[derive(Debug, Serialize)]
pub struct MatrixReport {
    /// Whether every cell has passed; null where none was run.
    passed: Option<bool>,
    cells: Vec<CellDto>,
}

/// A cell.
#[derive(Debug, Serialize)]
struct CellDto {
    name: String,
    /// The interpreter, as it is asked for.
    python: Option<String>,
    /// The set of requirements.
    set: Option<String>,
    env: BTreeMap<String, String>,
    command: Vec<String>,
    /// Null where it was not run.
    result: Option<ResultDto>,
}

/// What became of a cell.
#[derive(Debug, Serialize)]
struct ResultDto {
    /// `passed`, `failed`, `timed_out`, `error` or `stopped`.
    outcome: &'static str,
    /// What a shell would say of the command's end.
    exit_code: Option<i32>,
    /// How long it took to make the environment.
    prepared_seconds: f64,
    /// How long the command ran.
    elapsed_seconds: f64,
    /// Processor time of the command.
    cpu_seconds: Option<f64>,
    /// The most memory that one of its processes held.
    memory_peak_bytes: Option<u64>,
    /// The file that has what the command wrote.
    output: String,
    /// Why the environment could not be made or taken away, or the command not be started.
    error: Option<ErrorDto>,
}

impl MatrixReport {
    /// Cells that were run.
    pub fn new(cells: &[(&CellPlan, &CellResult)]) -> Self {
        Self {
            passed: Some(cells.iter().all(|(_, result)| result.has_passed())),
            cells: cells
                .iter()
                .map(|(plan, result)| CellDto::of(plan, Some(result)))
                .collect(),
        }
    }

    /// Cells that would be run.
    pub fn planned(cells: &[CellPlan]) -> Self {
        Self {
            passed: None,
            cells: cells.iter().map(|plan| CellDto::of(plan, None)).collect(),
        }
    }
}

impl CellDto {
    fn of(plan: &CellPlan, result: Option<&CellResult>) -> Self {
        Self {
            name: plan.cell.name.clone(),
            python: plan.cell.python.clone(),
            set: plan.cell.set.as_ref().map(|set| set.name.clone()),
            env: plan.cell.variables.clone(),
            command: plan.command.clone(),
            result: result.map(ResultDto::from),
        }
    }
}

impl From<&CellResult> for ResultDto {
    fn from(result: &CellResult) -> Self {
        let (exit, error) = match &result.outcome {
            Outcome::Ended(exit) => (Some(exit), result.not_removed.clone()),
            Outcome::Error(error) => (None, Some(error.clone())),
            Outcome::Stopped => (None, result.not_removed.clone()),
        };
        Self {
            outcome: match &result.outcome {
                _ if result.has_passed() => "passed",
                Outcome::Ended(exit) if exit.timed_out => "timed_out",
                Outcome::Ended(exit) if exit.status != ExitStatus::Code(0) => "failed",
                Outcome::Ended(_) | Outcome::Error(_) => "error",
                Outcome::Stopped => "stopped",
            },
            exit_code: exit.map(|exit| exit.status.shell_code()),
            prepared_seconds: result.prepared.as_secs_f64(),
            elapsed_seconds: result.elapsed.as_secs_f64(),
            cpu_seconds: exit.map(|exit| (exit.usage.user + exit.usage.system).as_secs_f64()),
            memory_peak_bytes: exit.map(|exit| exit.usage.memory_peak),
            output: result.output.display().to_string(),
            error: error.as_ref().map(Into::into),
        }
    }
}

impl Report for MatrixReport {
    const NAME: &'static str = "ptest.matrix";

    fn samples() -> Vec<Self> {
        let result = |exit_code: Option<i32>, error| ResultDto {
            outcome: "failed",
            exit_code,
            prepared_seconds: 0.5,
            elapsed_seconds: 1.5,
            cpu_seconds: exit_code.map(|_| 0.5),
            memory_peak_bytes: exit_code.map(|_| 1),
            output: "/var/lib/ptest/matrix/project/3.12-old.log".to_owned(),
            error,
        };
        let cell = |python: Option<&str>, result| CellDto {
            name: "3.12-old".to_owned(),
            python: python.map(str::to_owned),
            set: python.map(|_| "old".to_owned()),
            env: python
                .map(|_| ("MODE".to_owned(), "fast".to_owned()))
                .into_iter()
                .collect(),
            command: vec!["pytest".to_owned()],
            result,
        };
        let errors = ErrorDto::samples().into_iter();
        let failed = errors.map(|error| cell(None, Some(result(None, Some(error)))));
        vec![
            Self {
                passed: Some(false),
                cells: failed
                    .chain([cell(Some("3.12"), Some(result(Some(1), None)))])
                    .collect(),
            },
            Self {
                passed: None,
                cells: vec![cell(None, None)],
            },
        ]
    }
}
