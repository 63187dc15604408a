//! Where the streams of a run lead, and what is kept of what it wrote.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::PathBuf;

use ptest_sandbox::{Captured, StreamKind};
use rustix::fs::{FileType, fstat};
use rustix::termios::isatty;
use serde::{Deserialize, Serialize};

use crate::engine::Stdio;
use crate::settings::is_default;

/// How many bytes of the beginning of a stream are recorded, and as many of its end.
pub(super) const RECORDED: usize = 4 << 10;
/// The device that takes everything: null(4).
const NULL: (u32, u32) = (1, 3);

/// Both streams that a command writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Whether ptest takes both, keeps them in the run's log, and passes them on to where they lead.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log: bool,
    /// Its standard output.
    pub stdout: Stream,
    /// Its standard error.
    pub stderr: Stream,
}

/// What is known of a stream that a command writes.
///
/// Of one that ptest takes the beginning and the end are recorded, as they are. Any other is the affair of whoever gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Where it leads.
    pub destination: Destination,
    /// How many bytes came, where ptest took it and it has ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub total: Option<u64>,
    /// How many bytes of its beginning the file has, or the log.
    #[serde(default, skip_serializing_if = "is_default")]
    pub in_file: u64,
    /// Why the file has less than it could have.
    #[serde(default, skip_serializing_if = "is_default")]
    pub file_error: Option<String>,
    /// Why it was not passed on to its end. What was to come then did not come.
    #[serde(default, skip_serializing_if = "is_default")]
    pub forward_error: Option<String>,
    /// Whether a process that was left behind could still write to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub held_open: bool,
    /// The beginning.
    #[serde(skip)]
    pub head: Vec<u8>,
    /// The end, as far as it is not in the beginning.
    #[serde(skip)]
    pub tail: Vec<u8>,
}

/// Where a stream leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Destination {
    /// To nobody.
    Null,
    /// To a terminal.
    Terminal,
    /// To a pipe of the caller's, and so to another program.
    Pipe,
    /// To a socket of the caller's.
    Socket,
    /// To a file of the caller's.
    File {
        /// Where it was then.
        path: PathBuf,
    },
    /// To a device.
    Device {
        /// Where it is.
        path: PathBuf,
    },
    /// To ptest, which keeps some of it.
    Taken {
        /// A file that it was written to besides.
        #[serde(default, skip_serializing_if = "is_default")]
        file: Option<PathBuf>,
    },
    /// To something else.
    #[default]
    Other,
}

impl Streams {
    /// Those of a command that gets its streams so.
    pub(crate) fn of(stdio: &Stdio) -> Self {
        let [stdout, stderr] = match stdio {
            Stdio::Descriptors { stdout, stderr, .. } => [stdout, stderr].map(Destination::of),
            Stdio::Terminal(_) => [Destination::Terminal, Destination::Terminal],
        };
        Self {
            log: false,
            stdout: Stream::to(stdout),
            stderr: Stream::to(stderr),
        }
    }

    pub(super) fn of_kind(&mut self, kind: StreamKind) -> &mut Stream {
        match kind {
            StreamKind::Stdout => &mut self.stdout,
            StreamKind::Stderr => &mut self.stderr,
        }
    }
}

impl Stream {
    /// One of which nothing but where it leads is known.
    pub(crate) fn to(destination: Destination) -> Self {
        Self {
            destination,
            ..Self::default()
        }
    }

    /// How many bytes between the beginning and the end are not recorded.
    pub fn omitted(&self) -> u64 {
        let recorded = self.head.len() as u64 + self.tail.len() as u64;
        self.total.unwrap_or_default().saturating_sub(recorded)
    }

    /// How many bytes are kept nowhere, neither in the record nor in the file.
    pub fn dropped(&self) -> u64 {
        let from = self.in_file.max(self.head.len() as u64);
        let to = self
            .total
            .unwrap_or_default()
            .saturating_sub(self.tail.len() as u64);
        to.saturating_sub(from)
    }

    /// Adds what was taken of it.
    pub(crate) fn took(&mut self, captured: &Captured) {
        let head = captured.head.len().min(RECORDED);
        self.head = captured.head[..head].to_vec();
        self.tail = end_of(
            captured,
            RECORDED.min(captured.total.saturating_sub(head as u64) as usize),
        );
        self.total = Some(captured.total);
        self.in_file = captured.spilled;
        self.file_error = captured.spill_error.as_ref().map(ToString::to_string);
        self.forward_error = captured.forward_error.as_ref().map(ToString::to_string);
        self.held_open = captured.held_open;
    }
}

/// The last bytes of what was kept in memory, as far as they are the end of the stream.
fn end_of(captured: &Captured, count: usize) -> Vec<u8> {
    if captured.omitted() > 0 {
        let kept = captured.tail.len();
        return captured.tail[kept.saturating_sub(count)..].to_vec();
    }
    let all = [&captured.head[..], &captured.tail].concat();
    all[all.len().saturating_sub(count)..].to_vec()
}

impl Destination {
    /// What a descriptor leads to.
    pub(crate) fn of(descriptor: impl AsFd) -> Self {
        let Ok(facts) = fstat(&descriptor) else {
            return Self::Other;
        };
        let device = (
            rustix::fs::major(facts.st_rdev),
            rustix::fs::minor(facts.st_rdev),
        );
        match FileType::from_raw_mode(facts.st_mode) {
            FileType::RegularFile => Self::File {
                path: path_of(descriptor),
            },
            FileType::Fifo => Self::Pipe,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice if device == NULL => Self::Null,
            FileType::CharacterDevice if isatty(&descriptor) => Self::Terminal,
            FileType::CharacterDevice | FileType::BlockDevice => Self::Device {
                path: path_of(descriptor),
            },
            _ => Self::Other,
        }
    }

    /// What is taken by ptest, with the file that it is written to besides.
    pub(crate) fn taken(file: Option<&File>) -> Self {
        Self::Taken {
            file: file.map(path_of),
        }
    }

    /// The word used in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Terminal => "terminal",
            Self::Pipe => "pipe",
            Self::Socket => "socket",
            Self::File { .. } => "file",
            Self::Device { .. } => "device",
            Self::Taken { .. } => "taken",
            Self::Other => "other",
        }
    }

    /// The file or device that it leads to, if it is one.
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::File { path } | Self::Device { path } => Some(path),
            Self::Taken { file } => file.as_ref(),
            _ => None,
        }
    }
}

/// As what follows "to".
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nobody"),
            Self::Terminal => f.write_str("a terminal"),
            Self::Pipe => f.write_str("a pipe"),
            Self::Socket => f.write_str("a socket"),
            Self::File { path } => write!(f, "the file {}", path.display()),
            Self::Device { path } => write!(f, "the device {}", path.display()),
            Self::Taken { .. } => f.write_str("ptest"),
            Self::Other => f.write_str("something else"),
        }
    }
}

/// Where an open file is. What is not UTF-8 in its path is replaced: it is for people.
fn path_of(descriptor: impl AsFd) -> PathBuf {
    let link = format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd());
    let path = std::fs::read_link(link).unwrap_or_default();
    path.to_string_lossy().into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_known_by_what_it_leads_to() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (pipe, _writer) = std::io::pipe().unwrap();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let open = |path| File::open(path).unwrap();
        let path = file.path().to_owned();
        assert_eq!(Destination::of(file.as_file()), Destination::File { path });
        assert_eq!(Destination::of(&pipe), Destination::Pipe);
        assert_eq!(Destination::of(&socket), Destination::Socket);
        assert_eq!(Destination::of(open("/dev/null")), Destination::Null);
        let zero = Destination::of(open("/dev/zero"));
        assert_eq!(zero.path().unwrap().to_str(), Some("/dev/zero"));
        assert_eq!(Destination::of(open("/")), Destination::Other);
    }

    #[test]
    fn both_ends_are_recorded_and_what_is_kept_nowhere_is_counted() {
        let all: Vec<u8> = (0..30_000_u32).map(|n| (n % 251) as u8).collect();
        for (length, memory, in_file) in [
            (0, 100, 0),
            (10, 100, 0),
            (RECORDED, 1 << 20, 0),
            (RECORDED + 5, 1 << 20, 0),
            (20_000, 1 << 20, 0),
            (20_000, 6_000, 0),
            (20_000, 100, 19_000),
            (20_000, 100, 20_000),
            (20_000, 5_000, 20_000),
        ] {
            let head = length.min(memory);
            let captured = Captured {
                head: all[..head].to_vec(),
                tail: all[length.saturating_sub(memory).max(head)..length].to_vec(),
                total: length as u64,
                spilled: in_file,
                ..Captured::default()
            };
            let mut stream = Stream::to(Destination::taken(None));
            stream.took(&captured);
            let begin = head.min(RECORDED);
            assert_eq!(stream.head, all[..begin]);
            let end = (length - begin).min(RECORDED).min(memory);
            assert_eq!(stream.tail, all[length - end..length], "{length} {memory}");
            assert_eq!(stream.omitted(), (length - begin - end) as u64);
            let kept = (in_file as usize).max(begin) + end;
            assert_eq!(stream.dropped(), length.saturating_sub(kept) as u64);
        }
    }
}
