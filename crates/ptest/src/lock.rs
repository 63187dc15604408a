//! Locks between processes, had in the order in which they were asked for, and released by the kernel when their holder
//! dies.
//!
//! A lock is a file that its holder and those who wait stand in a [queue] at: recovery takes a free lock as proof that
//! whoever worked under it is gone. Not for data: a lock file is empty, and it may be deleted at any time by whoever holds
//! it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ptest_sandbox::queue::{self, Place};
use tracing::info;

use crate::error::{Error, ErrorKind, Result};

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    /// The first place, for as long as the lock is held.
    _place: Place,
    path: PathBuf,
}

impl FileLock {
    /// Takes the lock if nobody holds it or waits for it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>> {
        loop {
            let entered = queue::enter_empty(open(path)?).map_err(|error| failed(path, error))?;
            let Ok(place) = entered else {
                return Ok(None);
            };
            if let Some(lock) = Self::held(place, path) {
                return Ok(Some(lock));
            }
        }
    }

    /// The lock of whose turn it is; `None` if the last holder deleted the file meanwhile.
    fn held(place: Place, path: &Path) -> Option<Self> {
        is_still_at(place.file(), path).then(|| Self {
            _place: place,
            path: path.to_owned(),
        })
    }

    /// Takes the lock, waiting for its holder for at most `patience`.
    ///
    /// `what` names the locked thing in the error.
    pub(crate) fn acquire(path: &Path, patience: Duration, what: &str) -> Result<Self> {
        let began = Instant::now();
        let deadline = began + patience;
        let mut has_waited = false;
        let mut pause = Duration::from_micros(200);
        let mut place = None;
        loop {
            let standing = match place.take() {
                Some(standing) => Ok(standing),
                None => queue::enter(open(path)?).map_err(|error| failed(path, error))?,
            };
            if let Ok(standing) = standing {
                if !standing
                    .has_its_turn()
                    .map_err(|error| failed(path, error))?
                {
                    place = Some(standing);
                } else if let Some(lock) = Self::held(standing, path) {
                    if has_waited {
                        info!(seconds = began.elapsed().as_secs_f64(), "waited for {what}");
                    }
                    return Ok(lock);
                }
            }
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

    /// Releases the lock and deletes its file.
    pub(crate) fn discard(self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(failed(&self.path, source))
            }
            _ => Ok(()),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|source| failed(path, source))
}

fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(held), Ok(found)) => held.ino() == found.ino() && held.dev() == found.dev(),
        _ => false,
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::io(format!("lock {}", path.display()), source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_refused_and_free_again_after_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FileLock::try_acquire(&path).unwrap().unwrap();
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        let busy = FileLock::acquire(&path, Duration::ZERO, "the environment").unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
        drop(held);
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
    }

    #[test]
    fn who_came_first_is_the_first_to_have_it() {
        use std::sync::mpsc;
        const WAITING: usize = 8;
        const LONG: Duration = Duration::from_mins(1);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FileLock::try_acquire(&path).unwrap().unwrap();
        let (had, order) = mpsc::channel();
        thread::scope(|scope| {
            for number in 0..WAITING {
                let (had, path) = (had.clone(), &path);
                scope.spawn(move || {
                    let _lock = FileLock::acquire(path, LONG, "it").unwrap();
                    had.send(number).unwrap();
                });
                // The next comes when this one stands in the queue.
                let deadline = Instant::now() + LONG;
                while waiting_at(path) < number + 2 && Instant::now() < deadline {
                    thread::yield_now();
                }
            }
            drop(held);
        });
        let order: Vec<usize> = order.try_iter().collect();
        assert!(order.into_iter().eq(0..WAITING));
    }

    /// How many stand in the queue at a file, by the kernel's list of locks: proc_locks(5).
    fn waiting_at(path: &Path) -> usize {
        let inode = std::fs::metadata(path).unwrap().ino();
        let end = format!(":{inode} ");
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let places = locks.lines().filter(|line| line.contains(&end));
        // The door is at the first byte.
        places.filter(|line| !line.ends_with(" 0 0")).count()
    }

    #[test]
    fn many_threads_that_discard_the_file_never_hold_it_together() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = FileLock::acquire(&path, Duration::from_secs(30), "it").unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        lock.discard().unwrap();
                    }
                });
            }
        });
    }
}
