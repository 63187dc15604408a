//! Who writes to the database next: SQLite has no queue.
//!
//! Whoever wants to write asks again and again, and where many write without a pause one can be out of luck for as long as it
//! has patience. So who has asked many times says so, by a lock on the directory of the database, and as long as somebody
//! does, everybody else pauses after a commit. Nobody waits for anybody who may never come: a pause has an end.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, flock};

/// How often one asks before it says that it has no luck: 0.05 s.
const OUT_OF_LUCK: i32 = 100;
/// How often one asks: for ten seconds.
const MOST: i32 = 9_000;
/// The same after that was in vain: for 0.15 s.
const IN_VAIN: i32 = 200;
/// How long others pause: longer than it takes to ask again.
const PAUSE: Duration = Duration::from_millis(2);

thread_local! {
    /// What this thread waits to write to. SQLite's handler is told nothing but how often it was called.
    static WAITING: RefCell<Option<Waiting>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Waiting {
    directory: Arc<OwnedFd>,
    has_said: bool,
    most: i32,
}

/// Waits for the turn of the calling thread until dropped.
pub(crate) struct Turn;

impl Turn {
    /// With `in_vain` this process has just waited for as long as it does, and asks for a moment only.
    pub(crate) fn wait(directory: &Arc<OwnedFd>, in_vain: bool) -> Self {
        WAITING.set(Some(Waiting {
            directory: Arc::clone(directory),
            has_said: false,
            most: if in_vain { IN_VAIN } else { MOST },
        }));
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(waiting) = WAITING.take()
            && waiting.has_said
        {
            // The kernel does it when the process ends, at the latest.
            let _ = flock(&waiting.directory, FlockOperation::Unlock);
        }
    }
}

/// Called by SQLite while another process writes. Its own handler sleeps up to 100 ms at a time,
/// where a transaction takes 0.05 ms.
pub(crate) fn ask_again(attempt: i32) -> bool {
    let (short, long) = (Duration::from_micros(100), Duration::from_millis(1));
    if attempt >= OUT_OF_LUCK {
        say_so();
    }
    let most = WAITING.with_borrow(|waiting| waiting.as_ref().map_or(MOST, |it| it.most));
    match attempt {
        _ if attempt >= most => return false,
        0..50 => thread::sleep(short),
        _ => thread::sleep(long),
    }
    true
}

fn say_so() {
    WAITING.with_borrow_mut(|waiting| {
        if let Some(waiting) = waiting
            && !waiting.has_said
        {
            let said = flock(&waiting.directory, FlockOperation::NonBlockingLockShared);
            waiting.has_said = said.is_ok();
        }
    });
}

/// Lets those have a turn who say that they had no luck.
pub(crate) fn give_way(directory: &Arc<OwnedFd>) {
    match flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let _ = flock(directory, FlockOperation::Unlock);
        }
        Err(_) => thread::sleep(PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::fs::{Mode, OFlags};

    use super::*;

    fn open(directory: &tempfile::TempDir) -> Arc<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Arc::new(rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap())
    }

    #[test]
    fn who_is_out_of_luck_makes_others_pause_until_it_has_its_turn() {
        let directory = tempfile::tempdir().unwrap();
        let (mine, others) = (open(&directory), open(&directory));
        let pauses = || {
            let begun = Instant::now();
            give_way(&others);
            begun.elapsed() >= PAUSE
        };
        let turn = Turn::wait(&mine, false);
        assert!(ask_again(OUT_OF_LUCK - 1));
        let is_exclusive = flock(&others, FlockOperation::NonBlockingLockExclusive);
        assert!(is_exclusive.is_ok());
        flock(&others, FlockOperation::Unlock).unwrap();
        assert!(ask_again(OUT_OF_LUCK));
        assert!(pauses());
        drop(turn);
        let is_exclusive = flock(&others, FlockOperation::NonBlockingLockExclusive);
        assert!(is_exclusive.is_ok());
    }

    #[test]
    fn who_has_waited_in_vain_waits_no_more_than_a_moment() {
        let directory = open(&tempfile::tempdir().unwrap());
        assert!(ask_again(MOST - 1));
        assert!(!ask_again(MOST));
        let turn = Turn::wait(&directory, true);
        assert!(ask_again(IN_VAIN - 1));
        assert!(!ask_again(IN_VAIN));
        drop(turn);
        let turn = Turn::wait(&directory, false);
        assert!(ask_again(IN_VAIN));
        drop(turn);
    }
}
