//! The output of a run as it comes.

use ptest::runs::RunOutput;
use ptest_report::PieceDto;
use pyo3::prelude::*;

use crate::document::Seconds;
use crate::error::Result;
use crate::stream::Stream;

/// Gives what a run writes, piece by piece, until it has ended.
#[pyclass(frozen, module = "ptest._core")]
pub(crate) struct LogFollower {
    pieces: Stream<PieceDto>,
}

impl LogFollower {
    /// Takes it on a thread of its own, no faster than it is asked for.
    pub(crate) fn new(mut output: RunOutput) -> Result<Self> {
        const AHEAD: usize = 16;
        let pieces = Stream::of("ptest-log", AHEAD, move |sent| {
            while let Some(piece) = output.piece().transpose() {
                let is_last = piece.is_err();
                if sent.send(piece.map(PieceDto::from)).is_err() || is_last {
                    break;
                }
            }
        })?;
        Ok(Self { pieces })
    }
}

#[pymethods]
impl LogFollower {
    /// The next piece; `None` if none came in that time, `False` if none comes any more.
    fn next<'py>(&self, py: Python<'py>, timeout: Option<Seconds>) -> Result<Bound<'py, PyAny>> {
        self.pieces.next(py, timeout)
    }
}
