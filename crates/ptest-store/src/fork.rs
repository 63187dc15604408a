//! What of SQLite must not cross a fork, and does not.
//!
//! A connection that a forked child inherits is of no use to it and in the way of its own: SQLite keeps in memory what the
//! process has locked, and the child has locked nothing (<https://www.sqlite.org/howtocorrupt.html>, 2.6). So before a fork
//! every connection is closed, at a moment when nobody uses one, and each is opened again when it is next used.

use std::cell::RefCell;
use std::sync::{
    Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError, Weak,
};
use std::thread;
use std::time::{Duration, Instant};

/// Held by whoever uses a connection, and alone by who forks.
static USE: RwLock<()> = RwLock::new(());

/// All that keeps connections.
static KEEPERS: Mutex<Vec<Weak<dyn Keeper>>> = Mutex::new(Vec::new());

/// How long a fork waits for a moment in which nobody uses a connection. A use takes a millisecond at the most, unless the
/// disk is slow, another process writes or the log is moved, which waits for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

thread_local! {
    /// That the calling thread is forking.
    static FORKING: RefCell<Option<RwLockWriteGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// What keeps connections that nobody uses now.
pub(crate) trait Keeper: Send + Sync {
    /// Closes them.
    fn let_go(&self);
}

/// From now on these connections are closed before a fork.
pub(crate) fn register(keeper: Weak<dyn Keeper>) {
    let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
    keepers.retain(|keeper| keeper.strong_count() > 0);
    keepers.push(keeper);
}

/// Uses connections until dropped.
pub(crate) fn using() -> RwLockReadGuard<'static, ()> {
    USE.read().unwrap_or_else(PoisonError::into_inner)
}

/// To be called by who is about to fork this process, and [`after_fork`] by the same thread then, in both processes.
///
/// Closes all connections to databases, and lets nobody open one. Where somebody uses one for long, it stays open, and the
/// child may find the database locked.
pub fn before_fork() {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match USE.try_write() {
            Ok(guard) => return close_all(guard),
            Err(TryLockError::Poisoned(poisoned)) => return close_all(poisoned.into_inner()),
            // Not waited for in the lock's own way: whoever uses one may need another for it.
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_micros(50));
            }
            Err(TryLockError::WouldBlock) => return,
        }
    }
}

fn close_all(guard: RwLockWriteGuard<'static, ()>) {
    let keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
    for keeper in keepers.iter().filter_map(Weak::upgrade) {
        keeper.let_go();
    }
    drop(keepers);
    FORKING.set(Some(guard));
}

/// Lets connections be opened again.
pub fn after_fork() {
    FORKING.take();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counting {
        closed: AtomicUsize,
    }

    impl Keeper for Counting {
        fn let_go(&self) {
            self.closed.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_fork_waits_for_those_who_use_connections_and_keeps_others_waiting() {
        let keeper = Arc::new(Counting::default());
        let weak: Weak<dyn Keeper> = Arc::downgrade(&(Arc::clone(&keeper) as Arc<dyn Keeper>));
        register(weak);
        let used = using();
        thread::scope(|scope| {
            let forking = scope.spawn(|| {
                before_fork();
                assert!(USE.try_read().is_err());
                let closed = keeper.closed.load(Ordering::Relaxed);
                after_fork();
                closed
            });
            thread::sleep(Duration::from_millis(5));
            assert_eq!(keeper.closed.load(Ordering::Relaxed), 0);
            drop(used);
            assert!(forking.join().unwrap() >= 1);
        });
        assert!(USE.try_read().is_ok());
    }
}
