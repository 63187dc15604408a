//! What is kept of the output of a run, from its log or else from its record: all of it, or some lines, or as it comes.

use std::collections::VecDeque;

use ptest_sandbox::StreamKind;

use super::{Destination, LogFollower, LogReader, RunRecord, Stream, table};
use crate::error::{Error, ErrorKind, Result};
use crate::ptest::Ptest;

/// Which of the output of a run is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputFilter {
    /// Of this stream only.
    pub stream: Option<StreamKind>,
    /// Which lines of that.
    pub lines: Lines,
    /// With what comes until the run has ended.
    pub follow: bool,
}

/// Some lines of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lines {
    /// All of them.
    #[default]
    All,
    /// So many at the beginning.
    First(u64),
    /// So many at the end, as far as there is one.
    Last(u64),
}

/// A piece of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What was written.
    Bytes(StreamKind, Vec<u8>),
    /// So many bytes that are not kept.
    LeftOut(StreamKind, u64),
}

/// Gives the output of a run, piece by piece.
#[derive(Debug)]
pub struct RunOutput {
    ptest: Ptest,
    run: RunRecord,
    filter: OutputFilter,
    source: Source,
    /// How many lines are passed over before.
    skip: u64,
    /// How many lines are left to give.
    left: Option<u64>,
}

#[derive(Debug)]
enum Source {
    Read(LogReader),
    Followed(Box<LogFollower>),
    /// What the log has not got, at its end.
    Record(VecDeque<Piece>),
}

impl Ptest {
    /// The output of a run, as far as it is kept.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when none is, because ptest did not take it.
    pub fn output(&self, run: &RunRecord, filter: OutputFilter) -> Result<RunOutput> {
        let streams = &run.streams;
        let is_taken = |stream: &Stream| matches!(stream.destination, Destination::Taken { .. });
        let source = if streams.log {
            if filter.follow {
                Source::Followed(Box::new(self.follow_log(run)?))
            } else {
                Source::Read(self.log(run.id)?)
            }
        } else if is_taken(&streams.stdout) || is_taken(&streams.stderr) {
            Source::Record(recorded(run, filter.stream))
        } else {
            return Err(not_kept(run));
        };
        let (skip, left) = match filter.lines {
            Lines::All => (0, None),
            Lines::First(count) => (0, Some(count)),
            Lines::Last(count) => (self.count_lines(run, filter)?.saturating_sub(count), None),
        };
        Ok(RunOutput {
            ptest: self.clone(),
            run: run.clone(),
            filter,
            source,
            skip,
            left,
        })
    }

    /// How many lines there are now. A beginning of one is one.
    fn count_lines(&self, run: &RunRecord, filter: OutputFilter) -> Result<u64> {
        let all = OutputFilter {
            lines: Lines::All,
            follow: false,
            ..filter
        };
        let mut output = self.output(run, all)?;
        let (mut count, mut last) = (0, b'\n');
        while let Some(piece) = output.piece()? {
            if let Piece::Bytes(_, bytes) = piece {
                count += bytes.split(|byte| *byte == b'\n').skip(1).count() as u64;
                last = bytes.last().copied().unwrap_or(last);
            }
        }
        Ok(count + u64::from(last != b'\n'))
    }
}

impl RunOutput {
    /// The next piece; waits for one if it follows. None at the end.
    pub fn piece(&mut self) -> Result<Option<Piece>> {
        while self.left != Some(0) {
            let Some(piece) = self.any_piece()? else {
                return Ok(None);
            };
            if let Some(piece) = self.select(piece) {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    fn any_piece(&mut self) -> Result<Option<Piece>> {
        let piece = match &mut self.source {
            Source::Read(reader) => reader.piece()?,
            Source::Followed(follower) => follower.piece()?,
            Source::Record(rest) => return Ok(rest.pop_front()),
        };
        if let Some((kind, bytes)) = piece {
            return Ok(Some(Piece::Bytes(kind, bytes)));
        }
        let database = self.ptest.store().database();
        // It may have ended meanwhile.
        if let Some(run) = table::by_id(database, self.run.id)? {
            self.run = run;
        }
        let mut rest = recorded(&self.run, self.filter.stream);
        let first = rest.pop_front();
        self.source = Source::Record(rest);
        Ok(first)
    }

    /// What of a piece is asked for.
    fn select(&mut self, piece: Piece) -> Option<Piece> {
        let (kind, mut bytes) = match piece {
            Piece::Bytes(kind, bytes) => (kind, bytes),
            left_out @ Piece::LeftOut(..) => return (self.skip == 0).then_some(left_out),
        };
        if self.filter.stream.is_some_and(|only| only != kind) {
            return None;
        }
        while self.skip > 0 {
            let end = bytes.iter().position(|byte| *byte == b'\n')?;
            bytes.drain(..=end);
            self.skip -= 1;
        }
        if let Some(left) = &mut self.left {
            let is_end = |byte: &u8| {
                *left -= u64::from(*byte == b'\n');
                *left == 0
            };
            if let Some(end) = bytes.iter().position(is_end) {
                bytes.truncate(end + 1);
            }
        }
        (!bytes.is_empty()).then_some(Piece::Bytes(kind, bytes))
    }
}

/// What the record has that the log has not: all that it has if there is no log.
fn recorded(run: &RunRecord, only: Option<StreamKind>) -> VecDeque<Piece> {
    let streams = &run.streams;
    let both = [
        (StreamKind::Stdout, &streams.stdout),
        (StreamKind::Stderr, &streams.stderr),
    ];
    let mut pieces = VecDeque::new();
    for (kind, stream) in both {
        if only.is_some_and(|only| only != kind) {
            continue;
        }
        let Some(total) = stream.total else {
            continue;
        };
        let logged = if streams.log { stream.in_file } else { 0 };
        let known = stream.head.len().min(logged as usize);
        let given = logged.max(stream.head.len() as u64);
        pieces.push_back(Piece::Bytes(kind, stream.head[known..].to_vec()));
        let tail_begins = total - stream.tail.len() as u64;
        if given < tail_begins {
            pieces.push_back(Piece::LeftOut(kind, tail_begins - given));
        }
        let known = given.saturating_sub(tail_begins) as usize;
        pieces.push_back(Piece::Bytes(
            kind,
            stream.tail[known.min(stream.tail.len())..].to_vec(),
        ));
    }
    pieces.retain(|piece| !matches!(piece, Piece::Bytes(_, bytes) if bytes.is_empty()));
    pieces
}

fn not_kept(run: &RunRecord) -> Error {
    let (stdout, stderr) = (
        &run.streams.stdout.destination,
        &run.streams.stderr.destination,
    );
    let led = if stdout == stderr {
        format!("it went to {stdout}")
    } else {
        format!("it went to {stdout}, and the errors to {stderr}")
    };
    Error::new(
        ErrorKind::NotFound,
        format!("the output of run {} was not kept: {led}", run.id),
    )
    .with_hint("`--log` of `ptest exec` and `ptest run` keeps it")
}
