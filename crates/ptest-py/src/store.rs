//! An open store, as the package sees it.
//!
//! A store belongs to the process that opened it: after a fork the package opens one anew.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

use ptest::config::{Config, Origin};
use ptest::environment::ProcessIdentity;
use ptest::events::EventFilter;
use ptest::hooks::Attendance;
use ptest::labels::Selector;
use ptest::python::Cancel;
use ptest::settings::{Profile, Settings};
use ptest::timestamp::Timestamp;
use ptest::{
    Asked, Collection, Compression, Depth, ErrorKind, Fork, Import, Lifetime, Name, OpenOptions,
    PortOwner, PortProtocol, PortRequest, Progress, Ptest, Step,
};
use ptest_report::{
    CollectedReport, ConfigReport, DifferenceReport, DoctorReport, EnvironmentsReport,
    EventsReport, MaterializedReport, PackedReport, PortsReport, ProofReport, RecoveredReport,
    RemovedReport, SnapshotReport, SnapshotsReport, StoreVerificationReport, UnpackedReport,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;

use crate::document::{Seconds, dictionary, json, options};
use crate::environment::Environment;
use crate::error::{Failed, Result};
use crate::follower::Follower;
use crate::host::Host;
use crate::wait::interruptible;

/// An open store.
#[pyclass(frozen, module = "ptest._core")]
pub(crate) struct Store {
    ptest: Ptest,
    config: Arc<Config>,
    /// The configuration of environments of the profile `strict`, which trusts no project's file.
    strict: Config,
    /// The `ptest` that goes on with what outlasts this process, if it was found.
    program: Option<PathBuf>,
    warnings: Vec<String>,
    attendance: Option<Attendance>,
}

/// Nobody looks.
struct Silent;

impl Progress for Silent {
    fn step(&self, _step: Step) {}
}

/// For calls that tell nobody how far they are.
pub(crate) const SILENT: &dyn Progress = &Silent;

impl Store {
    /// The store for one call, whose tools stop when the call is interrupted.
    fn for_a_call(&self, refresh: bool) -> (Ptest, Cancel) {
        let cancel = Cancel::default();
        let ptest = self.ptest.provisioned(|provision| {
            provision.supervision.cancel = cancel.clone();
            provision.refresh |= refresh;
        });
        (ptest, cancel)
    }

    fn asked(&self, given: &Bound<'_, PyDict>, host: &Host) -> Result<Asked> {
        let profile = given.get_item("profile")?;
        let is_strict = match profile {
            Some(profile) => profile
                .extract::<String>()
                .is_ok_and(|it| it == Profile::Strict.as_str()),
            None => false,
        };
        let config = if is_strict {
            self.strict.clone()
        } else {
            Config::clone(&self.config)
        };
        Ok(Asked::with_options(
            config,
            &options(given)?,
            &host.environment,
        )?)
    }

    fn environment(&self, environment: ptest::Environment) -> Environment {
        Environment::new(self.ptest.clone(), Arc::clone(&self.config), environment)
    }

    /// Sees to it that somebody serves each hook.
    fn let_hooks_be_served(&self) -> Result<()> {
        if self.attendance.is_some()
            && let Some(program) = &self.program
        {
            self.ptest
                .let_hooks_be_served(program, &self.config.hooks)?;
        }
        Ok(())
    }
}

#[pymethods]
impl Store {
    /// Opens the store that the configuration and these options say, and puts right what dead processes left.
    #[new]
    fn new(
        py: Python<'_>,
        given: &Bound<'_, PyDict>,
        program: Option<PathBuf>,
        interpreter: String,
    ) -> Result<Self> {
        let host = Host::now();
        let given = options(given)?;
        let sources = host.sources(None);
        let load = |profile| -> Result<_> {
            let (mut config, warnings) = Config::load(&host.sources(profile))?;
            config.take_options(&given, &sources)?;
            if config.python.is_none() {
                // Who calls from a Python means that one.
                config
                    .python
                    .replace(Some(Some(interpreter.clone())), Origin::BUILT_IN);
            }
            Ok((config, warnings))
        };
        let (config, warnings) = load(None)?;
        let (strict, _) = load(Some(Profile::Strict))?;
        let (ptest, config, attendance) = interruptible(py, |_| (), {
            let program_directory = program
                .as_deref()
                .and_then(|it| Some(it.parent()?.to_owned()));
            move || -> ptest::Result<_> {
                let mut options = OpenOptions::configured(&config, host.environment)?;
                options.provision.program_directory = program_directory;
                let ptest = Ptest::open(options)?;
                let attendance = ptest.attend_hooks(&config.hooks)?;
                Ok((ptest, config, attendance))
            }
        })??;
        let store = Self {
            ptest,
            config: Arc::new(config),
            strict,
            program,
            warnings,
            attendance,
        };
        py.detach(|| store.let_hooks_be_served())?;
        Ok(store)
    }

    /// The directory of the store.
    #[getter]
    fn home(&self) -> PathBuf {
        self.ptest.store().home().to_owned()
    }

    /// What of the configuration was left out, and why, each a sentence for people.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// Every setting with its value and where that comes from.
    fn settings<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let settings = self.config.rows().into_iter().map(Into::into).collect();
        dictionary(py, &ConfigReport { settings })
    }

    /// Makes an environment. Gives it, and sentences about what is not as it usually is.
    #[pyo3(signature = (given, name, detached, refresh))]
    fn create(
        &self,
        py: Python<'_>,
        given: &Bound<'_, PyDict>,
        name: Option<&str>,
        detached: bool,
        refresh: bool,
    ) -> Result<(Environment, Vec<String>)> {
        let host = Host::now();
        let asked = self.asked(given, &host)?;
        let name = name.map(str::parse::<Name>).transpose()?;
        let spec = asked.environment(&host.environment, name, lifetime(detached))?;
        let warnings = unwritable(&asked, &host)?;
        let (ptest, cancel) = self.for_a_call(refresh);
        let made = interruptible(py, |_| cancel.cancel(), move || ptest.create(&spec, SILENT))??;
        // From here on the package takes it away.
        Ok((self.environment(made.keep()), warnings))
    }

    /// Makes environments under these names, several at a time. Gives for each the environment, or the error.
    fn create_all(
        &self,
        py: Python<'_>,
        given: &Bound<'_, PyDict>,
        names: Vec<Option<String>>,
        detached: bool,
        refresh: bool,
    ) -> Result<Vec<(Option<Environment>, Option<PyErrValue>)>> {
        let host = Host::now();
        let asked = self.asked(given, &host)?;
        let spec = asked.environment(&host.environment, None, lifetime(detached))?;
        let mut specs = Vec::with_capacity(names.len());
        for name in names {
            let mut spec = spec.clone();
            spec.name = name.as_deref().map(str::parse).transpose()?;
            specs.push(spec);
        }
        let (ptest, cancel) = self.for_a_call(refresh);
        let made = interruptible(
            py,
            |_| cancel.cancel(),
            move || ptest.create_all(&specs, SILENT),
        )?;
        let each = made.into_iter().map(|made| match made {
            Ok(made) => (Some(self.environment(made.keep())), None),
            Err(error) => (None, Some(PyErrValue(Failed::from(error).into()))),
        });
        Ok(each.collect())
    }

    /// Makes environments that are what an environment or a snapshot is now. Gives them, and what the source has and they
    /// lack.
    fn fork(
        &self,
        py: Python<'_>,
        source: String,
        names: Vec<Option<String>>,
        given: Option<&Bound<'_, PyDict>>,
        detached: bool,
    ) -> Result<(Vec<Environment>, Vec<String>)> {
        let host = Host::now();
        let asked = given.map(|given| self.asked(given, &host)).transpose()?;
        let settings = asked
            .as_ref()
            .map(|asked| asked.settings(&host.environment))
            .transpose()?;
        let mut forks = Vec::with_capacity(names.len());
        for name in names {
            forks.push(Fork {
                name: name.as_deref().map(str::parse).transpose()?,
                lifetime: lifetime(detached),
                engine: None,
                settings: settings.clone(),
                labels: asked
                    .as_ref()
                    .map(|asked| asked.labels.clone())
                    .unwrap_or_default(),
            });
        }
        let ptest = self.ptest.clone();
        let made = interruptible(py, |_| (), move || ptest.fork(&source, &forks))??;
        let environments = made.environments.into_iter();
        Ok((
            environments
                .map(|made| self.environment(made.keep()))
                .collect(),
            made.left_out,
        ))
    }

    /// The environment of a name or id.
    fn find(&self, py: Python<'_>, label: &str) -> Result<Environment> {
        let found = py.detach(|| self.ptest.find(label))?;
        Ok(self.environment(found))
    }

    /// Takes environments of these ids away, several at a time; those that are gone already are no failure.
    fn remove_all<'py>(&self, py: Python<'py>, ids: Vec<String>) -> Result<Bound<'py, PyAny>> {
        let (removed, failed) = py.detach(|| -> ptest::Result<_> {
            let mut records = self.ptest.records()?;
            records.retain(|record| ids.iter().any(|id| record.id.as_str() == id));
            let each =
                self.ptest
                    .each(&records, SILENT, |environment| match environment.remove() {
                        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                        removed => removed,
                    });
            let labels = records.iter().map(|record| record.label().to_owned());
            let (mut removed, mut failed) = (Vec::new(), Vec::new());
            for (label, outcome) in labels.zip(each) {
                match outcome {
                    Ok(()) => removed.push(label),
                    Err(error) => failed.push((label, error)),
                }
            }
            Ok((removed, failed))
        })?;
        dictionary(py, &RemovedReport::new(removed, &failed))
    }

    /// The environments that meet a selector, oldest first.
    fn environments<'py>(&self, py: Python<'py>, selector: &str) -> Result<Bound<'py, PyAny>> {
        let selector = match selector {
            "" => Selector::default(),
            text => text.parse()?,
        };
        let statuses = py.detach(|| self.ptest.statuses(&selector))?;
        dictionary(py, &EnvironmentsReport::new(statuses))
    }

    /// Every snapshot, oldest first.
    fn snapshots<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let snapshots = py.detach(|| {
            let each = self.ptest.snapshots()?.into_iter().map(|snapshot| {
                let distributions = self.ptest.distributions(&snapshot.stack)?;
                Ok((snapshot, distributions))
            });
            each.collect::<ptest::Result<Vec<_>>>()
        })?;
        dictionary(py, &SnapshotsReport::new(snapshots))
    }

    /// The snapshot of a name.
    fn snapshot<'py>(&self, py: Python<'py>, name: &str) -> Result<Bound<'py, PyAny>> {
        let (snapshot, distributions) = py.detach(|| -> ptest::Result<_> {
            let snapshot = self.ptest.snapshot(name)?;
            let distributions = self.ptest.distributions(&snapshot.stack)?;
            Ok((snapshot, distributions))
        })?;
        dictionary(
            py,
            &SnapshotReport::new(snapshot, distributions, Vec::new()),
        )
    }

    /// Takes a snapshot away.
    fn remove_snapshot(&self, py: Python<'_>, name: &str) -> Result<()> {
        Ok(py.detach(|| self.ptest.remove_snapshot(name))?)
    }

    /// What is different in one environment or snapshot from another.
    fn diff<'py>(
        &self,
        py: Python<'py>,
        before: String,
        after: String,
    ) -> Result<Bound<'py, PyAny>> {
        let (ptest, names) = (self.ptest.clone(), (before.clone(), after.clone()));
        let difference = interruptible(py, |_| (), move || ptest.diff(&names.0, &names.1))??;
        dictionary(py, &DifferenceReport::new(&before, &after, difference))
    }

    /// Makes a plain virtual environment.
    fn materialize<'py>(
        &self,
        py: Python<'py>,
        destination: PathBuf,
        given: &Bound<'_, PyDict>,
        refresh: bool,
    ) -> Result<Bound<'py, PyAny>> {
        let host = Host::now();
        let asked = self.asked(given, &host)?;
        let requirements = asked.installed(&host.environment)?;
        let python = (*asked.config.python).clone();
        let destination = host.environment.cwd.join(destination);
        let (ptest, cancel) = self.for_a_call(refresh);
        let made = interruptible(
            py,
            |_| cancel.cancel(),
            move || ptest.materialize(python.as_deref(), &requirements, &destination, SILENT),
        )??;
        dictionary(py, &MaterializedReport::from(made))
    }

    /// Writes an environment or a snapshot as one file.
    fn export<'py>(
        &self,
        py: Python<'py>,
        source: String,
        file: PathBuf,
    ) -> Result<Bound<'py, PyAny>> {
        let (ptest, cancel) = self.for_a_call(false);
        let packed = interruptible(
            py,
            |_| cancel.cancel(),
            move || ptest.export_to(&source, Compression::Zstd, &file, SILENT),
        )??;
        dictionary(py, &PackedReport::from(packed))
    }

    /// Makes of a file what it was made of.
    #[pyo3(name = "import_")]
    fn import<'py>(
        &self,
        py: Python<'py>,
        file: PathBuf,
        name: Option<&str>,
    ) -> Result<Bound<'py, PyAny>> {
        let host = Host::now();
        let import = Import {
            name: name.map(str::parse).transpose()?,
            settings: self.settings_of(&host)?,
        };
        let (ptest, cancel) = self.for_a_call(false);
        let unpacked = interruptible(
            py,
            |_| cancel.cancel(),
            move || ptest.import(&file, &import, SILENT),
        )??;
        dictionary(py, &UnpackedReport::from(unpacked))
    }

    /// Leases ports: to an environment, for a time in seconds, or to this process.
    #[pyo3(signature = (count, environment, name, range, protocol, address, ttl))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the options of one call"
    )]
    fn acquire_ports<'py>(
        &self,
        py: Python<'py>,
        count: NonZeroU16,
        environment: Option<&Environment>,
        name: Option<&str>,
        range: Option<&str>,
        protocol: Option<&str>,
        address: Option<&str>,
        ttl: Option<Seconds>,
    ) -> Result<Bound<'py, PyAny>> {
        let owner = match (environment, ttl) {
            (Some(environment), _) => PortOwner::Environment(environment.identity().clone()),
            (None, Some(ttl)) => PortOwner::detached_for(ttl.0),
            (None, None) => PortOwner::Process(ProcessIdentity::current()?),
        };
        let range = range.map(str::parse).transpose()?;
        let request = PortRequest {
            owner,
            count,
            range: range.or(*self.config.port_range),
            protocol: protocol
                .map(str::parse::<PortProtocol>)
                .transpose()?
                .unwrap_or_default(),
            address: address
                .map(str::parse)
                .transpose()
                .map_err(|error| invalid("address", error))?,
            name: name.map(str::parse).transpose()?,
        };
        let leases = py.detach(|| self.ptest.acquire_ports(&request))?;
        dictionary(py, &PortsReport::new(&leases))
    }

    /// Ends leases of ports; gives those that were leased.
    fn release_ports(&self, py: Python<'_>, ports: Vec<u16>) -> Result<Vec<u16>> {
        Ok(py.detach(|| self.ptest.release_ports(&ports))?)
    }

    /// Every lease of a port.
    fn ports<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let leases = py.detach(|| self.ptest.port_leases())?;
        dictionary(py, &PortsReport::new(&leases))
    }

    /// The latest events that are asked for, oldest first.
    #[pyo3(signature = (environments, kinds, since, after, last))]
    fn events<'py>(
        &self,
        py: Python<'py>,
        environments: Vec<String>,
        kinds: Vec<String>,
        since: Option<Seconds>,
        after: Option<i64>,
        last: usize,
    ) -> Result<Bound<'py, PyAny>> {
        let filter = EventFilter {
            environments,
            kinds,
            since: since.map(|age| Timestamp::now().before(age.0)),
            after,
        };
        let events = py.detach(|| self.ptest.events(&filter, last))?;
        dictionary(py, &EventsReport { events })
    }

    /// Follows the events that come after this call, or after that number.
    fn follow(
        &self,
        py: Python<'_>,
        environments: Vec<String>,
        kinds: Vec<String>,
        after: Option<i64>,
    ) -> Result<Follower> {
        let filter = EventFilter {
            environments,
            kinds,
            since: None,
            after,
        };
        Ok(Follower::new(py.detach(|| self.ptest.follow(filter))?))
    }

    /// Records an event of the user's own; gives its number.
    fn emit(
        &self,
        py: Python<'_>,
        environment: Option<&str>,
        name: &str,
        data: &Bound<'_, PyAny>,
    ) -> Result<i64> {
        let data: Value = json(data)?;
        Ok(py.detach(|| self.ptest.emit(environment, name, data))?)
    }

    /// Takes away what is of no use.
    fn collect<'py>(
        &self,
        py: Python<'py>,
        older_than: Seconds,
        keep_size: Option<u64>,
        dry_run: bool,
    ) -> Result<Bound<'py, PyAny>> {
        let collection = Collection {
            older_than: older_than.0,
            keep_size,
            dry_run,
        };
        let ptest = self.ptest.clone();
        let (collected, size) = interruptible(
            py,
            |_| (),
            move || -> ptest::Result<_> { Ok((ptest.collect(&collection)?, ptest.size()?)) },
        )??;
        dictionary(py, &CollectedReport::new(dry_run, &collected, &size))
    }

    /// Takes away environments that nobody has used for so long.
    fn prune<'py>(
        &self,
        py: Python<'py>,
        older_than: Seconds,
        dry_run: bool,
    ) -> Result<Bound<'py, PyAny>> {
        let ptest = self.ptest.clone();
        let pruned = interruptible(py, |_| (), move || ptest.prune(older_than.0, dry_run))??;
        dictionary(py, &RemovedReport::new(pruned.removed, &pruned.failed))
    }

    /// Finishes or undoes what dead processes left.
    fn recover<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let ptest = self.ptest.clone();
        let found = interruptible(py, |_| (), move || ptest.recover())??;
        let report = RecoveredReport::new(
            &found.removed,
            &found.settled,
            found.released_ports,
            &found.lost,
            &found.failed,
        );
        dictionary(py, &report)
    }

    /// Checks every layer, file by file if it is to be thorough.
    fn verify<'py>(&self, py: Python<'py>, thorough: bool) -> Result<Bound<'py, PyAny>> {
        let depth = if thorough {
            Depth::Full
        } else {
            Depth::Sampled
        };
        let (ptest, cancel) = self.for_a_call(false);
        let verification = interruptible(
            py,
            |_| cancel.cancel(),
            move || ptest.verify_store(depth, SILENT),
        )??;
        dictionary(py, &StoreVerificationReport::from(&verification))
    }

    /// What the machine has of what ptest uses.
    fn examine<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let ptest = self.ptest.clone();
        let directory = self
            .program
            .as_deref()
            .and_then(|it| Some(it.parent()?.to_owned()));
        let findings = interruptible(
            py,
            |_| (),
            move || {
                let home = ptest.store().home().to_owned();
                ptest::doctor::examine(&home, &Ok(ptest), directory.as_deref())
            },
        )??;
        let findings = findings.iter().map(Into::into).collect();
        dictionary(py, &DoctorReport { findings })
    }

    /// Attacks environments of these profiles, and says what held.
    fn prove<'py>(&self, py: Python<'py>, profiles: Vec<String>) -> Result<Bound<'py, PyAny>> {
        let profiles: Vec<Profile> = profiles
            .iter()
            .map(|text| text.parse())
            .collect::<ptest::Result<_>>()?;
        let (ptest, cancel) = self.for_a_call(false);
        let proof = interruptible(
            py,
            |_| cancel.cancel(),
            move || ptest.prove(&profiles, SILENT),
        )??;
        dictionary(py, &ProofReport::from(&proof))
    }

    /// Deletes what was thrown away, for so long; lets hooks be served that wait, and what could start faster be worked on.
    fn tidy(&self, py: Python<'_>, patience: Seconds) -> Result<()> {
        py.detach(|| {
            self.let_hooks_be_served()?;
            self.ptest.tidy(patience.0)?;
            if *self.config.improve
                && let Some(program) = &self.program
            {
                self.ptest.let_be_improved(program)?;
            }
            Ok(())
        })
    }
}

impl Store {
    fn settings_of(&self, host: &Host) -> Result<Settings> {
        Ok(Asked::new(Config::clone(&self.config)).settings(&host.environment)?)
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

fn lifetime(detached: bool) -> Lifetime {
    if detached {
        Lifetime::Detached
    } else {
        Lifetime::Process
    }
}

/// That commands will not be able to write the project, if that is so.
fn unwritable(asked: &Asked, host: &Host) -> Result<Vec<String>> {
    let guarded = asked.unwritable(&host.environment)?;
    Ok(guarded
        .into_iter()
        .map(|(root, guard)| {
            format!(
                "{} {}; `write` says what commands may write",
                root.display(),
                guard.because()
            )
        })
        .collect())
}

fn invalid(what: &str, error: impl std::fmt::Display) -> Failed {
    ptest::Error::new(ErrorKind::InvalidInput, format!("not a {what}: {error}")).into()
}
