//! Takes the output of a command on a thread while somebody else waits for its end.
//!
//! Engines have nothing that could be polled for the end of a command beside its streams.

use std::io::{self, PipeWriter};
use std::os::fd::AsFd as _;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use ptest_sandbox::{Captured, Collector};

use crate::engine::Exit;
use crate::error::{Error, Result};

/// How long a pipe may stay open that no process of the command holds: another thread that is just starting a program has a
/// copy of everything, until that is executed.
const PATIENCE: Duration = Duration::from_millis(100);

/// The taking of what comes. Dropped, it lets go of the streams.
#[derive(Debug)]
pub(crate) struct Taking {
    ending: PipeWriter,
    thread: JoinHandle<io::Result<Collector>>,
}

impl Taking {
    pub(crate) fn begin(mut collector: Collector) -> Result<Self> {
        let (end, ending) = io::pipe().map_err(failed)?;
        let taking = Builder::new().name("output".to_owned()).spawn(move || {
            while !collector.turn(end.as_fd(), None)? {}
            Ok(collector)
        });
        Ok(Self {
            ending,
            thread: taking.map_err(failed)?,
        })
    }

    /// What was taken of both streams, the command having ended so.
    pub(crate) fn end(self, ended: &Result<Exit>) -> Result<[Captured; 2]> {
        drop(self.ending);
        let panicked = |_| Err(io::Error::other("the thread that takes it panicked"));
        let taken = self.thread.join().unwrap_or_else(panicked);
        taken
            .and_then(|collector| collector.finish(patience(ended)))
            .map_err(failed)
    }
}

/// How long is waited for a stream that somebody still holds.
fn patience(ended: &Result<Exit>) -> Duration {
    match ended {
        // Somebody may hold what it left open for ever.
        Ok(exit) if exit.leaked > 0 => Duration::ZERO,
        _ => PATIENCE,
    }
}

fn failed(source: io::Error) -> Error {
    Error::io("take the output of a command", source)
}
