//! Relays a command's terminal to the caller's own.
//!
//! The caller's terminal is in raw mode meanwhile, so that every key reaches the command, and is
//! given back as it was however the relay ends. Job control is passed through: when the command
//! stops, so does this process, and both go on together. In the background of the caller's shell
//! the terminal is left alone: output passes, and keys are the command's when it comes to the front.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{
    OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::client::system;
use crate::error::{Error, Result};
use crate::protocol::{Exit, TerminalSize};
use crate::run::{Event, Run};
use crate::sys::SignalPipe;
use crate::wire;

/// How long output must be silent after the command ended, when something still holds its terminal.
const SILENCE: Duration = Duration::from_millis(100);
/// How often a relay in the background looks whether it has come to the front: no signal tells it.
const BACKGROUND: Duration = Duration::from_millis(100);
/// The size of a terminal that does not know its own.
const USUAL_SIZE: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};

/// The size of the caller's terminal.
pub fn size(terminal: BorrowedFd<'_>) -> TerminalSize {
    match tcgetwinsize(terminal) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => TerminalSize {
            rows: size.ws_row,
            columns: size.ws_col,
        },
        _ => USUAL_SIZE,
    }
}

/// Relays until the command has ended and its output is through.
///
/// `input` is the caller's terminal. Only one relay can run in a process at a time, since it
/// takes over the signals of the terminal. SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGTSTP that reach
/// this process are passed on to the command.
pub fn relay(run: &Run, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<Exit> {
    let controller = run.terminal().ok_or(Error::Invalid {
        what: "command without a terminal",
        value: "".into(),
    })?;
    let failed = |source: Errno| system("relay the terminal", source);
    let flags = fcntl_getfl(controller).map_err(failed)?;
    fcntl_setfl(controller, flags | OFlags::NONBLOCK).map_err(failed)?;
    let handled = [
        libc::SIGWINCH,
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        // It stops the command, and this process only with that, when the terminal is given back.
        libc::SIGTSTP,
    ];
    let signals =
        SignalPipe::open(&handled).map_err(|source| system("take over signals", source))?;
    let mut relay = Relay {
        run,
        input,
        output,
        controller,
        signals,
        raw: None,
        typed: Vec::new(),
        input_open: true,
    };
    relay.resize();
    loop {
        if let Some(exit) = relay.turn()? {
            relay.drain()?;
            return Ok(exit);
        }
    }
}

struct Relay<'a> {
    run: &'a Run,
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    controller: BorrowedFd<'a>,
    signals: SignalPipe,
    /// The terminal's mode to go back to; none in the background.
    raw: Option<Raw<'a>>,
    /// What was typed and the command has not taken yet.
    typed: Vec<u8>,
    input_open: bool,
}

impl Relay<'_> {
    /// Waits for something and deals with it. Returns the end of the command when that was it.
    fn turn(&mut self) -> Result<Option<Exit>> {
        if self.raw.is_none() && in_foreground(self.input) {
            self.raw = Some(Raw::enter(self.input)?);
            self.resize();
        }
        let wanted = if self.typed.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        };
        let input = if self.raw.is_some() && self.input_open && self.typed.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut polled = [
            PollFd::from_borrowed_fd(self.run.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.controller, wanted),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.input, input),
        ];
        // A descriptor with nothing to wait for would still report its end, again and again.
        let count = if input.is_empty() { 3 } else { 4 };
        let patience = self.raw.is_none().then_some(BACKGROUND);
        let patience = patience.into_iter().chain(self.run.left()).min();
        match poll(&mut polled[..count], patience.map(wire::timespec).as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(None),
            Err(source) => return Err(system("relay the terminal", source)),
        }
        let [news, controller, signals, input] = polled.map(|one| one.revents());
        if controller.intersects(PollFlags::IN | PollFlags::HUP) {
            self.pass_output()?;
        }
        if controller.contains(PollFlags::OUT) {
            self.pass_input();
        }
        for signal in if signals.is_empty() {
            Vec::new()
        } else {
            self.signals.take()
        } {
            match signal {
                libc::SIGWINCH => self.resize(),
                other => self.run.signal_group(other)?,
            }
        }
        if count == 4 && !input.is_empty() {
            self.read_input();
        }
        let is_overdue = self.run.left() == Some(Duration::ZERO);
        if news.is_empty() && !is_overdue {
            return Ok(None);
        }
        match self.run.event(Some(Duration::ZERO))? {
            Some(Event::Exited(exit)) => Ok(Some(exit)),
            Some(Event::Stopped(_)) => self.stop_together().map(|()| None),
            None => Ok(None),
        }
    }

    /// Passes on what the command has written. Returns whether there can be more.
    fn pass_output(&self) -> Result<bool> {
        let mut buffer = [0; 16 << 10];
        match rustix::io::read(self.controller, &mut buffer) {
            Ok(0) | Err(Errno::IO) => Ok(false),
            Ok(count) => write_all(self.output, &buffer[..count]).map(|()| true),
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            Err(source) => Err(system("read the command's terminal", source)),
        }
    }

    fn pass_input(&mut self) {
        match rustix::io::write(self.controller, &self.typed) {
            Ok(count) => drop(self.typed.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody has the terminal open any more.
            Err(_) => self.typed.clear(),
        }
    }

    fn read_input(&mut self) {
        let mut buffer = [0; 4 << 10];
        match rustix::io::read(self.input, &mut buffer) {
            Ok(count) if count > 0 => {
                self.typed.extend_from_slice(&buffer[..count]);
                self.pass_input();
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => self.input_open = false,
        }
    }

    fn resize(&self) {
        if let Ok(size) = tcgetwinsize(self.input) {
            // The command is told by the kernel. Without a terminal nobody needs to be.
            let _gone = tcsetwinsize(self.controller, size);
        }
    }

    /// Stops this process as the command was stopped, and goes on with it.
    fn stop_together(&mut self) -> Result<()> {
        while self.pass_pending()? {}
        drop(self.raw.take());
        // The whole job: others may share the pipeline.
        crate::sys::stop_job().map_err(|source| system("stop this process", source))?;
        // Back in the foreground, or continued in the background: the next turn sees.
        self.run.signal_group(libc::SIGCONT)
    }

    /// Passes on one piece of output that is there already. Returns whether there was one.
    fn pass_pending(&self) -> Result<bool> {
        let ready = wire::wait_for(self.controller, PollFlags::IN, Some(Duration::ZERO)).is_ok();
        Ok(ready && self.pass_output()?)
    }

    /// Passes on what the command wrote before it ended.
    fn drain(&self) -> Result<()> {
        while wire::wait_for(self.controller, PollFlags::IN, Some(SILENCE)).is_ok() {
            if !self.pass_output()? {
                break;
            }
        }
        Ok(())
    }
}

/// Whether this process may change the terminal's mode without being stopped for that. What is not
/// this process's terminal has no foreground.
fn in_foreground(terminal: BorrowedFd<'_>) -> bool {
    tcgetpgrp(terminal).map_or(true, |group| group == getpgrp())
}

/// A terminal in raw mode. Dropping it gives the terminal its mode back.
struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Option<Termios>,
}

impl<'a> Raw<'a> {
    /// Something that is not a terminal has no mode, and none is changed.
    fn enter(terminal: BorrowedFd<'a>) -> Result<Self> {
        let Ok(before) = tcgetattr(terminal) else {
            return Ok(Self {
                terminal,
                before: None,
            });
        };
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Now, &raw)
            .map_err(|source| system("change the terminal's mode", source))?;
        Ok(Self {
            terminal,
            before: Some(before),
        })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The terminal may be gone.
            let _gone = tcsetattr(self.terminal, OptionalActions::Now, before);
        }
    }
}

fn write_all(output: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(output, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                wire::wait_for(output, PollFlags::OUT, None).map_err(|error| {
                    Error::wire("write the command's output", error, Duration::MAX)
                })?;
            }
            Err(source) => return Err(system("write the command's output", source)),
        }
    }
    Ok(())
}
