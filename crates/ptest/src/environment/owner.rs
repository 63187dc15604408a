//! Who an environment lives for, and whether that process still lives.
//!
//! A pid alone is reused; with its start time and the boot id it never is.

use std::fs;

use ptest_sandbox::identity::{parent, start_time};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Who an environment lives for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Owner {
    /// It dies with this process.
    Process(ProcessIdentity),
    /// It lives until it is removed.
    Detached,
}

impl Owner {
    /// The word used in messages and JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Detached => "detached",
        }
    }
}

/// One process among all that ever ran on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
}

impl ProcessIdentity {
    /// The identity of the calling process.
    pub fn current() -> Result<Self> {
        Self::of(std::process::id())
    }

    /// The identity of a running process.
    pub fn of(pid: u32) -> Result<Self> {
        let start_time = start_time(pid)
            .map_err(|source| Error::io(format!("read the start time of process {pid}"), source))?;
        Ok(Self {
            boot_id: boot_id()?,
            pid,
            start_time,
        })
    }

    /// The identity of the program that a running process is of.
    ///
    /// A process that runs the same file with the same arguments as its parent is taken for a copy of it that has executed
    /// nothing: a shell makes such ones for parts of a script, as in `$(ptest port acquire | head -1)`, and they end at once.
    /// Then it is the parent's, and so on.
    pub fn of_program(pid: u32) -> Result<Self> {
        let mut pid = pid;
        while let Some(parent) = copied_from(pid) {
            pid = parent;
        }
        Self::of(pid)
    }

    /// Whether that very process still runs. A zombie does not.
    pub fn is_alive(&self, boot_id: &str) -> bool {
        self.boot_id == boot_id && start_time(self.pid).is_ok_and(|start| start == self.start_time)
    }
}

/// The parent of a process that is a mere copy of it.
fn copied_from(pid: u32) -> Option<u32> {
    let program = |pid: u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let file = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        Some((arguments, file))
    };
    let parent = parent(pid).ok()?;
    (program(pid)? == program(parent)?).then_some(parent)
}

/// The kernel's id of this boot.
pub fn boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    fs::read_to_string(PATH)
        .map(|text| text.trim().to_owned())
        .map_err(|source| Error::io(format!("read {PATH}"), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_its_pid_with_another_start_is_not() {
        let me = ProcessIdentity::current().unwrap();
        assert!(me.is_alive(&me.boot_id));
        let earlier = ProcessIdentity {
            start_time: me.start_time - 1,
            ..me.clone()
        };
        assert!(!earlier.is_alive(&me.boot_id));
    }

    #[test]
    fn a_process_of_another_boot_is_dead() {
        let me = ProcessIdentity::current().unwrap();
        assert!(!me.is_alive("another boot"));
    }

    #[test]
    fn a_part_of_a_script_is_the_scripts_and_what_it_runs_is_not() {
        // Of its own accord the shell gives what it leaves running nothing to read, and so to wait for.
        let script = "exec 3<&0; (read line <&3; true) & read line";
        let mut shell = std::process::Command::new("sh")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let children = || {
            let path = format!("/proc/{0}/task/{0}/children", shell.id());
            fs::read_to_string(path).unwrap()
        };
        while children().is_empty() {
            std::thread::yield_now();
        }
        let part = children().trim().parse().unwrap();
        assert_eq!(ProcessIdentity::of_program(part).unwrap().pid, shell.id());
        let itself = ProcessIdentity::of_program(shell.id()).unwrap();
        assert_eq!(itself.pid, shell.id());
        shell.kill().unwrap();
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let started = start_time(pid).unwrap();
        let identity = |start| ProcessIdentity {
            boot_id: String::new(),
            pid,
            start_time: start,
        };
        drop(child.stdin.take());
        // A zombie has no start time to be told by.
        while start_time(pid).is_ok() {
            std::thread::yield_now();
        }
        assert!(!identity(started).is_alive(""));
        child.wait().unwrap();
    }
}
