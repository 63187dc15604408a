//! The one database of a store, shared by any number of processes of one user.
//!
//! Knows nothing of what is in it: each component brings its own tables by [`Database::migrate`].

use std::fs;
use std::hint;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, StatVfsMountFlags, accessat};
use rustix::io::Errno;

use crate::error::{Context as _, Error, Result};
use crate::fork;
use crate::turns::{self, Turn};

/// The database of a store, as one process has it open.
///
/// Safe to share between threads: writers take turns, readers wait for nobody. In a forked child
/// every use is [`Error::Forked`], and dropping it there leaves the parent's connections alone:
/// SQLite forbids even closing a connection that crossed a fork.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// `None` only while dropping.
    connections: Option<Arc<Connections>>,
    /// Where it lies: what those lock who want to write and have no luck.
    directory: Arc<OwnedFd>,
    /// Whether the last who wanted to write waited in vain: others need not wait as long again.
    is_held: AtomicBool,
    /// How often this process committed.
    commits: AtomicU32,
    pid: u32,
}

#[derive(Debug)]
struct Connections {
    /// The one that every writer uses, and a reader when it is free; `None` after a fork.
    first: Mutex<Option<Connection>>,
    /// More of them, made when a reader found the first in use; these nobody uses now.
    idle: Mutex<Vec<Connection>>,
}

/// How long a transaction takes: to sleep until one is over and be woken takes longer.
const TRANSACTION: Duration = Duration::from_micros(100);

/// How many idle connections are kept: each has a cache of its own.
const MOST_IDLE: usize = 8;

/// After how many commits of a process the log is moved into the database, with some megabytes in it.
const MANY_COMMITS: u32 = 256;

/// How many bytes the log may have before whoever commits waits for it to be emptied.
const LONG_LOG: u64 = 32 << 20;

/// How long it waits for those who read or write at that moment.
const LOG_PATIENCE: Duration = Duration::from_millis(50);

impl Database {
    /// Opens the database at `path`; makes an empty one when there is none.
    ///
    /// A new database is in WAL mode and readable by its owner only.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // Looked at first, though SQLite would say that there is none: for a file that it cannot
        // open for writing it tries reading, and one that another process makes in between would
        // be read-only for as long as this connection lives.
        if matches!(path.try_exists(), Ok(false)) {
            create(path)?;
        }
        let connection = connect(path).map_err(|source| explain(path, "open", source))?;
        let home = path.parent().unwrap_or(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(home, flags, Mode::empty()).at("open", home)?;
        Ok(Self {
            path: path.to_owned(),
            directory: Arc::new(directory),
            is_held: AtomicBool::default(),
            commits: AtomicU32::default(),
            connections: Some(Connections::new(connection)),
            pid: process::id(),
        })
    }

    /// Runs `body` in a transaction that may write, and commits it if `body` succeeds.
    ///
    /// The transaction takes the write lock at its start, so that `body` never fails half-way
    /// because another process writes; it waits up to ten seconds for it, but only once in vain, so
    /// that who does much does not wait for each of it. Nothing is changed when
    /// `body` or the commit fails. The error type is the caller's own, if it can hold [`Error`].
    pub fn write<T, E: From<Error>>(
        &self,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let _use = fork::using();
        let mut first = self.lock()?;
        let connection = self.connected(&mut first)?;
        let turn = Turn::wait(&self.directory, self.is_held.load(Ordering::Relaxed));
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let is_busy =
            |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        let is_held = begun.as_ref().is_err_and(is_busy);
        self.is_held.store(is_held, Ordering::Relaxed);
        let transaction =
            begun.map_err(|source| explain(&self.path, "begin a transaction", source))?;
        drop(turn);
        let value = body(&transaction)?;
        transaction
            .commit()
            .map_err(|source| explain(&self.path, "commit", source))?;
        self.bound_log(connection);
        drop(first);
        if self.commits.fetch_add(1, Ordering::Relaxed) % MANY_COMMITS == MANY_COMMITS - 1 {
            self.let_log_be_moved();
        }
        turns::give_way(&self.directory);
        Ok(value)
    }

    /// Runs `body` on one consistent state of the database. What it writes is not kept.
    pub fn read<T, E: From<Error>>(
        &self,
        body: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.check_process()?;
        let _use = fork::using();
        match self.connections().first.try_lock() {
            Ok(mut first) => return self.read_with(self.connected(&mut first)?, body),
            Err(TryLockError::Poisoned(panicked)) => {
                return self.read_with(self.connected(&mut panicked.into_inner())?, body);
            }
            Err(TryLockError::WouldBlock) => {}
        }
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path).map_err(|source| explain(&self.path, "open", source))?,
        };
        let value = self.read_with(&mut connection, body);
        let mut idle = self.idle();
        if idle.len() < MOST_IDLE {
            idle.push(connection);
        }
        value
    }

    fn read_with<T, E: From<Error>>(
        &self,
        connection: &mut Connection,
        body: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let snapshot = Snapshot::begin(connection)
            .map_err(|source| explain(&self.path, "begin a transaction", source))?;
        body(snapshot.0)
    }

    /// The connection that is kept there, made anew if a fork has closed it.
    fn connected<'a>(&self, kept: &'a mut Option<Connection>) -> Result<&'a mut Connection> {
        let connection = match kept.take() {
            Some(connection) => connection,
            None => connect(&self.path).map_err(|source| explain(&self.path, "open", source))?,
        };
        Ok(kept.insert(connection))
    }

    fn connections(&self) -> &Connections {
        let Some(connections) = &self.connections else {
            unreachable!("the connections are taken only by drop");
        };
        connections
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        let idle = self.connections().idle.lock();
        idle.unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the tables of one component up to date: runs those of `steps` that have not run.
    ///
    /// `steps` only ever grows, at its end. All missing steps run in one transaction. Costs one
    /// look-up when nothing is missing.
    ///
    /// # Errors
    ///
    /// [`Error::NewerFormat`] when a program with more steps has been here.
    pub fn migrate(&self, component: &str, steps: &[&str]) -> Result<()> {
        let known = steps.len() as u32;
        let found = self.read(|connection| version(connection, component))?;
        if found < known {
            return self.write(|transaction| {
                transaction
                    .execute_batch(
                        "CREATE TABLE IF NOT EXISTS components \
                         (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID",
                    )
                    .map_err(Error::database("create its tables"))?;
                // Another process may have been faster.
                let found = version(transaction, component)?;
                for step in steps.iter().skip(found as usize) {
                    transaction
                        .execute_batch(step)
                        .map_err(Error::database("change its tables"))?;
                }
                self.refuse_newer(component, found, known)?;
                transaction.execute(
                    "INSERT OR REPLACE INTO components (name, version) VALUES (?1, ?2)",
                    (component, known),
                )?;
                Ok(())
            });
        }
        self.refuse_newer(component, found, known)
    }

    /// Whether [`Database::migrate`] with these steps would have nothing to do.
    pub(crate) fn is_current(&self, component: &str, steps: &[&str]) -> Result<bool> {
        let known = steps.len() as u32;
        let found = self.read(|connection| version(connection, component))?;
        self.refuse_newer(component, found, known)?;
        Ok(found == known)
    }

    /// Whether no component has brought its tables yet.
    pub(crate) fn is_new(&self) -> Result<bool> {
        self.read(|connection| {
            let sql = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)";
            Ok(connection.query_row(sql, [], |row| row.get(0))?)
        })
    }

    /// Moves what has been written from the log into the database file, and empties the log if no
    /// other process is in the way.
    ///
    /// Waits for the disk: call it where nobody waits. The first process to open the database
    /// reads the log, so that a short one is what makes that fast.
    pub fn checkpoint(&self) -> Result<()> {
        // The first does the work, and lets others write meanwhile; the second, which does not,
        // finds little left.
        for sql in [
            "PRAGMA wal_checkpoint(PASSIVE)",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        ] {
            let _use = fork::using();
            self.connected(&mut *self.lock()?)?
                .query_row(sql, [], |_| Ok(()))
                .map_err(|source| explain(&self.path, "move its log", source))?;
        }
        Ok(())
    }

    /// Lets a thread of its own move what has been written from the log into the database file, while others go on.
    ///
    /// It waits for the disk, tens of milliseconds for some megabytes, where a commit takes a tenth of one. It may fail, and
    /// die with the process: then more is left for the next.
    fn let_log_be_moved(&self) {
        let path = self.path.clone();
        let moving = move || {
            let _use = fork::using();
            let moved = connect(&path).and_then(|connection| {
                connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            });
            drop(moved);
        };
        drop(thread::Builder::new().name("log".to_owned()).spawn(moving));
    }

    /// Waits until what was committed until now is on the disk.
    ///
    /// A loss of power takes the latest commits back. For who deletes what only the state before them names, and cannot make
    /// it again.
    pub fn flush(&self) -> Result<()> {
        let log = self.log();
        match fs::File::open(&log) {
            // Closing it releases no lock: SQLite has none on this file.
            Ok(file) => file.sync_data().at("sync", &log),
            // What is not in it is in the database, and synced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).at("open", &log),
        }
    }

    /// Empties the log when it has become long.
    ///
    /// While others write on, what is in it is only moved, so that where somebody always writes it is never empty, never
    /// begun anew, and grows until the disk is full.
    fn bound_log(&self, connection: &mut Connection) {
        let facts = fs::metadata(log_of(&self.path));
        if facts.is_ok_and(|facts| facts.len() > LONG_LOG) {
            // What is committed is committed; the next commit tries again.
            let _ = empty_log(connection);
        }
    }

    /// The database's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file to which changes are written first.
    pub fn log(&self) -> PathBuf {
        log_of(&self.path)
    }

    /// Fails in a forked child.
    pub(crate) fn check_process(&self) -> Result<()> {
        let used_by = process::id();
        if used_by != self.pid {
            return Err(Error::Forked {
                opened_by: self.pid,
                used_by,
            });
        }
        Ok(())
    }

    fn lock(&self) -> Result<MutexGuard<'_, Option<Connection>>> {
        // Before the lock: a thread that existed only in the parent may hold it for ever.
        self.check_process()?;
        let first = &self.connections().first;
        let begun = Instant::now();
        // A body that panicked has rolled its transaction back: the connection is in order.
        loop {
            match first.try_lock() {
                Ok(first) => return Ok(first),
                Err(TryLockError::Poisoned(panicked)) => return Ok(panicked.into_inner()),
                Err(TryLockError::WouldBlock) if begun.elapsed() < TRANSACTION => {
                    hint::spin_loop();
                }
                Err(TryLockError::WouldBlock) => {
                    return Ok(first.lock().unwrap_or_else(PoisonError::into_inner));
                }
            }
        }
    }

    fn refuse_newer(&self, component: &str, found: u32, known: u32) -> Result<()> {
        if found > known {
            return Err(Error::NewerFormat {
                what: format!("the database's component {component:?}"),
                found,
                known,
                path: self.path.clone(),
            });
        }
        Ok(())
    }
}

impl Connections {
    fn new(first: Connection) -> Arc<Self> {
        let made = Arc::new(Self {
            first: Mutex::new(Some(first)),
            idle: Mutex::default(),
        });
        fork::register(Arc::downgrade(&made) as Weak<dyn fork::Keeper>);
        made
    }
}

impl fork::Keeper for Connections {
    fn let_go(&self) {
        // What somebody holds who does not say so stays: nobody does.
        if let Ok(mut first) = self.first.try_lock() {
            *first = None;
        }
        if let Ok(mut idle) = self.idle.try_lock() {
            idle.clear();
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.check_process().is_err() {
            std::mem::forget(self.connections.take());
        }
    }
}

fn empty_log(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(LOG_PATIENCE)?;
    let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_handler(Some(turns::ask_again))?;
    emptied
}

/// The log of the database at a path, by SQLite's convention.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The path with something at the end of its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Without CREATE: the file is made with the right mode by `create`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(turns::ask_again))?;
    connection.set_prepared_statement_cache_capacity(256);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    // Else a statement is compiled anew for each value, in case another plan were better for that: 20 µs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Closing the last connection would otherwise wait for the disk: 10 ms at the end of every
    // command.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Else whoever commits waits for the disk from time to time.
    connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0")?;
    Ok(connection)
}

/// What the database held at one moment. Begun and ended by kept statements: those of rusqlite are compiled each time.
struct Snapshot<'a>(&'a Connection);

impl<'a> Snapshot<'a> {
    fn begin(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
        Ok(Self(connection))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let ended = self
            .0
            .prepare_cached("ROLLBACK")
            .and_then(|mut end| end.execute([]));
        // There is nothing to lose; the next one that cannot begin says so.
        drop(ended);
    }
}

/// Makes an empty database in WAL mode, complete before it has its name.
fn create(path: &Path) -> Result<()> {
    let unfinished = path.with_extension(format!("new-{}", crate::layout::random_name()?));
    // SQLite gives its log and shared memory the mode of this file.
    rustix::fs::open(
        &unfinished,
        OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    )
    .at("create", &unfinished)?;
    let result = Connection::open_with_flags(&unfinished, OpenFlags::SQLITE_OPEN_READ_WRITE)
        // WAL mode is a property of the file. Setting it here, where nobody else is, avoids the
        // one lock for which SQLite does not wait.
        .and_then(|connection| connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())))
        .map_err(|source| explain(&unfinished, "make a database", source))
        .and_then(|()| match fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result.at("create", path),
        });
    let removed = fs::remove_file(&unfinished).at("remove", &unfinished);
    result.and(removed)
}

fn version(connection: &Connection, component: &str) -> Result<u32> {
    let found = connection
        .prepare_cached("SELECT version FROM components WHERE name = ?1")
        .and_then(|mut statement| statement.query_row([component], |row| row.get(0)));
    match found {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(0),
        // The only way in which this can fail on a sound database: it has no tables yet.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => Ok(0),
        result => result.map_err(Error::database("read its version")),
    }
}

/// SQLite says "cannot open" or "I/O error" for a read-only or full disk, and for files of another user: ask the disk.
fn explain(path: &Path, action: &'static str, source: rusqlite::Error) -> Error {
    let directory = path.parent().unwrap_or(path);
    let vague = matches!(
        source.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure)
    );
    if vague && let Ok(disk) = rustix::fs::statvfs(directory) {
        let errno = if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
            Some(Errno::ROFS)
        } else if disk.f_bavail == 0 {
            Some(Errno::NOSPC)
        } else {
            let access = Access::READ_OK | Access::WRITE_OK;
            let refused = |path| accessat(CWD, path, access, AtFlags::EACCESS).err();
            let is_denied = |errno: &Errno| *errno == Errno::ACCESS;
            refused(path).or(refused(directory)).filter(is_denied)
        };
        if let Some(errno) = errno {
            return Error::Io {
                action: "write the database",
                path: path.to_owned(),
                source: errno.into(),
            };
        }
    }
    Error::Database { action, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::ErrorKind;

    fn open() -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::open(&dir.path().join("ptest.db")).unwrap();
        (dir, db)
    }

    #[test]
    fn a_new_database_is_private_and_logs_ahead() {
        let (dir, db) = open();
        let mode: String = db
            .read::<_, Error>(|c| Ok(c.query_row("PRAGMA journal_mode", [], |row| row.get(0))?))
            .unwrap();
        assert_eq!(mode, "wal");
        db.migrate("a", &["CREATE TABLE t (x)"]).unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
        }
    }

    #[test]
    fn a_migration_runs_only_what_is_missing() {
        let (_dir, db) = open();
        db.migrate("a", &["CREATE TABLE t (x)"]).unwrap();
        db.migrate("a", &["not run again", "CREATE TABLE u (x)"])
            .unwrap();
        db.migrate("b", &["CREATE TABLE v (x)"]).unwrap();
        let tables: u32 = db
            .read::<_, Error>(|c| {
                let sql = "SELECT count(*) FROM sqlite_schema WHERE name IN ('t', 'u', 'v')";
                Ok(c.query_row(sql, [], |row| row.get(0))?)
            })
            .unwrap();
        assert_eq!(tables, 3);
    }

    #[test]
    fn a_migration_that_fails_leaves_nothing() {
        let (_dir, db) = open();
        assert!(
            db.migrate("a", &["CREATE TABLE t (x)", "nonsense"])
                .is_err()
        );
        db.migrate("a", &["CREATE TABLE t (x)"]).unwrap();
    }

    #[test]
    fn a_newer_component_is_refused() {
        let (_dir, db) = open();
        db.migrate("a", &["CREATE TABLE t (x)", "CREATE TABLE u (x)"])
            .unwrap();
        let error = db.migrate("a", &["CREATE TABLE t (x)"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NewerFormat);
    }

    #[test]
    fn a_failed_body_changes_nothing() {
        let (_dir, db) = open();
        db.migrate("a", &["CREATE TABLE t (x)"]).unwrap();
        let result: Result<()> = db.write(|tx| {
            tx.execute("INSERT INTO t VALUES (1)", [])?;
            Err(Error::DamagedStack)
        });
        assert!(matches!(result, Err(Error::DamagedStack)));
        let rows: u32 = db
            .read::<_, Error>(|c| Ok(c.query_row("SELECT count(*) FROM t", [], |r| r.get(0))?))
            .unwrap();
        assert_eq!(rows, 0);
    }

    #[test]
    fn a_log_that_grew_while_somebody_read_is_emptied_when_nobody_does() {
        let (_dir, db) = open();
        db.migrate("a", &["CREATE TABLE t (x)"]).unwrap();
        let log = || fs::metadata(db.log()).unwrap().len();
        let write = || {
            let sql = "INSERT INTO t VALUES (zeroblob(1000000))";
            let written = db.write::<_, Error>(|tx| Ok(tx.execute(sql, [])?));
            written.unwrap();
        };
        let reader = connect(db.path()).unwrap();
        reader.execute_batch("BEGIN").unwrap();
        let count = "SELECT count(*) FROM t";
        let before: u32 = reader.query_row(count, [], |row| row.get(0)).unwrap();
        while log() <= LONG_LOG {
            write();
        }
        write();
        assert!(log() > LONG_LOG);
        let then: u32 = reader.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(then, before);
        reader.execute_batch("ROLLBACK").unwrap();
        write();
        assert_eq!(log(), 0);
    }

    #[test]
    fn many_commits_are_moved_into_the_database_and_no_commit_does_it_itself() {
        let (_dir, db) = open();
        db.migrate("a", &["CREATE TABLE t (x)"]).unwrap();
        db.checkpoint().unwrap();
        let length = || fs::metadata(db.path()).unwrap().len();
        let before = length();
        // More pages than SQLite lets come together.
        let sql = "INSERT INTO t VALUES (zeroblob(20000))";
        let write = || db.write::<_, Error>(|tx| Ok(tx.execute(sql, [])?)).unwrap();
        while db.commits.load(Ordering::Relaxed) < MANY_COMMITS - 1 {
            write();
        }
        assert_eq!(length(), before);
        write();
        let deadline = Instant::now() + Duration::from_mins(1);
        while length() == before && Instant::now() < deadline {
            thread::yield_now();
        }
        assert!(length() > before);
    }

    #[test]
    fn a_reader_does_not_wait_for_a_writer() {
        let (_dir, db) = open();
        db.migrate("a", &["CREATE TABLE t (x)"]).unwrap();
        let count = || {
            db.read::<_, Error>(|c| Ok(c.query_row("SELECT count(*) FROM t", [], |r| r.get(0))?))
        };
        db.write::<(), Error>(|transaction| {
            transaction.execute("INSERT INTO t VALUES (1)", [])?;
            let seen: u32 = thread::scope(|scope| scope.spawn(count).join().unwrap())?;
            assert_eq!(seen, 0);
            Ok(())
        })
        .unwrap();
        let seen: u32 = count().unwrap();
        assert_eq!(seen, 1);
    }

    #[test]
    fn writers_with_connections_of_their_own_all_get_their_turn() {
        let (dir, db) = open();
        db.migrate("a", &["CREATE TABLE t (x)"]).unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let db = Database::open(&dir.path().join("ptest.db")).unwrap();
                    for _ in 0..50 {
                        db.write::<_, Error>(|tx| {
                            let rows: u32 =
                                tx.query_row("SELECT count(*) FROM t", [], |r| r.get(0))?;
                            tx.execute("INSERT INTO t VALUES (?1)", [rows])?;
                            Ok(())
                        })
                        .unwrap();
                    }
                });
            }
        });
        let (rows, highest): (u32, u32) = db
            .read::<_, Error>(|c| {
                Ok(c.query_row("SELECT count(*), max(x) FROM t", [], |r| {
                    Ok((r.get(0)?, r.get(1)?))
                })?)
            })
            .unwrap();
        assert_eq!((rows, highest), (400, 399));
    }

    #[test]
    fn many_openers_of_a_new_database_all_succeed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ptest.db");
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let db = Database::open(&path).unwrap();
                    let mut first = db.lock().unwrap();
                    let connection = db.connected(&mut first).unwrap();
                    assert!(!connection.is_readonly("main").unwrap());
                    drop(first);
                    db.migrate("a", &["CREATE TABLE t (x)"]).unwrap();
                });
            }
        });
        assert_eq!(
            fs::read_dir(dir.path())
                .unwrap()
                .flatten()
                .filter(|e| { e.file_name().to_string_lossy().contains("new-") })
                .count(),
            0
        );
    }

    #[test]
    fn a_handle_knows_the_process_that_opened_it() {
        let (_dir, mut db) = open();
        db.pid += 1;
        let error = db.migrate("a", &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forked);
    }
}
