//! What the store's database held at a moment of a trace: as every process saw it, and as it was on the disk at least.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::FromSql;
use rusqlite::{Connection, Row};

use super::trace::Event;

/// As large are SQLite's pages.
const PAGE: u64 = 4096;

/// The two files of the database before the trace.
pub(crate) struct Database {
    path: PathBuf,
    log: PathBuf,
    before: [Vec<u8>; 2],
}

/// Which of what was written counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// All of it.
    All,
    /// What was synced.
    Synced,
}

/// What it held.
pub(crate) struct Held {
    connection: Connection,
    _directory: tempfile::TempDir,
}

impl Held {
    /// The rows of a query, each made by `make`.
    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        make: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Vec<T> {
        let mut statement = self.connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| make(row)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// The rows of a query for one value each.
    pub(crate) fn column<T: FromSql>(&self, sql: &str) -> Vec<T> {
        self.rows(sql, |row| row.get(0))
    }
}

impl Database {
    pub(crate) fn now(home: &Path) -> Self {
        let path = home.join("ptest.db");
        let log = home.join("ptest.db-wal");
        let before = [&path, &log].map(|file| fs::read(file).unwrap_or_default());
        Self { path, log, before }
    }

    /// Whether an event writes the header of a frame that ends a transaction: the fifth to eighth byte are the size of the
    /// database then (<https://sqlite.org/fileformat2.html#walformat>).
    pub(crate) fn is_commit(&self, event: &Event) -> bool {
        matches!(event, Event::Write { path, bytes, .. }
            if *path == self.log && bytes.len() == 24 && bytes[4..8] != [0; 4])
    }

    /// The file to which changes are written first.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// What it held after these events, opened apart from the store.
    pub(crate) fn after(&self, events: &[Event], seen: Seen) -> Held {
        let directory = tempfile::tempdir().unwrap();
        for ((file, before), name) in [&self.path, &self.log]
            .into_iter()
            .zip(&self.before)
            .zip(["db", "db-wal"])
        {
            let until = match seen {
                Seen::All => events.len(),
                Seen::Synced => synced(events, file),
            };
            let bytes = replay(before.clone(), &events[..until], file);
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        Held {
            connection: Connection::open(directory.path().join("db")).unwrap(),
            _directory: directory,
        }
    }

    /// What is moved into the database was on the disk in the log before, and the log begins anew when the database is on the
    /// disk: so that one of both is always whole.
    pub(crate) fn assert_one_file_is_whole(&self, events: &[Event]) {
        for (number, event) in events.iter().enumerate() {
            let before = &events[..number];
            match event {
                Event::Write {
                    path,
                    offset: Some(offset),
                    bytes,
                } if *path == self.path => {
                    let page = offset / PAGE + 1;
                    let (safe, rest) = before.split_at(synced(before, &self.log));
                    let is_safe = self.has_page(safe, page, bytes)
                        // It was in the log before all this.
                        || !self.has_page(rest, page, bytes);
                    assert!(is_safe, "{number}: page {page} is not synced in the log");
                }
                Event::Write {
                    path,
                    offset: Some(0),
                    ..
                }
                | Event::Truncate { path, .. }
                    if *path == self.log =>
                {
                    let rest = &before[synced(before, &self.path)..];
                    let is_safe = !rest.iter().any(|event| changes(event, &self.path));
                    assert!(is_safe, "{number}: the database is not synced");
                }
                _ => {}
            }
        }
    }

    /// Whether a page was written to the log: a header that begins with its number, and then what is in it.
    fn has_page(&self, events: &[Event], page: u64, contents: &[u8]) -> bool {
        let mut written = events.iter().filter_map(|event| match event {
            Event::Write { path, bytes, .. } if *path == self.log => Some(bytes.as_slice()),
            _ => None,
        });
        let number = (page as u32).to_be_bytes();
        let mut is_it = false;
        written.any(|bytes| {
            let has = is_it && bytes == contents;
            is_it = bytes.len() == 24 && bytes.starts_with(&number);
            has
        })
    }
}

fn changes(event: &Event, file: &Path) -> bool {
    match event {
        Event::Write { path, .. } | Event::Truncate { path, .. } => path == file,
        _ => false,
    }
}

/// Before which event everything that was done to a file is on the disk.
pub(crate) fn synced(events: &[Event], file: &Path) -> usize {
    let begun = events.iter().filter_map(|event| match event {
        Event::Sync { path, begun } if path == file => Some(*begun),
        Event::SyncAll { begun } => Some(*begun),
        _ => None,
    });
    begun.max().unwrap_or(0)
}

fn replay(mut bytes: Vec<u8>, events: &[Event], file: &Path) -> Vec<u8> {
    for event in events.iter().filter(|event| changes(event, file)) {
        match event {
            Event::Write {
                offset: Some(offset),
                bytes: written,
                ..
            } => {
                let begin = *offset as usize;
                let end = begin + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[begin..end].copy_from_slice(written);
            }
            Event::Truncate { length, .. } => bytes.resize(*length as usize, 0),
            other => panic!("the database is written in another way: {other:?}"),
        }
    }
    bytes
}
