//! Signals to ptest, for the commands that make something or run something.
//!
//! While ptest makes an environment a signal stops that: what was begun is undone, and ptest ends with 128+N. While a
//! command runs the signals are the command's: it is in a session of its own, so that a terminal's Ctrl-C or a runner's
//! SIGTERM reaches only ptest, which passes it on and waits as before; the command decides how it ends. A second SIGINT
//! kills. While ptest cleans up signals have no effect.
//!
//! Not for the keys of a terminal that the relay owns: those travel as bytes.

use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use ptest::python::Cancel;
use rustix::process::Signal;
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2},
    iterator::{Handle, Signals as Arriving},
    low_level::emulate_default_handler,
};

use crate::error::CliError;

const SIGKILL: i32 = Signal::KILL.as_raw();
const SIGSTOP: i32 = Signal::STOP.as_raw();

/// Takes signals from their usual effect as long as it lives.
pub(crate) struct Signals {
    state: Arc<Mutex<State>>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    target: Target,
    /// What nobody has taken yet.
    waiting: Vec<i32>,
    interrupted: bool,
}

#[derive(Default)]
enum Target {
    Making(Cancel),
    Command(Box<dyn Fn(i32) + Send>),
    #[default]
    Nobody,
}

impl Signals {
    /// From now on a signal stops what is made under `cancel`.
    pub(crate) fn stop_making(cancel: Cancel) -> io::Result<Self> {
        let mut arriving = Arriving::new([
            SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT,
        ])?;
        let handle = arriving.handle();
        let state = Arc::new(Mutex::new(State {
            target: Target::Making(cancel),
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            for signal in arriving.forever() {
                arrived(&shared, signal);
            }
        });
        Ok(Self {
            state,
            handle,
            thread: Some(thread),
        })
    }

    /// The signal that asked ptest to end while it was making something.
    pub(crate) fn stopped_by(&self) -> Option<i32> {
        lock(&self.state)
            .waiting
            .iter()
            .copied()
            .find(|signal| ends(*signal))
    }

    /// What came of making something: if a signal stopped it, that is why it failed.
    pub(crate) fn outcome<T>(&self, made: ptest::Result<T>) -> Result<T, CliError> {
        made.map_err(|error| match self.stopped_by() {
            Some(signal) => CliError::Interrupted { signal },
            None => error.into(),
        })
    }

    /// From now on signals are the command's, those that wait too.
    pub(crate) fn pass_on(&self, send: impl Fn(i32) + Send + 'static) {
        let mut state = lock(&self.state);
        for signal in mem::take(&mut state.waiting) {
            send(signal);
        }
        state.target = Target::Command(Box::new(send));
    }

    /// From now on signals have no effect.
    pub(crate) fn hold(&self) {
        lock(&self.state).target = Target::Nobody;
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It ends when the handle is closed; had it panicked, there would be nothing to do about it here.
            let _ = thread.join();
        }
    }
}

fn arrived(state: &Mutex<State>, signal: i32) {
    let mut state = lock(state);
    let before = state.interrupted;
    state.interrupted |= signal == SIGINT;
    match &state.target {
        Target::Making(cancel) if ends(signal) => {
            cancel.cancel();
            if before && signal == SIGINT {
                // Who insists does not wait; what was begun the next ptest undoes.
                let _ = emulate_default_handler(signal);
            }
            state.waiting.push(signal);
        }
        Target::Making(_) if signal == SIGTSTP => stand_still(),
        // The command may run already, a moment before it is our target.
        Target::Making(_) => state.waiting.push(signal),
        Target::Nobody => {}
        Target::Command(send) => {
            for passed in passed_on(signal, before) {
                send(*passed);
            }
            if signal == SIGTSTP {
                stand_still();
            }
        }
    }
}

/// As the caller's shell expects of Ctrl-Z. The command, if there is one, stands still already.
fn stand_still() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
}

fn ends(signal: i32) -> bool {
    matches!(signal, SIGHUP | SIGINT | SIGQUIT | SIGTERM)
}

/// What the command gets for a signal to ptest.
fn passed_on(signal: i32, interrupted_before: bool) -> &'static [i32] {
    match signal {
        SIGINT if interrupted_before => &[SIGKILL],
        SIGINT => &[SIGINT],
        SIGHUP => &[SIGHUP],
        SIGQUIT => &[SIGQUIT],
        SIGTERM => &[SIGTERM],
        SIGUSR1 => &[SIGUSR1],
        SIGUSR2 => &[SIGUSR2],
        // The kernel drops SIGTSTP for a group without a shell to continue it, which the command's is.
        SIGTSTP => &[SIGSTOP],
        SIGCONT => &[SIGCONT],
        _ => &[],
    }
}

/// A panic of another thread leaves nothing half done here: every change is one assignment.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_interrupt_kills() {
        assert_eq!(passed_on(SIGINT, false), [SIGINT]);
        assert_eq!(passed_on(SIGINT, true), [SIGKILL]);
        assert_eq!(passed_on(SIGTERM, true), [SIGTERM]);
    }

    #[test]
    fn a_signal_stops_what_is_made_and_is_remembered() {
        let cancel = Cancel::default();
        let state = Mutex::new(State {
            target: Target::Making(cancel.clone()),
            ..State::default()
        });
        arrived(&state, SIGUSR1);
        assert!(!cancel.is_cancelled());
        arrived(&state, SIGTERM);
        assert!(cancel.is_cancelled());
        assert_eq!(lock(&state).waiting, [SIGUSR1, SIGTERM]);
    }
}
