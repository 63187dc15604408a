//! The same work on many items, on all processors.
//!
//! Threads live only as long as one call. A pool that outlives it would hang for ever in a forked
//! child, where its threads do not exist, and Python programs fork.

use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::error::Result;

/// Fewer items than this are not worth a thread (30 µs to start, 5 µs for a small file).
const WORTH_A_THREAD: usize = 24;

/// How many items a thread takes at a time.
const BATCH: usize = 8;

/// Calls `work` on every item and returns the results in the items' order.
///
/// Each thread makes one `scratch` for all its calls. After a failure no new batch is begun; of
/// several failures the one of the earliest item is returned.
pub(crate) fn map<T, S, R>(
    items: &[T],
    scratch: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> Result<R> + Sync,
) -> Result<Vec<R>>
where
    T: Sync,
    R: Send,
{
    let threads = threads_for(items.len());
    if threads == 1 {
        let mut scratch = scratch();
        return items.iter().map(|item| work(&mut scratch, item)).collect();
    }

    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let run = || {
        let mut scratch = scratch();
        let mut done = Vec::with_capacity(items.len() / threads + BATCH);
        while !failed.load(Ordering::Relaxed) {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            if start >= items.len() {
                break;
            }
            let end = items.len().min(start + BATCH);
            for (index, item) in items[start..end].iter().enumerate() {
                let result = work(&mut scratch, item);
                let stop = result.is_err();
                done.push((start + index, result));
                if stop {
                    failed.store(true, Ordering::Relaxed);
                    break;
                }
            }
        }
        done
    };
    let mut results = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut results = run();
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

fn threads_for(items: usize) -> usize {
    // Asking is expensive: the standard library reads the cgroup's files each time.
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    if items < WORTH_A_THREAD {
        return 1;
    }
    let processors =
        *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get));
    processors.min(items / (WORTH_A_THREAD / 2)).clamp(1, 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for count in [0, 1, 23, 24, 25, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let doubled = map(&items, || (), |(), item| Ok(item * 2)).unwrap();
            assert!(doubled.iter().enumerate().all(|(i, value)| i * 2 == *value));
            assert_eq!(doubled.len(), count);
        }
    }

    #[test]
    fn a_failure_is_returned() {
        let items: Vec<usize> = (0..500).collect();
        let result = map(
            &items,
            || (),
            |(), item| {
                if *item == 300 {
                    return Err(Error::DamagedStack);
                }
                Ok(*item)
            },
        );
        assert!(matches!(result, Err(Error::DamagedStack)));
    }
}
