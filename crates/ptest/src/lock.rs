//! Locks between processes, had in the order in which they were asked for, and released by the kernel when their holder
//! dies.
//!
//! All locks of a store are [queues] at one file: to take one makes and deletes nothing. Recovery takes a free lock as proof
//! that whoever worked under it is gone. Not for data: the file is empty.
//!
//! [queues]: ptest_sandbox::queue

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use ptest_sandbox::queue::{self, Place};
use ptest_store::Store;
use tracing::info;

use crate::error::{Error, ErrorKind, Result};

/// The locks of a store, each with its name.
#[derive(Debug)]
pub(crate) struct Locks {
    file: PathBuf,
}

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    /// The first place, for as long as the lock is held.
    _place: Place,
}

impl Locks {
    pub(crate) fn of(store: &Store) -> Result<Self> {
        Ok(Self {
            file: store.dir("locks")?.join("queues"),
        })
    }

    /// Takes the lock if nobody holds it or waits for it.
    pub(crate) fn try_acquire(&self, name: &str) -> Result<Option<Lock>> {
        let entered =
            queue::enter_empty(self.open()?, name).map_err(|source| self.failed(source))?;
        Ok(entered.ok().map(|place| Lock { _place: place }))
    }

    /// Takes the lock, waiting for its holder for at most `patience`.
    ///
    /// `what` names the locked thing in the error.
    pub(crate) fn acquire(&self, name: &str, patience: Duration, what: &str) -> Result<Lock> {
        let began = Instant::now();
        let deadline = began + patience;
        let mut has_waited = false;
        let mut pause = Duration::from_micros(200);
        let mut asking = Err(self.open()?);
        loop {
            let standing = match asking {
                Err(file) => queue::enter(file, name).map_err(|source| self.failed(source))?,
                Ok(place) => Ok(place),
            };
            asking = match standing {
                Ok(place) if place.has_its_turn().map_err(|source| self.failed(source))? => {
                    if has_waited {
                        info!(seconds = began.elapsed().as_secs_f64(), "waited for {what}");
                    }
                    return Ok(Lock { _place: place });
                }
                waiting => waiting,
            };
            has_waited = true;
            if Instant::now() >= deadline {
                return Err(Error::new(
                    ErrorKind::Busy,
                    format!("{what} is held by another operation"),
                )
                .with_hint(format!(
                    "it was still held after {patience:?}; try again when that has ended"
                )));
            }
            // No lock of the kernel's has a time limit of its own, and an alarm would be the whole process's.
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn open(&self) -> Result<File> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.file)
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::io(format!("lock {}", self.file.display()), source)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn locks(directory: &tempfile::TempDir) -> Locks {
        Locks {
            file: directory.path().join("queues"),
        }
    }

    #[test]
    fn a_held_lock_is_refused_and_free_again_after_drop() {
        let directory = tempfile::tempdir().unwrap();
        let locks = locks(&directory);
        let held = locks.try_acquire("it").unwrap().unwrap();
        assert!(locks.try_acquire("it").unwrap().is_none());
        assert!(locks.try_acquire("another").unwrap().is_some());
        let busy = locks.acquire("it", Duration::ZERO, "it").unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
        drop(held);
        assert!(locks.try_acquire("it").unwrap().is_some());
    }

    #[test]
    fn who_came_first_is_the_first_to_have_it() {
        use std::sync::mpsc;
        const WAITING: usize = 8;
        const LONG: Duration = Duration::from_mins(1);
        let directory = tempfile::tempdir().unwrap();
        let locks = locks(&directory);
        let held = locks.try_acquire("it").unwrap().unwrap();
        let (had, order) = mpsc::channel();
        thread::scope(|scope| {
            for number in 0..WAITING {
                let (had, locks) = (had.clone(), &locks);
                scope.spawn(move || {
                    let _lock = locks.acquire("it", LONG, "it").unwrap();
                    had.send(number).unwrap();
                });
                // The next comes when this one stands in the queue.
                let deadline = Instant::now() + LONG;
                while places_taken(&locks.file) < number + 2 && Instant::now() < deadline {
                    thread::yield_now();
                }
            }
            drop(held);
        });
        let order: Vec<usize> = order.try_iter().collect();
        assert!(order.into_iter().eq(0..WAITING));
    }

    /// How many stand in queues at a file, by the kernel's list of locks: proc_locks(5).
    fn places_taken(path: &std::path::Path) -> usize {
        // The door is the first byte of a queue, and queues begin at multiples of this.
        const QUEUE: u64 = 1 << 24;
        let inode = format!(":{}", std::fs::metadata(path).unwrap().ino());
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let start_of = |line: &str| {
            let mut words = line.split(' ').rev();
            let start: u64 = words.nth(1)?.parse().ok()?;
            words.next()?.ends_with(&inode).then_some(start)
        };
        let starts = locks.lines().filter_map(start_of);
        starts.filter(|start| start % QUEUE != 0).count()
    }

    #[test]
    fn many_threads_never_hold_it_together() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let directory = tempfile::tempdir().unwrap();
        let locks = locks(&directory);
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = locks.acquire("it", Duration::from_secs(30), "it").unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
    }
}
