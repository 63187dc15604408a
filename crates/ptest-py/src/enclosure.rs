//! Sandboxes for forks of this interpreter.
//!
//! A child that goes in has one thread, and makes none on the way: nothing here waits on another thread.

use std::mem;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ptest::config::Config;
use ptest::enclosure::{self, Enclosed, EnclosureOptions};
use ptest::settings::{Limit, Strength};
use ptest::{Asked, Error, ErrorKind, Writes};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::document::{TextPath, options};
use crate::error::Result;
use crate::host::Host;

/// What sandboxes for forks are to be like.
#[pyclass(frozen, module = "ptest._core")]
pub(crate) struct Enclosures {
    options: EnclosureOptions,
}

#[pymethods]
impl Enclosures {
    /// How many processes and threads a fork may have at one time, unless something else is asked for.
    #[classattr]
    const PROCESSES: u64 = enclosure::PROCESSES;

    /// With the limits and the network of these options. Writes in `places`, which is `None` if they are kept, are
    /// discarded, and in `others` if that is possible; not in the store.
    #[new]
    fn new(
        given: &Bound<'_, PyDict>,
        places: Option<Vec<TextPath>>,
        others: Vec<TextPath>,
    ) -> Result<Self> {
        let owned = |paths: Vec<TextPath>| paths.into_iter().map(|it| it.0).collect();
        let host = Host::now()?;
        let (config, _) = Config::load(&host.sources(None))?;
        let store = config.store_home().map(Path::to_owned);
        let asked = Asked::with_options(Config::default(), &options(given)?, &host.environment)?;
        Ok(Self {
            options: EnclosureOptions {
                writes: match places {
                    None => Writes::Kept,
                    Some(places) => Writes::Discarded {
                        places: owned(places),
                        others: owned(others),
                        kept: store.into_iter().collect(),
                        size: None,
                    },
                },
                network: asked.config.network.unwrap_or_default(),
                limits: asked.limits(),
            },
        })
    }

    /// One for the next fork, as the host is now.
    fn prepare(&self) -> Result<Enclosure> {
        Ok(Enclosure(Mutex::new(Phase::Prepared(
            self.options.prepare()?,
        ))))
    }

    /// Ends and removes what forks of processes left that are gone.
    #[staticmethod]
    fn sweep(py: Python<'_>) {
        py.detach(enclosure::end_forks_of_the_dead);
    }
}

/// A sandbox for one fork.
#[pyclass(frozen, module = "ptest._core")]
pub(crate) struct Enclosure(Mutex<Phase>);

enum Phase {
    Prepared(enclosure::Enclosure),
    Entered(Enclosed),
    Over,
}

impl Enclosure {
    fn replace(&self, next: Phase) -> Phase {
        mem::replace(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
            next,
        )
    }

    fn take(&self) -> Result<enclosure::Enclosure> {
        match self.replace(Phase::Over) {
            Phase::Prepared(enclosure) => Ok(enclosure),
            other => {
                self.replace(other);
                let message = "an enclosure is entered once";
                Err(Error::new(ErrorKind::IllegalState, message).into())
            }
        }
    }
}

#[pymethods]
impl Enclosure {
    /// In the child: goes in. It has to enter its working directory anew, which may be another now.
    fn enter(&self) -> Result<()> {
        self.take()?.enter().map_err(Error::from)?;
        Ok(())
    }

    /// In the parent: lets the child in.
    fn admit(&self, py: Python<'_>, pid: i32) -> Result<()> {
        let enclosure = self.take()?;
        let entered = py.detach(|| enclosure.admit(pid).map_err(Error::from))?;
        self.replace(Phase::Entered(entered));
        Ok(())
    }

    /// Whether the kernel lets it have no more processes than it may.
    fn holds_processes(&self) -> bool {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Entered(entered) => entered
                .limits()
                .iter()
                .any(|kept| kept.limit == Limit::Pids && kept.strength == Strength::Enforced),
            _ => false,
        }
    }

    /// The most bytes of memory that it has held, if something was killed in it for want of more.
    fn memory_ran_out(&self) -> Option<u64> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Entered(entered) => entered.memory_ran_out(),
            _ => None,
        }
    }

    /// Ends what can be found in it, and takes away what was made for it.
    fn end(&self, py: Python<'_>) {
        match self.replace(Phase::Over) {
            Phase::Prepared(enclosure) => enclosure.give_up(),
            Phase::Entered(entered) => py.detach(|| entered.end()),
            Phase::Over => {}
        }
    }
}
