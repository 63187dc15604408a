//! The same work on several items at a time.
//!
//! Threads live only as long as one call. A pool that outlives it would hang for ever in a forked
//! child, where its threads do not exist, and Python programs fork.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::operation::Here;

/// The most threads that compute. More would only add memory and lock contention.
const MOST_PROCESSORS: usize = 16;

/// Calls `work` on every item, at most `at_once` of them at the same time, and returns the
/// results in the items' order.
///
/// After a failure no further item is begun; of several failures the one of the earliest item is
/// returned.
pub(crate) fn try_map<T, R, E>(
    items: &[T],
    at_once: usize,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E>
where
    T: Sync,
    R: Send,
    E: Send,
{
    run(items, at_once, work, Result::is_err)
        .into_iter()
        .collect()
}

/// Calls `work` on every item, whatever became of the others, at most `at_once` of them at the same
/// time, and returns the results in the items' order.
pub(crate) fn map<T: Sync, R: Send>(
    items: &[T],
    at_once: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    run(items, at_once, work, |_| false)
}

/// The results of the items that were begun, in their order: none is begun after one whose result
/// `is_last`.
fn run<T: Sync, R: Send>(
    items: &[T],
    at_once: usize,
    work: impl Fn(&T) -> R + Sync,
    is_last: impl Fn(&R) -> bool + Sync,
) -> Vec<R> {
    let threads = at_once.min(items.len());
    let next = AtomicUsize::new(0);
    let ended = AtomicBool::new(false);
    let some = || {
        let mut done = Vec::new();
        while !ended.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            if is_last(&result) {
                ended.store(true, Ordering::Relaxed);
            }
            done.push((index, result));
        }
        done
    };
    let here = Here::of_this_thread();
    let mut results = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| here.continued(some)))
            .collect();
        let mut results = some();
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// As many items at a time as there are processors for, for work that computes.
pub(crate) fn processors() -> usize {
    thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(MOST_PROCESSORS)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for count in [0, 1, 2, 100] {
            let items: Vec<usize> = (0..count).collect();
            let doubled = try_map(&items, 3, |item| Ok::<_, ()>(item * 2)).unwrap();
            assert_eq!(doubled, items.iter().map(|i| i * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn several_items_are_worked_on_at_once() {
        // Each waits for the two others, so that fewer threads would never end.
        let together = Barrier::new(3);
        let items = [(); 6];
        try_map(&items, 3, |()| {
            together.wait();
            Ok::<_, ()>(())
        })
        .unwrap();
    }

    #[test]
    fn a_failure_does_not_keep_the_others_of_many() {
        let doubled = map(
            &[1, 2, 3],
            2,
            |item| if *item == 1 { Err(1) } else { Ok(*item) },
        );
        assert_eq!(doubled, [Err(1), Ok(2), Ok(3)]);
    }

    #[test]
    fn of_several_failures_the_earliest_is_returned() {
        let together = Barrier::new(3);
        let items = [0, 1, 2];
        let result = try_map(&items, 3, |item| {
            together.wait();
            if *item == 0 { Ok(()) } else { Err(*item) }
        });
        assert_eq!(result, Err(1));
    }
}
