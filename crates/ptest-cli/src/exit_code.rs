//! The codes that `ptest` ends with. They are part of its interface.
//!
//! `run`, `exec` and `shell` end with the command's own code; the codes here say that there is none to pass on. They
//! are those of `timeout`, `env` and `docker run`.

/// Everything was done.
pub const SUCCESS: u8 = 0;
/// The command did its work, and what it reports is not in order (`verify`, `doctor`, `apply`).
pub const FINDINGS: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The command ran longer than its timeout and was ended.
pub const TIMED_OUT: u8 = 124;
/// ptest itself failed; what it began has been undone.
pub const FAILED: u8 = 125;
/// The command was found but cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended the command.
pub const SIGNAL_BASE: u8 = 128;
/// Nobody reads standard output any more: what a program shows that SIGPIPE ends.
pub const BROKEN_PIPE: u8 = SIGNAL_BASE + 13;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    Findings,
    Usage,
    TimedOut,
    Failed,
    NotExecutable,
    NotFound,
    BrokenPipe,
    /// The command ended by itself, with this code.
    Command(u8),
    /// The command, or ptest before it, was ended by this signal.
    Signal(i32),
}

impl Exit {
    /// The code for it.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Success => SUCCESS,
            Self::Findings => FINDINGS,
            Self::Usage => USAGE,
            Self::TimedOut => TIMED_OUT,
            Self::Failed => FAILED,
            Self::NotExecutable => NOT_EXECUTABLE,
            Self::NotFound => NOT_FOUND,
            Self::BrokenPipe => BROKEN_PIPE,
            Self::Command(code) => code,
            // Signals end at 64, so that this never wraps.
            Self::Signal(signal) => SIGNAL_BASE.wrapping_add(signal as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_scripts_rely_on() {
        let codes: Vec<u8> = [
            Exit::Success,
            Exit::Findings,
            Exit::Usage,
            Exit::TimedOut,
            Exit::Failed,
            Exit::NotExecutable,
            Exit::NotFound,
            Exit::BrokenPipe,
            Exit::Command(42),
            Exit::Signal(9),
            Exit::Signal(15),
        ]
        .into_iter()
        .map(Exit::number)
        .collect();
        assert_eq!(codes, [0, 1, 2, 124, 125, 126, 127, 141, 42, 137, 143]);
    }
}
