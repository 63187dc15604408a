//! How a store is opened; and what is done with one that cannot be.

use std::path::{Path, PathBuf};

use ptest::config::{Config, Origin};
use ptest::settings::Profile;
use ptest::{ErrorKind, OpenOptions, Ptest};
use ptest_report::{DoctorReport, RebuiltReport};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::document::{TextPath, dictionary, options};
use crate::error::Result;
use crate::host::Host;
use crate::wait::interruptible;

/// What the configuration and a caller say of a store.
pub(super) struct Opening {
    pub(super) config: Config,
    /// The same for environments of the profile `strict`.
    pub(super) strict: Config,
    pub(super) warnings: Vec<String>,
    pub(super) options: OpenOptions,
}

impl Opening {
    pub(super) fn new(
        given: &Bound<'_, PyDict>,
        program: Option<&Path>,
        interpreter: Option<&str>,
        project: Option<&Path>,
    ) -> Result<Self> {
        let host = Host::now()?;
        let place = host.at(project);
        let given = options(given)?;
        let load = |profile| -> Result<_> {
            let (mut config, warnings) = Config::load(&place.sources(profile))?;
            config.take_options(&given, &host.sources(profile))?;
            if config.python.is_none()
                && let Some(interpreter) = interpreter
            {
                // Who calls from a Python means that one.
                let interpreter = Some(Some(interpreter.to_owned()));
                config.python.replace(interpreter, Origin::BUILT_IN);
            }
            Ok((config, warnings))
        };
        let (config, warnings) = load(None)?;
        let (strict, _) = load(Some(Profile::Strict))?;
        let mut options = OpenOptions::configured(&config, host.environment)?;
        options.provision.program_directory = directory_of(program);
        Ok(Self {
            config,
            strict,
            warnings,
            options,
        })
    }
}

/// What the machine has of what ptest uses, whether the store can be opened or not.
#[pyfunction]
pub(crate) fn doctor<'py>(
    py: Python<'py>,
    given: &Bound<'_, PyDict>,
    program: Option<TextPath>,
    project: Option<TextPath>,
) -> Result<Bound<'py, PyAny>> {
    let opening = Opening::new(given, program.as_deref(), None, project.as_deref())?;
    let (options, python) = (opening.options, opening.config.python.clone());
    let look = move || {
        let home = options.home.clone();
        let opened = Ptest::open(options);
        let beside = directory_of(program.as_deref());
        ptest::doctor::examine(&home, &opened, beside.as_deref(), python.as_deref())
    };
    let findings = interruptible(py, |_| (), look)??;
    let findings = findings.iter().map(Into::into).collect();
    dictionary(py, &DoctorReport { findings })
}

/// Makes a database anew that is damaged or gone; nothing of a sound one is changed.
#[pyfunction]
pub(crate) fn rebuild<'py>(
    py: Python<'py>,
    given: &Bound<'_, PyDict>,
    program: Option<TextPath>,
    project: Option<TextPath>,
) -> Result<Bound<'py, PyAny>> {
    let opening = Opening::new(given, program.as_deref(), None, project.as_deref())?;
    let options = opening.options;
    let (_, rebuilt) = interruptible(py, |_| (), move || Ptest::rebuild(options))??;
    dictionary(py, &RebuiltReport::from(&rebuilt))
}

/// The directory of the program, beside which tools are looked for.
fn directory_of(program: Option<&Path>) -> Option<PathBuf> {
    Some(program?.parent()?.to_owned())
}

pub(super) fn invalid(what: &str, error: impl std::fmt::Display) -> ptest::Error {
    ptest::Error::new(ErrorKind::InvalidInput, format!("not a {what}: {error}"))
}
