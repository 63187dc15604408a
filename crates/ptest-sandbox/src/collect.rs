//! Takes the output of a command out of its pipes, and feeds its input, on one thread and without waiting for any of them.
//!
//! It knows no command: who waits for one says by a descriptor that it has ended. What is kept is [`crate::output`]'s
//! business. Not for terminals, which are relayed.

mod forward;

use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread};

use self::forward::Forward;
use crate::output::{Captured, Keep, Keeper, StreamKind};
use crate::wire;

/// What is read at once: what a pipe holds.
const BUFFER: usize = 64 << 10;
/// How often one stream is read before the others have their turn.
const READS: usize = 16;

/// The caller's side of a command's streams.
#[derive(Debug)]
pub struct Collector {
    outputs: [Option<Stream>; 2],
    input: Option<Feed>,
    tap: Option<Tap>,
    buffer: Vec<u8>,
}

/// What is told of each piece of each stream.
type Hear = dyn FnMut(StreamKind, &[u8]) + Send;

/// Hears of all that comes, in the order in which it is taken.
pub struct Tap(Box<Hear>);

impl Tap {
    /// One that is told of each piece of each stream.
    pub fn new(hear: impl FnMut(StreamKind, &[u8]) + Send + 'static) -> Self {
        Self(Box::new(hear))
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

impl Collector {
    /// Takes these outputs, the standard one and the one for errors, each a pipe.
    pub fn new(outputs: [Option<(OwnedFd, Keep)>; 2]) -> io::Result<Self> {
        let [output, error] = outputs;
        let made = |kind, one: Option<_>| one.map(|one| Stream::new(kind, one)).transpose();
        Ok(Self {
            outputs: [
                made(StreamKind::Stdout, output)?,
                made(StreamKind::Stderr, error)?,
            ],
            input: None,
            tap: None,
            buffer: vec![0; BUFFER],
        })
    }

    /// Lets somebody hear of all that comes.
    pub fn tap(&mut self, tap: Tap) {
        self.tap = Some(tap);
    }

    /// Passes a stream on as it comes, unchanged. No more of it is taken than can be passed on. Whoever cannot write any more
    /// to where it goes cannot write to the stream either: it is let go of.
    ///
    /// Writing to a pipe that nobody reads raises SIGPIPE, unless this program has changed what that does.
    pub fn forward(&mut self, kind: StreamKind, to: OwnedFd) {
        let mut streams = self.outputs.iter_mut().flatten();
        if let Some(stream) = streams.find(|stream| stream.kind == kind) {
            stream.forward = Some(Forward::new(to));
        }
    }

    /// Feeds these bytes to whoever has the result as its standard input, and ends that.
    pub fn feed(&mut self, bytes: Vec<u8>) -> io::Result<OwnedFd> {
        let (feed, reader) = Feed::new(bytes)?;
        self.input = feed;
        Ok(reader.into())
    }

    /// Whether nothing is there to take or to feed.
    pub fn is_idle(&self) -> bool {
        self.input.is_none() && self.outputs.iter().flatten().all(Stream::is_closed)
    }

    /// Takes and feeds what can be now; if that is nothing waits until something can, `end` is readable or closed, or the time
    /// has passed. Returns whether `end` is.
    pub fn turn(&mut self, end: BorrowedFd<'_>, limit: Option<Duration>) -> io::Result<bool> {
        let mut watched = vec![PollFd::from_borrowed_fd(end, PollFlags::IN)];
        watched.extend(self.outputs.iter().flatten().filter_map(Stream::watched));
        let feed = self.input.as_ref();
        watched.extend(feed.map(|feed| PollFd::new(&feed.writer, PollFlags::OUT)));
        match poll(&mut watched, limit.map(wire::timespec).as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
        let ended = !watched[0].revents().is_empty();
        // None of them blocks: whoever is not ready says so.
        for stream in self.outputs.iter_mut().flatten() {
            stream.take(&mut self.buffer, &mut self.tap)?;
        }
        if let Some(feed) = &mut self.input
            && feed.write()?
        {
            self.input = None;
        }
        Ok(ended)
    }

    /// Takes what was written up to now, and lets go.
    ///
    /// Somebody may have the other end of a pipe still open, and write to it for ever. `patience` is for those who are about
    /// to close it: how long they are waited for before a stream counts as [held](Captured::held_open).
    pub fn finish(mut self, patience: Duration) -> io::Result<[Captured; 2]> {
        let deadline = Instant::now() + patience;
        let mut finish = |stream: Option<Stream>| match stream {
            Some(stream) => stream.finish(&mut self.buffer, &mut self.tap, deadline),
            None => Ok(Captured::default()),
        };
        let [output, error] = self.outputs;
        Ok([finish(output)?, finish(error)?])
    }
}

/// The reading side of a pipe, until its end, and what came out of it.
#[derive(Debug)]
struct Stream {
    kind: StreamKind,
    pipe: Option<File>,
    keeper: Keeper,
    forward: Option<Forward>,
    forward_error: Option<io::Error>,
}

impl Stream {
    fn new(kind: StreamKind, (pipe, keep): (OwnedFd, Keep)) -> io::Result<Self> {
        ioctl_fionbio(&pipe, true)?;
        Ok(Self {
            kind,
            pipe: Some(pipe.into()),
            keeper: Keeper::new(keep),
            forward: None,
            forward_error: None,
        })
    }

    fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// What it waits for: room for what is to be passed on, else more.
    fn watched(&self) -> Option<PollFd<'_>> {
        if let Some(forward) = self.forward.as_ref().filter(|forward| forward.is_pending()) {
            return Some(PollFd::new(forward, PollFlags::OUT));
        }
        self.pipe
            .as_ref()
            .map(|pipe| PollFd::new(pipe, PollFlags::IN))
    }

    /// Reads once. Returns how much; 0 when there is nothing now or any more.
    fn read(&mut self, buffer: &mut [u8], tap: &mut Option<Tap>) -> io::Result<usize> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(0);
        };
        match pipe.read(buffer) {
            Ok(0) => {
                self.pipe = None;
                Ok(0)
            }
            Ok(count) => {
                let bytes = &buffer[..count];
                self.keeper.push(bytes);
                if let Some(Tap(hear)) = tap {
                    hear(self.kind, bytes);
                }
                if let Some(forward) = &mut self.forward {
                    forward.push(bytes);
                }
                Ok(count)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            },
        }
    }

    /// Takes what is there, unless that is more than one stream's share, or than can be passed on.
    fn take(&mut self, buffer: &mut [u8], tap: &mut Option<Tap>) -> io::Result<()> {
        for _ in 0..READS {
            if !self.pass_on(Forward::write) || self.read(buffer, tap)? < buffer.len() {
                break;
            }
        }
        self.pass_on(Forward::write);
        Ok(())
    }

    /// Writes on what was read. Returns whether that was all.
    fn pass_on(&mut self, write: fn(&mut Forward) -> io::Result<()>) -> bool {
        let Some(forward) = &mut self.forward else {
            return true;
        };
        if let Err(error) = write(forward) {
            self.forward_error = Some(error);
            self.forward = None;
            self.pipe = None;
            return false;
        }
        !forward.is_pending()
    }

    fn finish(
        mut self,
        buffer: &mut [u8],
        tap: &mut Option<Tap>,
        deadline: Instant,
    ) -> io::Result<Captured> {
        self.pass_on(Forward::write_all);
        // What is there now was written before; who is left may go on writing for ever.
        let mut left = match &self.pipe {
            Some(pipe) => usize::try_from(ioctl_fionread(pipe)?).unwrap_or(usize::MAX),
            None => 0,
        };
        while left > 0 {
            let most = left.min(buffer.len());
            match self.read(&mut buffer[..most], tap)? {
                0 => break,
                count => left -= count,
            }
            self.pass_on(Forward::write_all);
        }
        let held_open = match &self.pipe {
            Some(pipe) => is_held(pipe, deadline)?,
            None => false,
        };
        // Nobody can add anything any more, so this ends.
        while !held_open && self.read(buffer, tap)? > 0 {
            self.pass_on(Forward::write_all);
        }
        Ok(Captured {
            forward_error: self.forward_error,
            ..self.keeper.finish(held_open)
        })
    }
}

/// Whether anybody has the writing side of a pipe open, at the latest at the deadline.
fn is_held(pipe: &File, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // The end is told whether it is asked for or not, and nothing else is.
        let mut watched = [PollFd::new(pipe, PollFlags::empty())];
        match poll(&mut watched, Some(&wire::timespec(left))) {
            Ok(ready) => return Ok(ready == 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Bytes on their way into a pipe.
#[derive(Debug)]
struct Feed {
    writer: PipeWriter,
    /// So that writing raises no SIGPIPE when the command reads no more: its program's action is not ours to change.
    _reader: PipeReader,
    bytes: Vec<u8>,
    written: usize,
}

impl Feed {
    fn new(bytes: Vec<u8>) -> io::Result<(Option<Self>, PipeReader)> {
        let (reader, writer) = io::pipe()?;
        // The command's side of a pipe blocks as it pleases: the two are not one open file.
        ioctl_fionbio(&writer, true)?;
        let feed = Self {
            writer,
            _reader: reader.try_clone()?,
            bytes,
            written: 0,
        };
        Ok(((!feed.bytes.is_empty()).then_some(feed), reader))
    }

    /// Writes what there is room for. Returns whether that was all.
    fn write(&mut self) -> io::Result<bool> {
        while self.written < self.bytes.len() {
            match self.writer.write(&self.bytes[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn small(bytes: usize) -> Keep {
        Keep {
            head: bytes,
            tail: bytes,
            spill: None,
        }
    }

    /// What a script writes on both streams until it has ended.
    fn collect(script: &str, input: &[u8], patience: Duration) -> [Captured; 2] {
        let (stdout, out) = io::pipe().unwrap();
        let (stderr, err) = io::pipe().unwrap();
        let outputs = [stdout.into(), stderr.into()].map(|pipe| Some((pipe, small(1 << 16))));
        let mut collector = Collector::new(outputs).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::from(collector.feed(input.to_vec()).unwrap()))
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let end = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        while !collector.turn(end.as_fd(), None).unwrap() {}
        child.wait().unwrap();
        collector.finish(patience).unwrap()
    }

    #[test]
    fn a_command_that_writes_much_on_both_streams_while_it_is_fed_much_is_waited_for_by_none() {
        let input = vec![b'i'; 3_000_000];
        let script = "yes | head -c 5000000 >&2 & cat; wait";
        let [stdout, stderr] = collect(script, &input, PATIENCE);
        assert_eq!((stdout.total, stderr.total), (3_000_000, 5_000_000));
        assert!(!stdout.held_open && !stderr.held_open);
        assert!(stdout.head.iter().all(|byte| *byte == b'i'));
    }

    #[test]
    fn input_that_is_not_read_keeps_nobody() {
        let much = vec![b'x'; 1_000_000];
        let [stdout, _] = collect("echo no", &much, PATIENCE);
        assert_eq!(stdout.head, b"no\n");
        let [stdout, _] = collect("exec <&-; echo no", &much, PATIENCE);
        assert_eq!(stdout.head, b"no\n");
        let [stdout, _] = collect("cat", b"", PATIENCE);
        assert_eq!((stdout.total, stdout.held_open), (0, false));
    }

    #[test]
    fn who_stays_behind_and_writes_without_end_keeps_nobody_and_what_came_before_is_there() {
        let script = "head -c 60000 /dev/zero; echo last; exec yes >&2 &";
        let [stdout, stderr] = collect(script, b"", Duration::ZERO);
        assert_eq!(stdout.total, 60_005);
        assert!(stdout.text().ends_with("last\n"));
        // Now that nobody reads, the pipe ends it.
        assert!(stderr.held_open);
    }

    #[test]
    fn a_pipe_that_stays_open_is_told_from_one_that_does_not() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"before").unwrap();
        let (never, end) = io::pipe().unwrap();
        drop(end);
        let mut held = Collector::new([Some((reader.into(), small(100))), None]).unwrap();
        assert!(!held.is_idle());
        assert!(held.turn(never.as_fd(), None).unwrap());
        writer.write_all(b", after").unwrap();
        let [taken, none] = held.finish(Duration::ZERO).unwrap();
        assert_eq!(taken.head, b"before, after");
        assert!(taken.held_open);
        assert!(!none.held_open);

        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"all").unwrap();
        drop(writer);
        let closed = Collector::new([None, Some((reader.into(), small(100)))]).unwrap();
        let [_, taken] = closed.finish(Duration::ZERO).unwrap();
        assert_eq!((&taken.head[..], taken.held_open), (&b"all"[..], false));
    }

    #[test]
    fn a_stream_that_never_pauses_does_not_keep_the_others_waiting() {
        let (fast, mut writer) = io::pipe().unwrap();
        let (slow, mut words) = io::pipe().unwrap();
        let writing = std::thread::spawn(move || while writer.write_all(&[0; 4096]).is_ok() {});
        let pipes = [fast.into(), slow.into()].map(|pipe| Some((pipe, small(10))));
        let mut collector = Collector::new(pipes).unwrap();
        let (mut heard, end) = io::pipe().unwrap();
        words.write_all(b"word").unwrap();
        drop(end);
        // It comes to notice the end, and has the word.
        while !collector.turn(heard.as_fd(), None).unwrap() {}
        let [fast, slow] = collector.finish(Duration::ZERO).unwrap();
        assert_eq!(slow.head, b"word");
        assert!(fast.held_open && slow.held_open);
        assert_eq!(heard.read(&mut [0]).unwrap(), 0);
        writing.join().unwrap();
    }
}
