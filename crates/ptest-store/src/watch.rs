//! Waiting for the database to be changed, by whatever process.
//!
//! The kernel says that the log was written (inotify(7)), so that whoever waits costs nothing meanwhile and writers need to
//! tell nobody. What was changed is not known here: who waits looks.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::db::Database;
use crate::error::{Context as _, Error, Result};
use crate::fork;

/// A commit is written to the log first and shown to others then: how long after the writing to look again.
const SETTLING: [Duration; 7] = [
    Duration::from_micros(50),
    Duration::from_micros(200),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
    Duration::from_millis(16),
];
/// Looked at this often though nothing was heard: a writer may have been stopped between the two.
const ANYWAY: Duration = Duration::from_secs(1);

/// Waits for changes of a database.
#[derive(Debug)]
pub struct Watch {
    connection: Arc<Kept>,
    path: PathBuf,
    writes: OwnedFd,
    seen: Option<i64>,
}

/// A connection of its own, so that it sees what every other connection commits, and the log stays in place; `None` after a
/// fork.
#[derive(Debug)]
struct Kept(Mutex<Option<Connection>>);

impl fork::Keeper for Kept {
    fn let_go(&self) {
        if let Ok(mut connection) = self.0.try_lock() {
            *connection = None;
        }
    }
}

impl Database {
    /// Begins to watch: what is committed from now on is a change.
    pub fn watch(&self) -> Result<Watch> {
        self.check_process()?;
        Watch::new(self.path())
    }
}

impl Watch {
    fn new(path: &Path) -> Result<Self> {
        let connection = Arc::new(Kept(Mutex::default()));
        fork::register(Arc::downgrade(&connection) as Weak<dyn fork::Keeper>);
        // Makes the log if there is none.
        version(&connection, path)?;
        let seen = version(&connection, path)?;
        let log = crate::db::log_of(path);
        let writes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .at("watch", &log)?;
        inotify::add_watch(&writes, &log, inotify::WatchFlags::MODIFY).at("watch", &log)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            writes,
            seen,
        })
    }

    /// Waits until something was committed since the last time, or the time has passed. Says which.
    pub fn wait(&mut self, limit: Option<Duration>) -> Result<bool> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            if self.has_changed()? {
                return Ok(true);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            if self.hear(left.map_or(ANYWAY, |left| left.min(ANYWAY)))? {
                for pause in SETTLING {
                    if self.has_changed()? {
                        return Ok(true);
                    }
                    thread::sleep(pause);
                }
            }
        }
    }

    fn has_changed(&mut self) -> Result<bool> {
        let now = version(&self.connection, &self.path)?;
        // What was committed while there was no connection is not missed.
        Ok(now.is_none() || std::mem::replace(&mut self.seen, now) != now)
    }

    /// Whether the log was written, at the latest after this time.
    fn hear(&self, limit: Duration) -> Result<bool> {
        let limit = Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        let mut watched = [PollFd::new(&self.writes, PollFlags::IN)];
        match poll(&mut watched, Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => Ok(false),
            Ok(_) => {
                let mut bytes = [0; 4096];
                // How often it was written makes no difference.
                while rustix::io::read(&self.writes, &mut bytes).is_ok_and(|count| count > 0) {}
                Ok(true)
            }
            Err(errno) => Err(Error::Io {
                action: "wait for",
                path: self.path.clone(),
                source: errno.into(),
            }),
        }
    }
}

/// Another one after each commit by anybody else: `PRAGMA data_version`. Those of two connections say nothing of each other:
/// `None` of one that was just made.
fn version(kept: &Kept, path: &Path) -> Result<Option<i64>> {
    let _use = fork::using();
    let mut kept = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(connection) = &*kept else {
        let made = crate::db::connect(path).map_err(Error::database("open"))?;
        current(kept.insert(made))?;
        return Ok(None);
    };
    current(connection).map(Some)
}

fn current(connection: &Connection) -> Result<i64> {
    connection
        .prepare_cached("PRAGMA data_version")
        .and_then(|mut pragma| pragma.query_row([], |row| row.get(0)))
        .map_err(Error::database("look for changes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn database() -> (tempfile::TempDir, Database) {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(&directory.path().join("ptest.db")).unwrap();
        database.migrate("a", &["CREATE TABLE t (x)"]).unwrap();
        (directory, database)
    }

    fn insert(database: &Database) {
        database
            .write(|transaction| {
                transaction.execute("INSERT INTO t VALUES (1)", [])?;
                Ok::<_, Error>(())
            })
            .unwrap();
    }

    #[test]
    fn each_commit_wakes_who_waits_and_nothing_else_does() {
        let (_directory, database) = database();
        let mut watch = database.watch().unwrap();
        assert!(!watch.wait(Some(Duration::ZERO)).unwrap());
        thread::scope(|scope| {
            let (told, wait) = std::sync::mpsc::channel();
            scope.spawn(move || {
                for _ in 0..50 {
                    let changed = watch.wait(Some(LONG)).unwrap();
                    told.send(changed).unwrap();
                }
                assert!(!watch.wait(Some(Duration::ZERO)).unwrap());
            });
            for _ in 0..50 {
                insert(&database);
                assert!(wait.recv().unwrap());
            }
        });
    }

    #[test]
    fn what_was_committed_before_the_waiting_is_not_missed() {
        let (_directory, database) = database();
        let mut watch = database.watch().unwrap();
        insert(&database);
        insert(&database);
        assert!(watch.wait(Some(LONG)).unwrap());
        assert!(!watch.wait(Some(Duration::ZERO)).unwrap());
        // The log begins anew.
        database.checkpoint().unwrap();
        let _ = watch.wait(Some(Duration::ZERO)).unwrap();
        insert(&database);
        assert!(watch.wait(Some(LONG)).unwrap());
    }

    #[test]
    fn a_commit_that_is_undone_wakes_nobody() {
        let (_directory, database) = database();
        let mut watch = database.watch().unwrap();
        let undone: Result<()> = database.write(|transaction| {
            transaction.execute("INSERT INTO t VALUES (1)", [])?;
            Err(Error::DamagedStack)
        });
        assert!(undone.is_err());
        assert!(!watch.wait(Some(Duration::from_millis(20))).unwrap());
    }
}
