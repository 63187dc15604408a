//! An open store, as the package sees it. What is done with one is in the modules below, by its subject.
//!
//! A store belongs to the process that opened it: after a fork the package opens one anew.

mod events;
mod keeping;
mod making;
mod many;
mod opening;
mod ports;
mod runs;
mod upkeep;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ptest::config::Config;
use ptest::hooks::Attendance;
use ptest::project::Guard;
use ptest::python::Cancel;
use ptest::settings::{Profile, Settings};
use ptest::{Asked, EnvironmentSpec, Lifetime, Name, Progress, Ptest, Step};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use self::opening::Opening;
pub(crate) use self::opening::{doctor, rebuild};
use crate::configuration;
use crate::document::{Seconds, TextPath, dictionary, options};
use crate::environment::Environment;
use crate::error::Result;
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
    /// Where the project is looked for; where the process stands if it is not said.
    project: Option<PathBuf>,
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

/// What an environment is to be made of and to be like, as a caller asks for it.
pub(crate) struct Wanted {
    pub(crate) asked: Asked,
    /// The caller, from whom relative paths are seen.
    pub(crate) host: Host,
    /// The caller as it would be where the project is looked for.
    pub(crate) place: Host,
}

impl Wanted {
    /// The environment.
    pub(crate) fn spec(
        &self,
        name: Option<Name>,
        lifetime: Lifetime,
    ) -> ptest::Result<EnvironmentSpec> {
        let (host, place) = (&self.host.environment, &self.place.environment);
        self.asked.environment(host, place, name, lifetime)
    }

    /// What it is to be like.
    fn settings(&self) -> ptest::Result<Settings> {
        self.asked.settings(&self.place.environment)
    }
}

/// That commands will not be able to write the project, if that is so.
fn warnings(settings: &Settings) -> Vec<String> {
    let sentence = |(root, guard): (&Path, Guard)| {
        format!(
            "{} {}; `write` says what commands may write",
            root.display(),
            guard.because()
        )
    };
    settings.unwritable().into_iter().map(sentence).collect()
}

impl Store {
    /// The store for one call, whose tools stop when the call is interrupted, or when its time is over.
    pub(crate) fn for_a_call(&self, refresh: bool, timeout: Option<Seconds>) -> (Ptest, Cancel) {
        let cancel = cancel(timeout);
        let ptest = self.ptest.provisioned(|provision| {
            provision.supervision.cancel = cancel.clone();
            provision.refresh |= refresh;
        });
        (ptest, cancel)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The caller as it would be where the project is looked for.
    pub(crate) fn place(&self, host: &Host) -> Host {
        host.at(self.project.as_deref())
    }

    /// What is asked for by these options, and for the rest by the configuration.
    pub(crate) fn wanted(&self, given: &Bound<'_, PyDict>) -> Result<Wanted> {
        let host = Host::now()?;
        let given = given.copy()?;
        let place = match given.get_item("project")? {
            Some(project) => {
                given.del_item("project")?;
                host.at(Some(&*project.extract::<TextPath>()?))
            }
            None => self.place(&host),
        };
        let is_strict = match given.get_item("profile")? {
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
        let asked = Asked::with_options(config, &options(&given)?, &host.environment)?;
        Ok(Wanted { asked, host, place })
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
        program: Option<TextPath>,
        interpreter: String,
        project: Option<TextPath>,
    ) -> Result<Self> {
        let Opening {
            config,
            strict,
            warnings,
            options,
        } = Opening::new(
            given,
            program.as_deref(),
            Some(&interpreter),
            project.as_deref(),
        )?;
        let (ptest, config, attendance) = interruptible(
            py,
            |_| (),
            move || -> ptest::Result<_> {
                let ptest = Ptest::open(options)?;
                let attendance = ptest.attend_hooks(&config.hooks)?;
                Ok((ptest, config, attendance))
            },
        )??;
        let store = Self {
            ptest,
            config: Arc::new(config),
            strict,
            program: program.map(|it| it.0),
            project: project.map(|it| it.0),
            warnings,
            attendance,
        };
        py.detach(|| store.let_hooks_be_served())?;
        Ok(store)
    }

    /// The directory of the store.
    #[getter]
    fn home(&self) -> &OsStr {
        self.ptest.store().home().as_os_str()
    }

    /// What of the configuration was left out, and why, each a sentence for people.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// Every setting with its value and where that comes from.
    fn settings<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        configuration::report(py, &self.config)
    }

    /// What each engine can do, by its name.
    fn engines<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        dictionary(py, &self.ptest.capabilities())
    }

    /// The environment of a name or id.
    fn find(&self, py: Python<'_>, label: &str) -> Result<Environment> {
        let found = py.detach(|| self.ptest.find(label))?;
        Ok(self.environment(found))
    }
}

/// What ends a call: whoever interrupts it, and the time that it has.
pub(crate) fn cancel(timeout: Option<Seconds>) -> Cancel {
    let cancel = Cancel::default();
    match timeout {
        Some(timeout) => cancel.after(timeout.0),
        None => cancel,
    }
}

fn lifetime(detached: bool) -> Lifetime {
    if detached {
        Lifetime::Detached
    } else {
        Lifetime::Process
    }
}
