//! Documents that another thread brings one by one.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;

use ptest::Error;
use pyo3::prelude::*;
use pyo3::types::PyBool;
use serde::Serialize;

use crate::document::{Seconds, dictionary};
use crate::error::Result;
use crate::wait::attentive;

/// Documents in order, as they come.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    coming: Mutex<mpsc::Receiver<ptest::Result<T>>>,
}

impl<T: Serialize + Send + 'static> Stream<T> {
    /// What `work` sends, on a thread of its own. When nobody holds the stream any more, sending fails.
    pub(crate) fn of(
        name: &str,
        most: usize,
        work: impl FnOnce(mpsc::SyncSender<ptest::Result<T>>) + Send + 'static,
    ) -> Result<Self> {
        let (sent, coming) = mpsc::sync_channel(most);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(sent))
            .map_err(|source| Error::io("start a thread", source))?;
        Ok(Self {
            coming: Mutex::new(coming),
        })
    }

    /// The next, waited for without the interpreter's lock for at most so long: `None` if nothing came in that time, `False`
    /// if nothing comes any more.
    pub(crate) fn next<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<Seconds>,
    ) -> Result<Bound<'py, PyAny>> {
        let found = attentive(py, timeout.map(|timeout| timeout.0), |time| {
            let coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
            match coming.recv_timeout(time) {
                Ok(this) => Some(Some(this)),
                Err(RecvTimeoutError::Disconnected) => Some(None),
                Err(RecvTimeoutError::Timeout) => None,
            }
        })?;
        match found {
            Some(Some(this)) => dictionary(py, &this?),
            Some(None) => Ok(PyBool::new(py, false).to_owned().into_any()),
            None => Ok(py.None().into_bound(py)),
        }
    }
}
