//! A matrix that runs: one command in each of its cells.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc;

use ptest::config::Timeout;
use ptest::matrix::{
    CellPlan, Declared, Happening, Install, RequirementSet, RunOptions, Watch, installable, merge,
    plan, requirements, told,
};
use ptest::python::{Cancel, HostEnv};
use ptest::{Error, ErrorKind, Lifetime, Ptest};
use ptest_report::MatrixReport;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Value, json};

use crate::document::{Seconds, TextPath, dictionary};
use crate::error::Result;
use crate::host::Host;
use crate::store::{Store, Wanted};
use crate::stream::Stream;
use crate::wait::interruptible;

/// How a matrix is run, as the package asks for it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Asked {
    pythons: Vec<String>,
    sets: BTreeMap<String, Vec<String>>,
    cells: Vec<String>,
    install: Option<String>,
    command: Vec<String>,
    jobs: Option<usize>,
    fail_fast: bool,
    junit_xml: Option<TextPath>,
    output: Option<TextPath>,
    timeout: Option<Seconds>,
    grace: Option<Seconds>,
    refresh: bool,
}

/// A matrix whose cells run on threads of their own. It is ended when nobody holds this any more.
#[pyclass(frozen, module = "ptest._core")]
pub(crate) struct Matrix {
    planned: MatrixReport,
    results: Stream<Value>,
    cancel: Cancel,
}

#[pymethods]
impl Matrix {
    /// The cells, of which none was run.
    fn cells<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        dictionary(py, &self.planned)
    }

    /// The next cell that has ended; `None` if none did in that time, `False` if all have.
    fn next<'py>(&self, py: Python<'py>, timeout: Option<Seconds>) -> Result<Bound<'py, PyAny>> {
        self.results.next(py, timeout)
    }

    /// Ends the cells that run, and begins no others.
    fn stop(&self) {
        self.cancel.cancel();
    }
}

impl Drop for Matrix {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[pymethods]
impl Store {
    /// The cells of a matrix that would be run.
    fn cells<'py>(
        &self,
        py: Python<'py>,
        given: &Bound<'_, PyDict>,
        asked: Asked,
    ) -> Result<Bound<'py, PyAny>> {
        let wanted = self.wanted(given)?;
        let place = self.place(&wanted.host);
        let look = move || -> Result<_> {
            let mut declared = declared(&place, &asked)?;
            if declared.command.is_empty() {
                // What is not run need not be said.
                declared.command = vec![String::new()];
            }
            let cells = planned(&wanted, &declared, &asked.cells)?;
            Ok(MatrixReport::planned(&cells))
        };
        let report = interruptible(py, |_| (), look)??;
        dictionary(py, &report)
    }

    /// The options of an environment by which it has what every cell of the project's matrix has. Where its file does not
    /// say how the project comes in, it does so as its source tree if that is one of `editables`.
    fn requirements_of_cells<'py>(
        &self,
        py: Python<'py>,
        project: &str,
        editables: Vec<TextPath>,
    ) -> Result<Bound<'py, PyAny>> {
        let given = PyDict::new(py);
        given.set_item("project", project)?;
        let wanted = self.wanted(&given)?;
        let look = move || -> Result<_> {
            let spec = wanted.spec(None, Lifetime::Process)?;
            let root = spec.settings.project.root;
            let mut declared = Declared::load(&wanted.place.sources(None))?.unwrap_or_default();
            if declared.install.is_none() && editables.iter().any(|it| **it == *root) {
                declared.install = Some(Install::Editable);
            }
            let project = installable(&root).then_some(root.as_path());
            let host = HostEnv {
                cwd: root.clone(),
                ..wanted.place.environment
            };
            Ok(requirements(&declared, project, &host)?)
        };
        let found = interruptible(py, |_| (), look)??;
        dictionary(
            py,
            &json!({
                "requirements": found.specifiers,
                "requirements_files": found.files,
                "editable": found.editables,
                "constraints": found.constraints,
            }),
        )
    }

    /// Runs a matrix.
    fn matrix(&self, py: Python<'_>, given: &Bound<'_, PyDict>, asked: Asked) -> Result<Matrix> {
        let wanted = self.wanted(given)?;
        let place = self.place(&wanted.host);
        let config = self.config();
        let timeout = asked.timeout.map(|timeout| timeout.0);
        let timeout = timeout.or(config.timeout.map(Timeout::duration));
        let grace = asked.grace.map_or(*config.grace, |grace| grace.0);
        let (ptest, cancel) = self.for_a_call(asked.refresh, None);
        let store = ptest.clone();
        let look = move || -> Result<_> {
            let declared = declared(&place, &asked)?;
            let cells = planned(&wanted, &declared, &asked.cells)?;
            let HostEnv { cwd, env, .. } = wanted.host.environment;
            let output = match asked.output {
                Some(directory) => cwd.join(&*directory),
                None => store.matrix_output(&cells[0].spec.settings.project.root)?,
            };
            fs::create_dir_all(&output)
                .map_err(|source| Error::io(format!("create {}", output.display()), source))?;
            let junit_xml = asked.junit_xml.map(|file| cwd.join(&*file));
            let options = RunOptions {
                jobs: asked.jobs.or(declared.jobs.map(|jobs| jobs as usize)),
                fail_fast: asked.fail_fast,
                results: junit_xml.is_some(),
                output,
                working_directory: Some(cwd),
                caller: env,
                timeout,
                grace,
            };
            Ok((cells, options, junit_xml))
        };
        let (cells, options, junit_xml) = interruptible(py, |_| (), look)??;
        let planned = MatrixReport::planned(&cells);
        // Nobody who takes them may keep a cell from ending.
        let results = Stream::of("ptest-matrix", cells.len() + 1, move |sent| {
            run(&ptest, &cells, &options, junit_xml.as_deref(), &sent);
        })?;
        Ok(Matrix {
            planned,
            results,
            cancel,
        })
    }
}

/// The matrix of the project that is found from there, with what is asked for in place of what its file says.
fn declared(place: &Host, asked: &Asked) -> Result<Declared> {
    let mut declared = Declared::load(&place.sources(None))?.unwrap_or_default();
    if !asked.pythons.is_empty() {
        declared.axes.pythons.clone_from(&asked.pythons);
    }
    if !asked.sets.is_empty() {
        let sets = asked.sets.iter();
        let set = |(name, requirements): (&String, &Vec<String>)| RequirementSet {
            name: name.clone(),
            requirements: requirements.clone(),
        };
        declared.axes.sets = sets.map(set).collect();
    }
    if !asked.command.is_empty() {
        declared.command.clone_from(&asked.command);
    }
    if let Some(install) = &asked.install {
        declared.install = Some(install.parse::<Install>()?);
    }
    Ok(declared)
}

/// The cells that are meant, with all that each needs.
fn planned(wanted: &Wanted, declared: &Declared, names: &[String]) -> Result<Vec<CellPlan>> {
    let base = wanted.spec(None, Lifetime::Process)?;
    let root = base.settings.project.root.clone();
    // The project's file speaks of what is beside it.
    let host = HostEnv {
        cwd: root.clone(),
        ..wanted.host.environment.clone()
    };
    let project = installable(&root).then_some(root.as_path());
    let mut cells = plan(declared, &base, project, &host)?;
    for name in names {
        if !cells.iter().any(|cell| cell.cell.name == *name) {
            let message = format!("there is no cell `{}`", name.escape_debug());
            return Err(Error::new(ErrorKind::InvalidInput, message).into());
        }
    }
    if !names.is_empty() {
        cells.retain(|cell| names.contains(&cell.cell.name));
    }
    Ok(cells)
}

/// Sends what became of each cell. Whoever does not take it any more has stopped the matrix.
struct Told<'a> {
    cells: &'a [CellPlan],
    sent: &'a mpsc::SyncSender<ptest::Result<Value>>,
}

impl Watch for Told<'_> {
    fn cell(&self, number: usize, happening: Happening<'_>) {
        if let Happening::Ended(result) = happening {
            let report = MatrixReport::new(&[(&self.cells[number], result)]);
            let value = serde_json::to_value(&report).map_err(unreadable);
            let _ = self.sent.send(value);
        }
    }
}

fn run(
    ptest: &Ptest,
    cells: &[CellPlan],
    options: &RunOptions,
    junit_xml: Option<&Path>,
    sent: &mpsc::SyncSender<ptest::Result<Value>>,
) {
    let results = ptest.run_matrix(cells, options, &Told { cells, sent });
    let Some(file) = junit_xml else { return };
    let pairs: Vec<_> = cells.iter().zip(&results).collect();
    let written = merge(&pairs, |result| told(&result.output)).and_then(|text| {
        fs::write(file, text)
            .map_err(|source| Error::io(format!("write {}", file.display()), source))
    });
    if let Err(error) = written {
        let _ = sent.send(Err(error));
    }
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "failed to tell of a cell").with_source(error)
}
