//! Threads for a few large pieces of work, which cut small ones off themselves: layers, and parts
//! of layers.
//!
//! With one large layer all threads work on its parts, with many small layers each has its own.
//! For many items of one kind there is `parallel`. As there, threads live only as long as one call.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::error::{Context as _, Error, Result};

/// How many parts may wait or be worked on for each thread: bounds the memory that they hold.
const PARTS_PER_THREAD: usize = 4;

type Part<'a> = Box<dyn FnOnce() -> Result<()> + Send + 'a>;

/// Where a piece of work puts its parts.
pub(crate) struct Pool<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
    threads: usize,
}

#[derive(Default)]
struct State<'a> {
    parts: VecDeque<(Part<'a>, Group)>,
    /// Parts that wait or are worked on.
    unfinished: usize,
    /// Pieces that are not done, begun or not.
    pieces: usize,
    failure: Option<Failure>,
}

enum Failure {
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

/// Counts the parts of one piece of work that are not finished.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group(Arc<AtomicUsize>);

/// Calls `work` on every item, on as many threads as there are processors, and returns the results
/// in the items' order. After a failure nothing new is begun.
pub(crate) fn run<'a, T: Sync, R: Send>(
    items: &'a [T],
    work: impl Fn(&Pool<'a>, &'a T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    run_on(threads.clamp(1, 16), items, work)
}

pub(crate) fn run_on<'a, T: Sync, R: Send>(
    threads: usize,
    items: &'a [T],
    work: impl Fn(&Pool<'a>, &'a T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let pool = Pool {
        state: Mutex::new(State {
            pieces: items.len(),
            ..State::default()
        }),
        changed: Condvar::new(),
        threads,
    };
    let next = AtomicUsize::new(0);
    let thread = || {
        let mut done = Vec::new();
        while pool.help() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                break;
            };
            if let Some(result) = pool.guard(|| work(&pool, item)) {
                done.push((index, result));
            }
            pool.lock().pieces -= 1;
            pool.changed.notify_all();
        }
        // What others cut off meanwhile. A failure is seen below.
        let _ = pool.help_until(|state| state.pieces == 0);
        done
    };
    let mut results = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(thread)).collect();
        let mut results = thread();
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => resume_unwind(panic),
            }
        }
        results
    });
    match pool.lock().failure.take() {
        Some(Failure::Panic(panic)) => resume_unwind(panic),
        Some(Failure::Error(error)) => return Err(error),
        None => {}
    }
    results.sort_unstable_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

impl<'a> Pool<'a> {
    /// Gives a part of a piece of work to whichever thread has time, or helps until one will have.
    ///
    /// # Errors
    ///
    /// When something has failed, here or elsewhere: the piece of work should end.
    pub(crate) fn submit(
        &self,
        group: &Group,
        part: impl FnOnce() -> Result<()> + Send + 'a,
    ) -> Result<()> {
        let most = self.threads * PARTS_PER_THREAD;
        self.help_until(|state| state.unfinished < most)?;
        group.0.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        state.unfinished += 1;
        state.parts.push_back((Box::new(part), group.clone()));
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Helps until every part of a piece of work is done.
    ///
    /// # Errors
    ///
    /// As [`Pool::submit`].
    pub(crate) fn wait(&self, group: &Group) -> Result<()> {
        self.help_until(|_| group.0.load(Ordering::Acquire) == 0)
    }

    /// Works on parts while there are any; says whether all is well.
    fn help(&self) -> bool {
        loop {
            let mut state = self.lock();
            if state.failure.is_some() {
                return false;
            }
            let Some(part) = state.parts.pop_front() else {
                return true;
            };
            drop(state);
            self.work_on(part);
        }
    }

    fn help_until(&self, enough: impl Fn(&State<'a>) -> bool) -> Result<()> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() {
                // Not seen by anyone: the first failure is what is returned in the end.
                let stopped = io::Error::from(io::ErrorKind::Interrupted);
                return Err(stopped).at("go on with", "the package");
            }
            if enough(&state) {
                return Ok(());
            }
            state = if let Some(part) = state.parts.pop_front() {
                drop(state);
                self.work_on(part);
                self.lock()
            } else {
                let waited = self.changed.wait(state);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    fn work_on(&self, (part, group): (Part<'a>, Group)) {
        self.guard(part);
        let mut state = self.lock();
        state.unfinished -= 1;
        group.0.fetch_sub(1, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    /// A failure, of whatever kind, is kept and wakes everybody: nobody waits for what never comes.
    fn guard<R>(&self, work: impl FnOnce() -> Result<R>) -> Option<R> {
        let failure = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(result)) => return Some(result),
            Ok(Err(error)) => Failure::Error(error),
            Err(panic) => Failure::Panic(panic),
        };
        self.lock().failure.get_or_insert(failure);
        self.changed.notify_all();
        None
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each piece adds what its parts add.
    fn sums(threads: usize, pieces: &[u64]) -> Vec<u64> {
        run_on(threads, pieces, |pool, parts| {
            let (group, sum) = (Group::default(), Arc::new(Mutex::new(0)));
            for part in 0..*parts {
                let sum = sum.clone();
                pool.submit(&group, move || {
                    *sum.lock().unwrap() += part;
                    Ok(())
                })?;
            }
            pool.wait(&group)?;
            let sum = *sum.lock().unwrap();
            Ok(sum)
        })
        .unwrap()
    }

    #[test]
    fn every_part_is_done_before_its_piece_on_any_number_of_threads() {
        let pieces = [0, 100, 1, 7, 0, 33, 2];
        let expected: Vec<u64> = pieces.iter().map(|n| (0..*n).sum()).collect();
        for threads in 1..6 {
            for pieces in [&pieces[..], &pieces[1..2], &[]] {
                assert_eq!(sums(threads, pieces).len(), pieces.len());
            }
            assert_eq!(sums(threads, &pieces), expected);
        }
    }

    #[test]
    fn the_first_failure_of_a_part_is_returned_and_ends_the_others() {
        for threads in 1..4 {
            let result = run_on(threads, &[(); 9], |pool, ()| {
                let group = Group::default();
                loop {
                    pool.submit(&group, || Err(Error::DamagedStack))?;
                }
                #[expect(unreachable_code, reason = "gives the closure its type")]
                Ok(())
            });
            assert!(matches!(result, Err(Error::DamagedStack)), "{result:?}");
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_nobody_waits_for_ever() {
        for threads in 1..4 {
            let caught = catch_unwind(|| {
                run_on(threads, &[0, 1, 2], |pool, item| {
                    let group = Group::default();
                    pool.submit(&group, move || {
                        assert_ne!(*item, 1, "a fault");
                        Ok(())
                    })?;
                    pool.wait(&group)
                })
            });
            let panic = caught.unwrap_err();
            assert!(panic.downcast_ref::<String>().unwrap().contains("a fault"));
        }
    }
}
