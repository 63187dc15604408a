//! Calls that take time: made without the interpreter's lock, and ended by Ctrl-C and by whoever may interrupt them.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ptest::Error;
use pyo3::panic::PanicException;
use pyo3::prelude::*;

use crate::{error, interrupt};

/// How long a signal may wait for Python's handler of it.
const ATTENTION: Duration = Duration::from_millis(20);

/// How long a thread sleeps at a time that nobody can interrupt.
const LONG: Duration = Duration::from_mins(1);

/// How long what was asked to stop has to do so by itself.
const GRACE: Duration = Duration::from_millis(250);

/// How long a call that was interrupted has to undo what it began; what takes longer goes on without the caller.
const UNDOING: Duration = Duration::from_secs(2);

/// How often work was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It may end in its own way.
    First,
    /// It did not.
    Last,
}

/// Does `work` without the interpreter's lock.
///
/// On the main thread, where Python handles signals, they are handled meanwhile, and on a thread whose calls others may
/// [interrupt](crate::interrupt) that is looked for. When a handler raises, as that of Ctrl-C does, `stop` is called, and the exception is what comes of the call. What comes of the work then is dropped.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    stop: impl Fn(Attempt) + Sync,
    work: impl FnOnce() -> T + Send + 'static,
) -> error::Result<T> {
    if !is_main_thread() && !interrupt::is_possible() {
        return Ok(py.detach(work));
    }
    let outcome = Later::of("ptest", work)?;
    match attentive(py, None, |time| outcome.within(time)) {
        Ok(Some(Ok(done))) => Ok(done),
        Ok(_) => Err(PanicException::new_err("ptest panicked").into()),
        Err(raised) => {
            py.detach(|| {
                stop(Attempt::First);
                // Whatever comes of it: the caller is told of the interruption.
                if outcome.within(GRACE).is_none() {
                    stop(Attempt::Last);
                    let _ = outcome.within(UNDOING);
                }
            });
            Err(raised)
        }
    }
}

/// Looks again and again, without the interpreter's lock, until something is there or the time is over; in between Python
/// handles signals. `look` waits for at most as long as it is told.
pub(crate) fn attentive<T: Send>(
    py: Python<'_>,
    timeout: Option<Duration>,
    mut look: impl FnMut(Duration) -> Option<T> + Send,
) -> error::Result<Option<T>> {
    let deadline = timeout.and_then(|time| Instant::now().checked_add(time));
    let is_attentive = is_main_thread() || interrupt::is_possible();
    let most = if is_attentive { ATTENTION } else { LONG };
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let pause = left.unwrap_or(most).min(most);
        if let Some(found) = py.detach(|| look(pause)) {
            return Ok(Some(found));
        }
        if left.is_some_and(|left| left <= pause) {
            return Ok(None);
        }
        py.check_signals()?;
        interrupt::check()?;
    }
}

/// The thread that was to bring something panicked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panicked;

/// What a thread brings when it ends.
#[derive(Debug)]
pub(crate) struct Later<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Awaited,
    /// `None` once it was taken.
    Over(Result<Option<T>, Panicked>),
}

/// Ends the waiting, whatever becomes of the thread.
struct Promise<T>(Arc<Shared<T>>);

impl<T: Send + 'static> Later<T> {
    /// What `work` brings, on a thread of its own.
    pub(crate) fn of(name: &str, work: impl FnOnce() -> T + Send + 'static) -> error::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Awaited),
            changed: Condvar::new(),
        });
        let promise = Promise(Arc::clone(&shared));
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let done = work();
                promise.0.is(Ok(Some(done)));
            })
            .map_err(|source| Error::io("start a thread", source))?;
        Ok(Self { shared })
    }

    /// Takes what the thread brought, which it does once; `None` while it works, after that time.
    pub(crate) fn within(&self, time: Duration) -> Option<Result<T, Panicked>> {
        self.look(time, |state| match state {
            Ok(brought) => brought.take().ok_or(Panicked),
            Err(panicked) => Err(*panicked),
        })
    }

    /// Looks at what the thread brought, and leaves it there.
    pub(crate) fn look<R>(
        &self,
        time: Duration,
        look: impl FnOnce(&mut Result<Option<T>, Panicked>) -> R,
    ) -> Option<R> {
        let state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, time, |state| matches!(state, State::Awaited))
            .unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Awaited => None,
            State::Over(brought) => Some(look(brought)),
        }
    }
}

impl<T> Shared<T> {
    fn is(&self, brought: Result<Option<T>, Panicked>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Awaited) {
            *state = State::Over(brought);
            self.changed.notify_all();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.0.is(Err(Panicked));
    }
}

/// Whether this is the thread that Python handles signals on: after a fork the one that forked.
pub(crate) fn is_main_thread() -> bool {
    rustix::thread::gettid() == rustix::process::getpid()
}
