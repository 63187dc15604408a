//! A file that any number of processes add lines to, and that never takes more than its room.
//!
//! A line is one write to the end of the file, which the kernel does whole. Who finds the file full renames it, under a lock
//! that nobody waits for. A writer that has the file open then adds its line to the one that was renamed: nothing is lost,
//! and nothing is kept open, so that a process that forked or that was stopped is in nobody's way.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags, flock};

/// How long a file may become, and how many there are, with the one that is written.
const LENGTH: u64 = 1 << 20;
const COUNT: u32 = 8;

/// How many times its length a file may become while another process is about to rename it. That one may have been stopped.
const STRETCH: u64 = 8;

pub(super) struct RotatedFile {
    path: PathBuf,
    length: u64,
    count: u32,
}

impl RotatedFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            length: LENGTH,
            count: COUNT,
        }
    }

    /// Adds a line, which ends with its line feed. One that cannot be written is lost: nobody could be told.
    pub(super) fn append(&self, line: &[u8]) {
        let _ = self.try_append(line);
    }

    fn try_append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.open()?;
        let facts = file.metadata()?;
        // A terminal or a pipe has no length, and no other name.
        if facts.is_file() && self.is_full(&facts, line) {
            if self.rotate(line)? {
                file = self.open()?;
            } else if facts.len() > STRETCH * self.length {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        file.write_all(line)
    }

    fn open(&self) -> io::Result<File> {
        let open = || {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                // A pipe that nobody reads is not waited for.
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(&self.path)
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // That directory alone: where there is no store, none is made.
                let directory = self.path.parent().unwrap_or(Path::new("/"));
                match DirBuilder::new().mode(0o700).create(directory) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => open(),
                }
            }
            opened => opened,
        }
    }

    fn is_full(&self, facts: &Metadata, line: &[u8]) -> bool {
        facts.len() > 0 && facts.len() + line.len() as u64 > self.length
    }

    /// Makes room: `false` when another process is about to.
    fn rotate(&self, line: &[u8]) -> io::Result<bool> {
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.with_suffix("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            locked => locked?,
        }
        // Another process may have been faster.
        match fs::metadata(&self.path) {
            Ok(facts) if self.is_full(&facts, line) => {}
            _ => return Ok(true),
        }
        for number in (1..self.count - 1).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))?;
        Ok(true)
    }

    fn numbered(&self, number: u32) -> PathBuf {
        self.with_suffix(&number.to_string())
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, thread};

    use super::*;

    const WRITERS: usize = 8;

    /// A line of 32 bytes that says who wrote it.
    fn line(writer: usize, number: usize) -> String {
        format!("{writer:015} {number:015}\n")
    }

    /// Eight writers add lines at the same time; returns what is left, of the oldest file first.
    fn write(file: &RotatedFile, lines: usize) -> Vec<String> {
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    for number in 0..lines {
                        file.append(line(writer, number).as_bytes());
                    }
                });
            }
        });
        let older = (1..=file.count).rev().map(|it| file.numbered(it));
        let texts = older
            .chain([file.path.clone()])
            .filter_map(|path| fs::read_to_string(path).ok());
        texts
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn many_writers_lose_no_line_and_tear_none_while_files_change_names() {
        let directory = tempfile::tempdir().unwrap();
        let file = RotatedFile {
            path: directory.path().join("log"),
            // Eight times as much is all that is written: none of it is left out.
            length: 16 << 10,
            count: 40,
        };
        let written = write(&file, 500);
        let expected: BTreeSet<String> = (0..WRITERS)
            .flat_map(|writer| (0..500).map(move |number| line(writer, number)))
            .collect();
        let found: BTreeSet<String> = written.iter().map(|it| format!("{it}\n")).collect();
        assert_eq!(written.len(), WRITERS * 500);
        assert_eq!(found, expected);
        assert!(file.numbered(2).exists(), "it was never full");
    }

    #[test]
    fn all_files_together_stay_within_their_room() {
        let directory = tempfile::tempdir().unwrap();
        let file = RotatedFile {
            path: directory.path().join("log"),
            length: 1 << 10,
            count: 3,
        };
        let left = write(&file, 1_000);
        // Were each of them stretched, and longer by what its writers were about to add.
        let most = 3 * (STRETCH as usize * (1 << 10) / 32 + WRITERS);
        assert!(left.len() <= most, "{} lines", left.len());
        let newest = (0..WRITERS).map(|writer| line(writer, 999));
        assert!(
            newest
                .filter(|it| left.contains(&it.trim_end().to_owned()))
                .count()
                > 0
        );
        let names: BTreeSet<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(
            names,
            ["log", "log.1", "log.2", "log.lock"]
                .map(str::to_owned)
                .into()
        );
    }

    #[test]
    fn a_lock_that_is_never_given_back_stops_nobody_and_lets_nothing_grow_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let file = RotatedFile {
            path: directory.path().join("log"),
            length: 1 << 10,
            count: 3,
        };
        let lock = File::create(file.with_suffix("lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let left = write(&file, 100);
        let most = STRETCH as usize * (1 << 10) / 32;
        assert!(left.len() >= most, "{} lines", left.len());
        assert!(left.len() <= most + WRITERS + 1, "{} lines", left.len());
    }

    #[test]
    fn nothing_is_made_where_there_is_no_store() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        RotatedFile::new(home.join("logs/ptest.log")).append(b"x\n");
        assert!(!home.exists());
        fs::create_dir(&home).unwrap();
        RotatedFile::new(home.join("logs/ptest.log")).append(b"x\n");
        assert_eq!(fs::read(home.join("logs/ptest.log")).unwrap(), b"x\n");
    }
}
