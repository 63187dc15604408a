//! The log of a run: both streams in one file, in the order in which they came.
//!
//! The file is a line that says what it is, then pieces: a byte that names the stream, four that say how long the piece is, the
//! least first, and the bytes. A piece that is not whole is still being written, or was when the machine ended.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use ptest_sandbox::StreamKind;

use super::RunId;
use crate::error::{Error, ErrorKind, Result};
use crate::ptest::Ptest;

const MAGIC: &[u8] = b"ptest log 1\n";
/// What stands before the bytes of a piece.
const HEADER: usize = 5;
/// More than any piece has.
const LARGEST: u32 = 1 << 24;

/// Writes a log.
#[derive(Debug)]
pub(super) struct LogWriter {
    /// None when it takes no more.
    file: Option<File>,
    room: u64,
    piece: Vec<u8>,
    kept: [u64; 2],
    error: Option<String>,
}

impl LogWriter {
    /// A new log of at most so many bytes.
    pub(super) fn create(path: &Path, most: u64) -> io::Result<Self> {
        let mut file = File::create_new(path)?;
        file.write_all(MAGIC)?;
        Ok(Self {
            file: Some(file),
            room: most.saturating_sub(MAGIC.len() as u64),
            piece: Vec::new(),
            kept: [0; 2],
            error: None,
        })
    }

    /// Adds what came, or as much of it as there is room for.
    pub(super) fn write(&mut self, kind: StreamKind, bytes: &[u8]) {
        let Some(file) = &mut self.file else {
            return;
        };
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room.saturating_sub(HEADER))];
        if bytes.is_empty() {
            // What comes later may not go where this does not.
            self.room = 0;
            return;
        }
        self.piece.clear();
        self.piece.push(index(kind) as u8);
        self.piece.extend((bytes.len() as u32).to_le_bytes());
        self.piece.extend(bytes);
        match file.write_all(&self.piece) {
            Ok(()) => {
                self.room -= self.piece.len() as u64;
                self.kept[index(kind)] += bytes.len() as u64;
            }
            Err(error) => {
                self.error = Some(error.to_string());
                self.room = 0;
            }
        }
    }

    /// How many bytes of a stream it has.
    pub(super) fn kept(&self, kind: StreamKind) -> u64 {
        self.kept[index(kind)]
    }

    /// Why it has less than it could have.
    pub(super) fn error(&self) -> Option<&String> {
        self.error.as_ref()
    }

    /// Lets go of the file, which whoever follows it hears.
    pub(super) fn close(&mut self) {
        self.file = None;
    }
}

/// Reads a log, also one that is still being written.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: File,
    next: u64,
}

impl LogReader {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let failed = |source| Error::io(format!("read {}", path.display()), source);
        let mut file = File::open(&path).map_err(failed)?;
        let mut magic = [0; MAGIC.len()];
        match file.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(failed(error));
            }
            _ => return Err(damaged(&path)),
        }
        Ok(Self {
            next: MAGIC.len() as u64,
            path,
            file,
        })
    }

    /// The next piece; none if no more is there yet.
    pub fn piece(&mut self) -> Result<Option<(StreamKind, Vec<u8>)>> {
        let mut header = [0; HEADER];
        if !self.read(&mut header)? {
            return Ok(None);
        }
        let [stream, length @ ..] = header;
        let length = u32::from_le_bytes(length);
        let kind = match stream {
            0 => StreamKind::Stdout,
            1 => StreamKind::Stderr,
            _ => return Err(damaged(&self.path)),
        };
        if length == 0 || length > LARGEST {
            return Err(damaged(&self.path));
        }
        let mut bytes = vec![0; length as usize];
        if !self.read(&mut bytes)? {
            return Ok(None);
        }
        self.next += HEADER as u64 + u64::from(length);
        Ok(Some((kind, bytes)))
    }

    /// Goes back to the beginning.
    pub fn rewind(&mut self) -> Result<()> {
        self.next = MAGIC.len() as u64;
        self.seek()
    }

    /// Fills the buffer, or goes back to where the piece begins.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.file.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.seek()?;
                Ok(false)
            }
            Err(source) => Err(Error::io(format!("read {}", self.path.display()), source)),
        }
    }

    fn seek(&mut self) -> Result<()> {
        let sought = self.file.seek(SeekFrom::Start(self.next));
        sought
            .map(drop)
            .map_err(|source| Error::io(format!("read {}", self.path.display()), source))
    }
}

impl Ptest {
    /// Where the log of a run is, if it has one.
    pub fn log_path(&self, run: RunId) -> PathBuf {
        self.store().home().join("runs").join(format!("{run}.log"))
    }

    /// The log of a run, from its beginning.
    pub fn log(&self, run: RunId) -> Result<LogReader> {
        LogReader::open(self.log_path(run))
    }

    pub(super) fn create_log(&self, run: RunId, most: u64) -> Result<LogWriter> {
        self.store().dir("runs")?;
        let path = self.log_path(run);
        LogWriter::create(&path, most)
            .map_err(|source| Error::io(format!("create {}", path.display()), source))
    }

    /// Deletes the log of a run, if it has one.
    pub(super) fn delete_log(&self, run: RunId) -> Result<()> {
        let path = self.log_path(run);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("delete {}", path.display()), error))
            }
            _ => Ok(()),
        }
    }
}

fn index(kind: StreamKind) -> usize {
    match kind {
        StreamKind::Stdout => 0,
        StreamKind::Stderr => 1,
    }
}

fn damaged(path: &Path) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("{} is not the log of a run", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use StreamKind::{Stderr, Stdout};

    fn log(most: u64) -> (tempfile::TempDir, PathBuf, LogWriter) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let writer = LogWriter::create(&path, most).unwrap();
        (directory, path, writer)
    }

    #[test]
    fn pieces_come_out_as_and_when_they_were_written() {
        let (_directory, path, mut writer) = log(1000);
        let mut reader = LogReader::open(path).unwrap();
        assert_eq!(reader.piece().unwrap(), None);
        writer.write(Stdout, b"\xff one");
        writer.write(Stderr, b"two\n");
        assert_eq!(
            reader.piece().unwrap(),
            Some((Stdout, b"\xff one".to_vec()))
        );
        assert_eq!(reader.piece().unwrap(), Some((Stderr, b"two\n".to_vec())));
        assert_eq!(reader.piece().unwrap(), None);
        writer.write(Stdout, b"three");
        writer.close();
        writer.write(Stdout, b"four");
        assert_eq!(reader.piece().unwrap(), Some((Stdout, b"three".to_vec())));
        assert_eq!(reader.piece().unwrap(), None);
        reader.rewind().unwrap();
        assert_eq!(
            reader.piece().unwrap(),
            Some((Stdout, b"\xff one".to_vec()))
        );
        assert_eq!((writer.kept(Stdout), writer.kept(Stderr)), (10, 4));
    }

    #[test]
    fn a_log_is_full_once_and_has_the_beginning() {
        let (_directory, path, mut writer) = log(40);
        writer.write(Stdout, b"0123456789");
        writer.write(Stderr, b"0123456789");
        writer.write(Stderr, b"0");
        let mut reader = LogReader::open(path).unwrap();
        assert_eq!(
            reader.piece().unwrap(),
            Some((Stdout, b"0123456789".to_vec()))
        );
        assert_eq!(
            reader.piece().unwrap(),
            Some((Stderr, b"01234567".to_vec()))
        );
        assert_eq!(reader.piece().unwrap(), None);
        assert_eq!((writer.kept(Stdout), writer.kept(Stderr)), (10, 8));
    }

    #[test]
    fn a_piece_that_is_not_whole_is_not_there_yet() {
        let (_directory, path, mut writer) = log(1000);
        writer.write(Stdout, b"one");
        writer.write(Stdout, b"two");
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..8 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let mut reader = LogReader::open(path.clone()).unwrap();
            assert!(reader.piece().unwrap().is_some());
            assert_eq!(reader.piece().unwrap(), None);
            std::fs::write(&path, &whole).unwrap();
            assert_eq!(reader.piece().unwrap(), Some((Stdout, b"two".to_vec())));
        }
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let (_directory, path, _) = log(1000);
        for bytes in [&b"text"[..], b"", b"ptest log 1\n\x07\x01\0\0\0x"] {
            std::fs::write(&path, bytes).unwrap();
            let error = LogReader::open(path.clone())
                .and_then(|mut reader| reader.piece())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}
