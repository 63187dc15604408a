//! The end of the interpreter, while threads of it work without its lock.
//!
//! A thread that comes back to an interpreter that is ending is ended on the spot, with the functions of this module below it,
//! which before Python 3.14 does not end well. So from then on none comes back: it sleeps until the process is gone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use crate::wait::is_main_thread;

static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// How many threads have done their work and wait for the lock, or run Python's code below this module's functions.
static RETURNING: AtomicUsize = AtomicUsize::new(0);

/// How long they have to get it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does `work` without the interpreter's lock. Not to be gone around: see the module.
pub(crate) fn unlocked<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    let done = py.detach(|| {
        let done = work();
        RETURNING.fetch_add(1, Ordering::SeqCst);
        if IS_ENDING.load(Ordering::SeqCst) && !is_main_thread() {
            RETURNING.fetch_sub(1, Ordering::SeqCst);
            loop {
                thread::park();
            }
        }
        done
    });
    RETURNING.fetch_sub(1, Ordering::SeqCst);
    done
}

/// As long as it lives, this thread runs Python's code, in which it may lose the lock.
pub(crate) struct Below;

impl Below {
    pub(crate) fn begin() -> Self {
        RETURNING.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        RETURNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Has the interpreter tell when it begins to end.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    let ending = PyCFunction::new_closure(py, None, None, |arguments, _| {
        IS_ENDING.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + PATIENCE;
        // Looked at with the lock: who has it is between the two that count.
        while RETURNING.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            let pause = || thread::sleep(Duration::from_millis(1));
            arguments.py().detach(pause);
        }
    })?;
    py.import("atexit")?.call_method1("register", (ending,))?;
    Ok(())
}
