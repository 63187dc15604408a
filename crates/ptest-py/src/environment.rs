//! An environment, as the package sees it. Who takes it away is for the package to say: dropping one changes nothing.

use std::sync::Arc;
use std::time::Duration;

use ptest::config::{Config, Timeout};
use ptest::engine::Command;
use ptest::environment::EnvironmentId;
use ptest::python::Cancel;
use ptest::{Ptest, Requirements};
use ptest_report::{
    ChangesReport, EnvironmentReport, Known, PackagesReport, PathReport, PortsReport,
    RestoredReport, ScratchChange, ScratchReport, SnapshotReport, StatsReport, VerificationReport,
};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::document::{Seconds, TextPath, depth, dictionary};
use crate::error::Result;
use crate::host::Host;
use crate::process::Process;
use crate::run::{self, Asked};
use crate::store::{SILENT, cancel};
use crate::wait::interruptible;

/// One environment.
#[pyclass(frozen, module = "ptest._core")]
pub(crate) struct Environment {
    ptest: Ptest,
    config: Arc<Config>,
    handle: Arc<ptest::Environment>,
}

impl Environment {
    pub(crate) fn new(ptest: Ptest, config: Arc<Config>, environment: ptest::Environment) -> Self {
        Self {
            ptest,
            config,
            handle: Arc::new(environment),
        }
    }

    pub(crate) fn handle(&self) -> &ptest::Environment {
        &self.handle
    }

    pub(crate) fn identity(&self) -> &EnvironmentId {
        self.handle.id()
    }

    /// The environment for one call, whose tools stop when the call is interrupted, or when its time is over.
    fn for_a_call(
        &self,
        refresh: bool,
        timeout: Option<Seconds>,
    ) -> Result<(ptest::Environment, Cancel)> {
        let cancel = cancel(timeout);
        let ptest = self.ptest.provisioned(|provision| {
            provision.supervision.cancel = cancel.clone();
            provision.refresh |= refresh;
        });
        Ok((ptest.find(self.identity().as_str())?, cancel))
    }

    /// Changes what is installed.
    fn change<'py>(
        &self,
        py: Python<'py>,
        refresh: bool,
        timeout: Option<Seconds>,
        work: impl FnOnce(&ptest::Environment) -> ptest::Result<Vec<ptest::PackageChange>>
        + Send
        + 'static,
    ) -> Result<Bound<'py, PyAny>> {
        let (environment, cancel) = py.detach(|| self.for_a_call(refresh, timeout))?;
        let changes = interruptible(py, |_| cancel.cancel(), move || work(&environment))??;
        dictionary(py, &ChangesReport::new(self.identity().as_str(), changes))
    }

    /// Does something that is not stopped half-way, however long it takes.
    fn work<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&ptest::Environment) -> ptest::Result<T> + Send + 'static,
    ) -> Result<T> {
        let environment = Arc::clone(&self.handle);
        Ok(interruptible(py, |_| (), move || work(&environment))??)
    }

    /// How long a command may run, and how long it has to end.
    pub(crate) fn times(&self, asked: &Asked) -> (Option<Duration>, Duration) {
        let configured = self.config.timeout.map(Timeout::duration);
        (
            asked.timeout.map(|timeout| timeout.0).or(configured),
            asked.grace.map_or(*self.config.grace, |grace| grace.0),
        )
    }
}

#[pymethods]
impl Environment {
    /// Its identity.
    #[getter]
    fn id(&self) -> &str {
        self.identity().as_str()
    }

    /// What it is now.
    fn status<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let status = py.detach(|| self.handle.status())?;
        dictionary(py, &EnvironmentReport::from(status))
    }

    /// All that is known of it.
    fn known<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let known = py.detach(|| Known::of(&self.handle))?;
        dictionary(py, &EnvironmentReport::from(known))
    }

    /// Lets commands begin at once; says whether that changed anything.
    fn activate(&self, py: Python<'_>) -> Result<bool> {
        self.work(py, ptest::Environment::activate)
    }

    /// Ends all that runs in it; says whether that changed anything.
    fn deactivate(&self, py: Python<'_>, grace: Option<Seconds>) -> Result<bool> {
        let grace = grace.map_or(*self.config.grace, |grace| grace.0);
        self.work(py, move |environment| environment.deactivate(grace))
    }

    /// Takes it away.
    fn remove(&self, py: Python<'_>) -> Result<()> {
        let (ptest, id) = (self.ptest.clone(), self.identity().clone());
        Ok(interruptible(
            py,
            |_| (),
            move || ptest.find(id.as_str())?.remove(),
        )??)
    }

    /// Runs a command to its end. Gives how it ended, the beginning and the end of both streams, and how many bytes of
    /// each came.
    fn run<'py>(&self, py: Python<'py>, mut asked: Asked) -> Result<Bound<'py, PyTuple>> {
        let host = Host::now()?;
        let (timeout, grace) = self.times(&asked);
        let run = ptest::Run {
            working_directory: Some(asked.directory(&host)),
            caller: host.environment.env,
            input: asked.input()?,
            stdout: asked.stdout.output(asked.head, asked.tail)?,
            stderr: asked.stderr.output(asked.head, asked.tail)?,
            variables: asked.variables,
            arguments: asked.arguments,
            timeout,
            grace,
        };
        run::to_the_end(py, &self.handle, run)
    }

    /// Starts a command whose streams are these descriptors.
    fn spawn(&self, py: Python<'_>, asked: Asked, logged: bool) -> Result<Process> {
        let host = Host::now()?;
        let (timeout, grace) = self.times(&asked);
        let command = Command {
            working_directory: Some(asked.directory(&host)),
            stdio: asked.stdio()?,
            arguments: asked.arguments,
            caller: host.environment.env,
            variables: asked.variables,
            timeout,
            grace,
        };
        let most = self.config.keep_output.bytes();
        let started = py.detach(|| {
            if logged {
                self.handle.spawn_logged(command, most)
            } else {
                self.handle.spawn(command)
            }
        })?;
        Process::new(Arc::clone(&self.handle), started)
    }

    /// What is installed, by name.
    fn packages<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let packages = self.work(py, ptest::Environment::packages)?;
        dictionary(py, &PackagesReport::new(self.id(), packages))
    }

    /// Installs more.
    #[pyo3(signature = (requirements, files, editable, constraints, refresh, timeout))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the options of one call"
    )]
    fn install<'py>(
        &self,
        py: Python<'py>,
        requirements: Vec<String>,
        files: Vec<TextPath>,
        editable: Vec<String>,
        constraints: Vec<TextPath>,
        refresh: bool,
        timeout: Option<Seconds>,
    ) -> Result<Bound<'py, PyAny>> {
        let host = Host::now()?.environment;
        let absolute =
            |paths: Vec<TextPath>| paths.iter().map(|path| host.cwd.join(&**path)).collect();
        let wanted = Requirements {
            files: absolute(files),
            constraints: absolute(constraints),
            ..Requirements::seen_from(&host, &requirements, &editable)?
        };
        self.change(py, refresh, timeout, move |environment| {
            environment.install(&wanted, SILENT)
        })
    }

    /// Brings distributions to the newest version.
    fn upgrade<'py>(
        &self,
        py: Python<'py>,
        requirements: Vec<String>,
        timeout: Option<Seconds>,
    ) -> Result<Bound<'py, PyAny>> {
        let host = Host::now()?.environment;
        let wanted = Requirements::seen_from(&host, &requirements, &[])?;
        self.change(py, false, timeout, move |environment| {
            environment.upgrade(&wanted, SILENT)
        })
    }

    /// Takes distributions away.
    fn uninstall<'py>(&self, py: Python<'py>, names: Vec<String>) -> Result<Bound<'py, PyAny>> {
        self.change(py, false, None, move |environment| {
            environment.uninstall(&names, SILENT)
        })
    }

    /// Whether what is installed is what was published.
    fn verify<'py>(&self, py: Python<'py>, layers: &str) -> Result<Bound<'py, PyAny>> {
        let depth = depth(layers)?;
        let verification = self.work(py, move |environment| environment.verify(depth))?;
        dictionary(py, &VerificationReport::new(self.id(), verification))
    }

    /// Keeps what it is now under a name.
    fn snapshot<'py>(&self, py: Python<'py>, name: Option<&str>) -> Result<Bound<'py, PyAny>> {
        let name = name.map(str::parse).transpose()?;
        let ptest = self.ptest.clone();
        let (taken, distributions) = self.work(py, move |environment| {
            let taken = environment.snapshot(name)?;
            let distributions = ptest.distributions(&taken.snapshot.stack)?;
            Ok((taken, distributions))
        })?;
        dictionary(
            py,
            &SnapshotReport::new(taken.snapshot, distributions, taken.left_out),
        )
    }

    /// Makes it what it was when a snapshot was taken.
    fn restore<'py>(&self, py: Python<'py>, snapshot: String) -> Result<Bound<'py, PyAny>> {
        let (snapshot, status) = self.work(py, move |environment| {
            let snapshot = environment.restore(&snapshot)?;
            Ok((snapshot, environment.status()?))
        })?;
        dictionary(py, &RestoredReport::new(&snapshot.name, status))
    }

    /// What commands changed in the project, where that is kept apart from it.
    fn scratch<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let changes = self.work(py, ptest::Environment::scratch_changes)?;
        let changes = changes.into_iter().map(ScratchChange::from).collect();
        dictionary(py, &ScratchReport { changes })
    }

    /// The directory that looks like a virtual environment, made or brought up to date.
    fn view<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let view = self.work(py, ptest::Environment::view)?;
        dictionary(py, &PathReport::from(view))
    }

    /// The ports that are leased to it.
    fn ports<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let leases = py.detach(|| self.handle.ports())?;
        dictionary(py, &PortsReport::new(&leases))
    }

    /// Ends the leases of its ports; gives them.
    fn release_ports(&self, py: Python<'_>) -> Result<Vec<u16>> {
        Ok(py.detach(|| self.ptest.release_ports_of(self.identity()))?)
    }

    /// What it has used over time.
    fn stats<'py>(&self, py: Python<'py>, since: Seconds) -> Result<Bound<'py, PyAny>> {
        let stats = self.work(py, move |environment| environment.stats(since.0))?;
        dictionary(py, &StatsReport::new(self.id(), &stats))
    }
}
