//! Environments that are made.

use std::sync::Arc;

use ptest::apply::{Allowed, File};
use ptest::{Fork, Lifetime, Name};
use ptest_report::{AppliedReport, MaterializedReport};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{SILENT, Store, Wanted, lifetime, warnings};
use crate::document::{Seconds, TextPath, dictionary};
use crate::environment::Environment;
use crate::error::{Failed, Result};
use crate::host::Host;
use crate::wait::interruptible;

#[pymethods]
impl Store {
    /// Makes an environment. Gives it, and sentences about what is not as it usually is.
    fn create(
        &self,
        py: Python<'_>,
        given: &Bound<'_, PyDict>,
        name: Option<&str>,
        detached: bool,
        refresh: bool,
        timeout: Option<Seconds>,
    ) -> Result<(Environment, Vec<String>)> {
        let wanted = self.wanted(given)?;
        let name = name.map(str::parse::<Name>).transpose()?;
        let (ptest, cancel) = self.for_a_call(refresh, timeout);
        let make = move || -> ptest::Result<_> {
            let spec = wanted.spec(name, lifetime(detached))?;
            Ok((ptest.create(&spec, SILENT)?, warnings(&spec.settings)))
        };
        let (made, warnings) = interruptible(py, |_| cancel.cancel(), make)??;
        // From here on the package takes it away.
        Ok((self.environment(made.keep()), warnings))
    }

    /// Makes environments under these names, several at a time, each with its own options. Gives for each the environment,
    /// or the error.
    fn create_all(
        &self,
        py: Python<'_>,
        wanted: Vec<(Option<String>, Bound<'_, PyDict>)>,
        detached: bool,
        refresh: bool,
        timeout: Option<Seconds>,
    ) -> Result<Vec<(Option<Environment>, Option<PyErrValue>)>> {
        let mut each = Vec::with_capacity(wanted.len());
        for (name, given) in wanted {
            let name = name.as_deref().map(str::parse::<Name>).transpose()?;
            each.push((name, self.wanted(&given)?));
        }
        let (ptest, cancel) = self.for_a_call(refresh, timeout);
        let make = move || -> ptest::Result<_> {
            let specs = each.into_iter();
            let specs = specs.map(|(name, wanted)| wanted.spec(name, lifetime(detached)));
            Ok(ptest.create_all(&specs.collect::<ptest::Result<Vec<_>>>()?, SILENT))
        };
        let made = interruptible(py, |_| cancel.cancel(), make)??;
        let each = made.into_iter().map(|made| match made {
            Ok(made) => (Some(self.environment(made.keep())), None),
            Err(error) => (None, Some(PyErrValue(Failed::from(error).into()))),
        });
        Ok(each.collect())
    }

    /// Makes environments that are what an environment or a snapshot is now. Gives them, and what the source has and they
    /// lack. Labels alone do not keep them from being like their source.
    fn fork(
        &self,
        py: Python<'_>,
        source: String,
        names: Vec<Option<String>>,
        given: &Bound<'_, PyDict>,
        detached: bool,
    ) -> Result<(Vec<Environment>, Vec<String>)> {
        let wanted = self.wanted(given)?;
        let mut options = given.keys().into_iter();
        let is_like_source = options.all(|name| name.eq("labels").unwrap_or_default());
        let names = names.iter();
        let names = names.map(|name| name.as_deref().map(str::parse::<Name>).transpose());
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let ptest = self.ptest.clone();
        let make = move || -> ptest::Result<_> {
            let settings = if is_like_source {
                None
            } else {
                Some(wanted.settings()?)
            };
            let forks = names.into_iter().map(|name| Fork {
                name,
                lifetime: lifetime(detached),
                engine: None,
                settings: settings.clone(),
                labels: wanted.asked.labels.clone(),
            });
            ptest.fork(&source, &forks.collect::<Vec<_>>())
        };
        let made = interruptible(py, |_| (), make)??;
        let environments = made.environments.into_iter();
        Ok((
            environments
                .map(|made| self.environment(made.keep()))
                .collect(),
            made.left_out,
        ))
    }

    /// Makes a plain virtual environment.
    fn materialize<'py>(
        &self,
        py: Python<'py>,
        destination: TextPath,
        given: &Bound<'_, PyDict>,
        refresh: bool,
        timeout: Option<Seconds>,
    ) -> Result<Bound<'py, PyAny>> {
        let Wanted { asked, host, .. } = self.wanted(given)?;
        let (ptest, cancel) = self.for_a_call(refresh, timeout);
        let make = move || -> ptest::Result<_> {
            let host = &host.environment;
            let requirements = asked.installed(host)?;
            let python = asked.config.python.as_deref();
            ptest.materialize(python, &requirements, &host.cwd.join(&*destination), SILENT)
        };
        let made = interruptible(py, |_| cancel.cancel(), make)??;
        dictionary(py, &MaterializedReport::from(made))
    }

    /// Brings environments to what a file says, or tells what would be done for it.
    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "they are the options of one call"
    )]
    fn apply<'py>(
        &self,
        py: Python<'py>,
        file: TextPath,
        plan: bool,
        prune: bool,
        recreate: bool,
        refresh: bool,
    ) -> Result<Bound<'py, PyAny>> {
        let host = Host::now()?;
        let config = Arc::clone(&self.config);
        let allowed = Allowed { recreate, prune };
        let (ptest, cancel) = self.for_a_call(refresh, None);
        let work = move || -> Result<_> {
            let file = host.environment.cwd.join(&*file);
            let file = File::read(&file, &config, host.environment.home().as_deref())?;
            // Everything in it is seen from where it lies.
            let place = host.at(Some(&file.directory)).environment;
            let specs = file.environments.iter().map(|declared| {
                let name = Some(declared.name.clone());
                let asked = &declared.asked;
                asked.environment(&place, &place, name, Lifetime::Detached)
            });
            let specs = specs.collect::<ptest::Result<Vec<_>>>()?;
            let planned = ptest.plan(&file.source, &specs, &file.hooks, allowed, SILENT)?;
            if plan {
                return Ok(AppliedReport::planned(planned));
            }
            let hooks = planned.hooks.clone();
            let applied = ptest.apply(planned, SILENT)?;
            Ok(AppliedReport::new(file.source, applied, hooks))
        };
        let report = interruptible(py, |_| cancel.cancel(), work)??;
        dictionary(py, &report)
    }
}

/// An exception that is a value.
pub(crate) struct PyErrValue(PyErr);

impl<'py> IntoPyObject<'py> for PyErrValue {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok(self.0.into_value(py).into_bound(py).into_any())
    }
}
