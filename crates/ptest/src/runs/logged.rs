//! The output of a run that has a log, on its way through this process: into the log, and on to where it was to go.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ptest_sandbox::{Captured, Collector, Keep, StreamKind, Tap};

use super::log::LogWriter;
use super::streams::RECORDED;
use super::taking::Taking;
use super::{Destination, RunId, Streams};
use crate::engine::{Exit, Stdio};
use crate::error::{Error, Result};
use crate::ptest::Ptest;

/// What a run with a log has besides.
#[derive(Debug)]
pub(super) struct Logged {
    writer: Arc<Mutex<LogWriter>>,
    streams: Streams,
    /// From the start of a command that is on no terminal to its end.
    taking: Mutex<Option<Taking>>,
}

impl Logged {
    /// Makes the log of a run, of at most so many bytes, and puts it between the command and its streams. The collector is
    /// to be set to work when the command runs; one on a terminal has none before [`Logged::relay`].
    pub(super) fn prepare(
        ptest: &Ptest,
        run: RunId,
        most: u64,
        stdio: Stdio,
        streams: Streams,
    ) -> Result<(Self, Stdio, Option<Collector>)> {
        let logged = Self {
            writer: Arc::new(Mutex::new(ptest.create_log(run, most)?)),
            streams,
            taking: Mutex::default(),
        };
        match stdio {
            Stdio::Descriptors {
                stdin,
                stdout,
                stderr,
            } => {
                let (mut collector, [out, error]) = logged.collector().map_err(failed)?;
                let Streams {
                    stdout: to,
                    stderr: error_to,
                    ..
                } = &logged.streams;
                for (kind, stream, descriptor) in [
                    (StreamKind::Stdout, to, stdout),
                    (StreamKind::Stderr, error_to, stderr),
                ] {
                    if stream.destination != Destination::Null {
                        collector.forward(kind, descriptor);
                    }
                }
                let stdio = Stdio::Descriptors {
                    stdin,
                    stdout: out,
                    stderr: error,
                };
                Ok((logged, stdio, Some(collector)))
            }
            terminal @ Stdio::Terminal(_) => Ok((logged, terminal, None)),
        }
    }

    /// Takes what comes from now on.
    pub(super) fn take(&self, collector: Collector) -> Result<()> {
        *self.taking() = Some(Taking::begin(collector)?);
        Ok(())
    }

    /// Takes what a terminal shows and shows it on `output`: gives the descriptor to write it to.
    pub(super) fn relay(&self, output: BorrowedFd<'_>) -> Result<OwnedFd> {
        let (mut collector, [out, _]) = self.collector().map_err(failed)?;
        collector.forward(
            StreamKind::Stdout,
            output.try_clone_to_owned().map_err(failed)?,
        );
        self.take(collector)?;
        Ok(out)
    }

    /// What was taken, the command having ended so; none the second time.
    pub(super) fn end(&self, ended: &Result<Exit>) -> Option<Streams> {
        let taking = self.taking().take()?;
        let [stdout, stderr] = taking.end(ended).ok()?;
        let mut streams = self.streams.clone();
        let writer = self.writer();
        let mut fill = |kind, captured: &Captured| {
            let stream = streams.of_kind(kind);
            stream.took(captured);
            stream.in_file = writer.kept(kind);
            stream.file_error = writer.error().cloned();
        };
        fill(StreamKind::Stdout, &stdout);
        fill(StreamKind::Stderr, &stderr);
        Some(streams)
    }

    /// Lets go of the log: nothing more comes.
    pub(super) fn close(&self) {
        self.writer().close();
    }

    /// What takes both streams into the log, and where they are written to.
    fn collector(&self) -> io::Result<(Collector, [OwnedFd; 2])> {
        let keep = || Keep {
            head: RECORDED,
            tail: RECORDED,
            spill: None,
        };
        let ((out, to_out), (error, to_error)) = (io::pipe()?, io::pipe()?);
        let outputs = [Some((out.into(), keep())), Some((error.into(), keep()))];
        let mut collector = Collector::new(outputs)?;
        let writer = Arc::clone(&self.writer);
        collector.tap(Tap::new(move |kind, bytes| {
            lock(&writer).write(kind, bytes);
        }));
        Ok((collector, [to_out.into(), to_error.into()]))
    }

    fn writer(&self) -> MutexGuard<'_, LogWriter> {
        lock(&self.writer)
    }

    fn taking(&self) -> MutexGuard<'_, Option<Taking>> {
        lock(&self.taking)
    }
}

/// A thread that panicked has at most left a piece out.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(source: io::Error) -> Error {
    Error::io("make the streams of a command", source)
}
