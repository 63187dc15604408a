//! Opens a pseudo-terminal inside the sandbox.
//!
//! It must be opened here: a terminal of the host can never become the controlling one of a
//! session inside. What happens on it is the client's business.

use std::os::fd::OwnedFd;

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::init::AtStage as _;
use crate::protocol::{Failure, Stage, TerminalSize};

/// Both sides of a terminal.
pub(super) struct Terminal {
    /// The side that controls it.
    pub(super) controller: OwnedFd,
    /// Standard input, output and error of the command.
    pub(super) descriptors: [OwnedFd; 3],
}

/// Opens a terminal of the given size.
pub(super) fn open(size: TerminalSize) -> Result<Terminal, Failure> {
    let opened = || -> rustix::io::Result<Terminal> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags)?;
        unlockpt(&controller)?;
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&controller, size)?;
        let side = ioctl_tiocgptpeer(&controller, flags)?;
        let copy = || rustix::io::fcntl_dupfd_cloexec(&side, 3);
        let descriptors = [copy()?, copy()?, side];
        Ok(Terminal {
            controller,
            descriptors,
        })
    };
    opened().at(Stage::Terminal, "/dev/ptmx")
}
