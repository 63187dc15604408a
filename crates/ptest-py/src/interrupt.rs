//! Ending a call from another thread: what Ctrl-C is for the main thread, for calls of an event loop's threads.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyInterruptedError;
use pyo3::prelude::*;

thread_local! {
    /// What may end the calls of this thread.
    static CURRENT: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Ends the calls that a thread makes while it is the context manager of this: they raise `InterruptedError`.
#[pyclass(frozen, module = "ptest._core")]
pub(crate) struct Interrupt {
    stopped: Arc<AtomicBool>,
}

#[pymethods]
impl Interrupt {
    #[new]
    fn new() -> Self {
        Self {
            stopped: Arc::default(),
        }
    }

    /// Ends the call that is being made, and all that come.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn __enter__(&self) {
        CURRENT.set(Some(Arc::clone(&self.stopped)));
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, _raised: &Bound<'_, pyo3::types::PyTuple>) {
        CURRENT.take();
    }
}

/// Whether somebody may end the calls of this thread.
pub(crate) fn is_possible() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Fails if somebody has ended the calls of this thread.
pub(crate) fn check() -> PyResult<()> {
    let is_stopped = |current: &Option<Arc<AtomicBool>>| {
        current
            .as_ref()
            .is_some_and(|stopped| stopped.load(Ordering::Relaxed))
    };
    if CURRENT.with_borrow(is_stopped) {
        return Err(PyInterruptedError::new_err("the call was interrupted"));
    }
    Ok(())
}
