//! Following the log of a run until it has ended.
//!
//! Woken by the kernel: the file was written or let go of (inotify(7)), or the process that writes it has ended (its pidfd).

use std::os::fd::OwnedFd;

use ptest_sandbox::StreamKind;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{LogReader, RunRecord, table};
use crate::error::{Error, Result};
use crate::ptest::Ptest;

/// Gives a log piece by piece as it is written. Costs nothing while nothing is.
#[derive(Debug)]
pub struct LogFollower {
    ptest: Ptest,
    run: RunRecord,
    reader: LogReader,
    writes: OwnedFd,
    /// Whoever writes; none when that has ended.
    client: Option<OwnedFd>,
}

impl Ptest {
    /// Follows the log of a run to its end.
    pub fn follow_log(&self, run: &RunRecord) -> Result<LogFollower> {
        let path = self.log_path(run.id);
        let reader = self.log(run.id)?;
        let failed = |errno: Errno| Error::io(format!("watch {}", path.display()), errno.into());
        let writes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed)?;
        inotify::add_watch(&writes, &path, WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE)
            .map_err(failed)?;
        let pid = i32::try_from(run.client.pid).ok().and_then(Pid::from_raw);
        let client = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // Asked when it is open: the number may have been another's before.
        let is_alive = run.client.is_alive(&self.identity().boot_id);
        Ok(LogFollower {
            ptest: self.clone(),
            run: run.clone(),
            reader,
            writes,
            client: client.filter(|_| is_alive),
        })
    }
}

impl LogFollower {
    /// The next piece; waits for one. None when the run has ended and all was given.
    pub fn piece(&mut self) -> Result<Option<(StreamKind, Vec<u8>)>> {
        loop {
            if let Some(piece) = self.reader.piece()? {
                return Ok(Some(piece));
            }
            let has_ended = self.has_ended()?;
            // Once more: what was written up to the end is there now.
            let piece = self.reader.piece()?;
            if piece.is_some() || has_ended {
                return Ok(piece);
            }
            self.wait()?;
        }
    }

    /// Whether the run has ended. One whose client is dead has.
    fn has_ended(&mut self) -> Result<bool> {
        let database = self.ptest.store().database();
        if table::has_ended(database, self.run.id)? {
            return Ok(true);
        }
        if self.client.is_none() {
            self.ptest.lose_runs()?;
            return Ok(true);
        }
        Ok(false)
    }

    fn wait(&mut self) -> Result<()> {
        let mut watched = vec![PollFd::new(&self.writes, PollFlags::IN)];
        watched.extend(
            self.client
                .iter()
                .map(|client| PollFd::new(client, PollFlags::IN)),
        );
        match poll(&mut watched, None) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(Error::io("wait for a log", errno.into())),
        }
        let is_dead = watched
            .get(1)
            .is_some_and(|client| !client.revents().is_empty());
        drop(watched);
        let mut bytes = [0; 4096];
        // How often it was written makes no difference.
        while rustix::io::read(&self.writes, &mut bytes).is_ok_and(|count| count > 0) {}
        if is_dead {
            self.client = None;
        }
        Ok(())
    }
}
