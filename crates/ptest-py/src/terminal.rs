//! A command on the terminal of this process.

use std::io;
use std::os::fd::AsFd as _;

use ptest::engine::{Command, Stdio, TerminalSize};
use ptest_report::ExitDto;
use pyo3::prelude::*;

use crate::document::dictionary;
use crate::environment::Environment;
use crate::error::Result;
use crate::host::Host;
use crate::run::Asked;

#[pymethods]
impl Environment {
    /// Runs a command on a terminal of its own, which standard input and output are connected with until it ends. Signals
    /// are the command's meanwhile.
    fn on_terminal<'py>(&self, py: Python<'py>, asked: Asked) -> Result<Bound<'py, PyAny>> {
        let host = Host::now()?;
        let (_, grace) = self.times(&asked);
        let command = Command {
            working_directory: Some(asked.directory(&host)),
            arguments: asked.arguments,
            caller: host.environment.env,
            variables: asked.variables,
            stdio: Stdio::Terminal(size()),
            // A timeout for tests is not meant for the person at the keyboard.
            timeout: None,
            grace,
        };
        let exit = py.detach(|| {
            let run = self.handle().spawn(command)?;
            let (input, output) = (io::stdin(), io::stdout());
            self.handle().relay(&run, input.as_fd(), output.as_fd())
        })?;
        dictionary(py, &ExitDto::from(&exit))
    }
}

fn size() -> TerminalSize {
    // A terminal that does not know its size is what a serial line is.
    let usual = TerminalSize {
        rows: 24,
        columns: 80,
    };
    rustix::termios::tcgetwinsize(io::stdout()).map_or(usual, |size| TerminalSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}
