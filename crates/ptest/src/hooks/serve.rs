//! Serving hooks: each is called for one event after the other, as long as anybody uses the store, and then for what is left.
//!
//! A hook has one server among all processes, which holds its lock. Who uses the store while there are hooks attends: holds a
//! shared lock. A server that has nothing to do ends when it gets that lock for itself, and looks once more while it has it:
//! so whoever comes finds a server, or the lock that lets it start one.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::Hook;

use super::table::{self, Known};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{self, Event, Recorded};
use crate::ptest::Ptest;

/// How long a server listens before it looks whether anybody is there.
const LISTENING: Duration = Duration::from_secs(1);

/// That somebody uses the store while it has hooks, until dropped.
#[derive(Debug)]
pub struct Attendance {
    _attended: File,
}

/// What a server did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// How often hooks were called.
    pub called: u64,
    /// How often that failed.
    pub failed: u64,
}

impl Ptest {
    /// Begins to use the store with these hooks, and those that files declare; `None` without any. They are called for all
    /// that happens from now on, by whoever [serves](Ptest::serve_hooks).
    pub fn attend_hooks(&self, hooks: &[Hook]) -> Result<Option<Attendance>> {
        if table::in_force(self.store().database(), hooks)?.is_empty() {
            return Ok(None);
        }
        let attended = self.attended()?;
        attended.lock_shared().map_err(|source| {
            Error::io(format!("lock {}", self.attended_path().display()), source)
        })?;
        Ok(Some(Attendance {
            _attended: attended,
        }))
    }

    /// Whether one of these hooks, or of those that files declare, has nobody who serves it.
    pub fn wants_hooks_served(&self, hooks: &[Hook]) -> Result<bool> {
        for known in table::in_force(self.store().database(), hooks)? {
            if self
                .locks()
                .try_acquire(&lock_name(known.number))?
                .is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Serves these hooks, and those that files declare, except what another process serves. Returns when nobody attends and
    /// nothing is left to be done.
    ///
    /// Each is called at least once for each event, in order, one call after the other; different hooks do not wait for each
    /// other. A call that fails is not repeated: it is told in an event.
    pub fn serve_hooks(&self, hooks: &[Hook]) -> Result<Served> {
        let known = table::in_force(self.store().database(), hooks)?;
        let all = thread::scope(|scope| {
            let served = known
                .iter()
                .map(|known| scope.spawn(move || self.serve(known)));
            let served: Vec<_> = served.collect();
            let ended = served.into_iter().map(|server| {
                let panicked = |_| {
                    Err(Error::new(
                        ErrorKind::Unexpected,
                        "a server of hooks panicked",
                    ))
                };
                server.join().unwrap_or_else(panicked)
            });
            ended.collect::<Result<Vec<Served>>>()
        })?;
        Ok(all.into_iter().fold(Served::default(), |sum, one| Served {
            called: sum.called + one.called,
            failed: sum.failed + one.failed,
        }))
    }

    fn serve(&self, known: &Known) -> Result<Served> {
        let mut served = Served::default();
        let Some(lock) = self.locks().try_acquire(&lock_name(known.number))? else {
            return Ok(served);
        };
        let database = self.store().database();
        // Under the lock: whoever served before went on.
        let Some(sequence) =
            database.read(|connection| table::sequence(connection, known.number))?
        else {
            return Ok(served);
        };
        let mut follower = self.follow(known.hook.filter(sequence))?;
        loop {
            let mut events = follower.next(Some(LISTENING))?;
            // Held until what follows is done: nobody comes meanwhile.
            let alone = if events.is_empty() {
                self.nobody_attends()?
            } else {
                None
            };
            if alone.is_some() {
                let last = database.read(events::table::last)?;
                events = follower.next(Some(Duration::ZERO))?;
                if events.is_empty() {
                    // In this order: who attends next finds the hook without a server. It waits for no more than this look.
                    drop(lock);
                    drop(alone);
                    database.write(|transaction| {
                        table::set_sequence(transaction, known.number, last)
                    })?;
                    return Ok(served);
                }
            }
            drop(alone);
            for event in &events {
                if !self.deal_with(known, event, &mut served)? {
                    return Ok(served);
                }
            }
        }
    }

    /// Calls a hook if the event is for it. Says whether the hook is still known.
    fn deal_with(&self, known: &Known, event: &Recorded, served: &mut Served) -> Result<bool> {
        let mut failure = None;
        if Hook::may_be_called_for(event) {
            served.called += 1;
            failure = self.call_hook(&known.hook, event).err();
        }
        served.failed += u64::from(failure.is_some());
        self.store().database().write(|transaction| {
            if let Some(message) = failure {
                let failed = Event::HookFailed {
                    hook: known.hook.action.to_string(),
                    sequence: event.sequence,
                    message,
                };
                events::append_caused(transaction, event.about(), &failed, Some(event.sequence))?;
            }
            table::set_sequence(transaction, known.number, event.sequence)
        })
    }

    fn nobody_attends(&self) -> Result<Option<File>> {
        let attended = self.attended()?;
        match attended.try_lock() {
            Ok(()) => Ok(Some(attended)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(Error::io(
                format!("lock {}", self.attended_path().display()),
                source,
            )),
        }
    }

    fn attended(&self) -> Result<File> {
        let path = self.attended_path();
        self.store().dir("hooks")?;
        let opened = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        opened.map_err(|source| Error::io(format!("open {}", path.display()), source))
    }

    fn attended_path(&self) -> PathBuf {
        self.store().home().join("hooks/attended")
    }
}

fn lock_name(hook: i64) -> String {
    format!("hook-{hook}")
}
