//! Finds and ends processes by their ancestry, as procfs shows it.
//!
//! A process group misses what calls setsid, and nothing but init's own end reaches everything;
//! the ancestry reaches everything of one command, because its leader adopts what it leaves behind.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::sys;

/// How long processes may take to die where the kernel does not see to it.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// One line of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    group: i32,
    pub(super) state: u8,
    ticks: u64,
    threads: u64,
    /// When it was started, in ticks since the machine booted.
    pub(super) started: u64,
    resident_pages: u64,
}

impl Process {
    /// Neither dead nor about to be.
    ///
    /// One whose first thread has ended looks like a dead one, but goes on while it has others.
    pub(super) fn is_alive(&self) -> bool {
        match self.state {
            b'Z' => self.threads > 1,
            state => !matches!(state, b'X' | b'x'),
        }
    }

    /// Whether it is in this process group.
    pub(super) fn is_in_group(&self, group: i32) -> bool {
        self.group == group
    }

    /// Whether a signal has stopped it.
    pub(super) fn is_stopped_by_signal(&self) -> bool {
        self.state == b'T'
    }

    /// Whether none of its threads can do anything before it is continued.
    pub(super) fn is_stopped(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            // It has ended meanwhile.
            return true;
        };
        threads.flatten().all(|thread| {
            let stat = fs::read(thread.path().join("stat")).unwrap_or_default();
            match parse(&stat).map(|thread| thread.state) {
                None | Some(b'T' | b't' | b'Z' | b'X' | b'x') => true,
                // A parent in vfork does not stop, but waits for its child, which does.
                Some(b'D') => fs::read_to_string(thread.path().join("syscall"))
                    .is_ok_and(|call| is_duplication(&call)),
                Some(_) => false,
            }
        })
    }

    /// Processor time of it and of the children that it has waited for.
    pub(super) fn cpu_time(&self) -> Duration {
        let per_second = sys::constant(libc::_SC_CLK_TCK).max(1);
        Duration::from_micros(self.ticks.saturating_mul(1_000_000) / per_second)
    }

    /// How many threads it has.
    pub(super) fn threads(&self) -> u64 {
        self.threads
    }

    /// What it has caused to be read from disks and written to them, in bytes: proc_pid_io(5).
    pub(super) fn transfers(&self) -> (u64, u64) {
        let text = fs::read_to_string(format!("/proc/{}/io", self.pid)).unwrap_or_default();
        let field = |name: &str| -> Option<u64> {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let bytes = |name| field(name).unwrap_or_default();
        (bytes("read_bytes:"), bytes("write_bytes:"))
    }

    /// Resident memory, each shared page counted in part, where that is to be known: proc_pid_smaps_rollup(5). Takes longer to
    /// find out.
    pub(super) fn memory_share(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.pid);
        let text = fs::read_to_string(path).unwrap_or_default();
        let share = text.lines().find_map(|line| {
            let kibibytes = line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?;
            kibibytes.parse::<u64>().ok()
        });
        share.map_or_else(|| self.memory_bytes(), |kibibytes| kibibytes << 10)
    }

    /// Resident memory, shared pages included.
    pub(super) fn memory_bytes(&self) -> u64 {
        let pages = match self.state {
            // Its first thread has none any more, the others have.
            b'Z' => self.resident_pages_of_threads(),
            _ => self.resident_pages,
        };
        pages.saturating_mul(sys::constant(libc::_SC_PAGESIZE))
    }

    fn resident_pages_of_threads(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid));
        let stats = threads.into_iter().flatten().flatten();
        let threads = stats.filter_map(|thread| parse(&fs::read(thread.path().join("stat")).ok()?));
        threads
            .map(|thread| thread.resident_pages)
            .max()
            .unwrap_or_default()
    }
}

/// Every process that procfs shows. One that ends meanwhile may be missing.
pub(super) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let stats = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.parse::<i32>().ok()?;
        fs::read(format!("/proc/{name}/stat")).ok()
    });
    stats.filter_map(|stat| parse(&stat)).collect()
}

/// One process, dead or alive, unless it was waited for.
pub(super) fn find(pid: i32) -> Option<Process> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The living descendants of a process, itself not among them.
pub(super) fn descendants(of: i32) -> Vec<Process> {
    let mut found = family(of);
    found.retain(Process::is_alive);
    found
}

/// The descendants of a process, with those that have ended and were not waited for.
pub(super) fn family(of: i32) -> Vec<Process> {
    let mut rest = all();
    let mut known = HashSet::from([of]);
    let mut found = Vec::new();
    loop {
        let (children, others): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|process| known.contains(&process.parent));
        if children.is_empty() {
            return found;
        }
        known.extend(children.iter().map(|process| process.pid));
        found.extend(children);
        rest = others;
    }
}

/// The descendants of a process, dead ones too, by the kernel's lists of children. Takes no longer for what else there is on
/// the machine, but may miss some while others end: for figures, not for ending anything.
pub(super) fn offspring(of: i32) -> Option<Vec<Process>> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![(of, 1)];
    while let Some((parent, threads)) = parents.pop() {
        let threads = match threads {
            0 | 1 => vec![parent],
            _ => threads_of(parent),
        };
        for thread in threads {
            let list = fs::read_to_string(format!("/proc/{parent}/task/{thread}/children"));
            let list = match list {
                Ok(list) => list,
                // The kernel keeps none.
                Err(_) if parent == of => return None,
                Err(_) => continue,
            };
            let ids = list
                .split_ascii_whitespace()
                .filter_map(|id| id.parse().ok());
            let children: Vec<Process> = ids.filter_map(find).collect();
            parents.extend(children.iter().map(|child| (child.pid, child.threads)));
            found.extend(children);
        }
    }
    Some(found)
}

fn threads_of(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let ids = threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    ids.collect()
}

/// Signals the living descendants of a process once. Returns how many there were.
///
/// They may have had children meanwhile: to end them all, repeat until there are none.
pub(super) fn signal_descendants(of: i32, signal: i32) -> usize {
    let found = descendants(of);
    for process in &found {
        // One that has just ended is what the caller wants.
        let _gone = sys::kill(process.pid, signal);
    }
    found.len()
}

/// Kills every descendant of this process, which adopts what loses its parent, until none is left.
pub(super) fn kill_descendants(own: Pid) {
    let own = own.as_raw_nonzero().get();
    let deadline = Instant::now() + KILL_LIMIT;
    while signal_descendants(own, libc::SIGKILL) > 0 && Instant::now() < deadline {
        while matches!(sys::wait_any(false, false), Ok(Some(_))) {}
        std::thread::yield_now();
    }
}

/// Whether a line of `/proc/N/syscall` says that the thread is creating a process.
fn is_duplication(call: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    const CALLS: [i64; 3] = [libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3];
    #[cfg(not(target_arch = "x86_64"))]
    const CALLS: [i64; 2] = [libc::SYS_clone, libc::SYS_clone3];
    let number = call
        .split_ascii_whitespace()
        .next()
        .and_then(|number| number.parse().ok());
    number.is_some_and(|number: i64| CALLS.contains(&number))
}

/// Reads a line of `/proc/N/stat`. The name in it may contain anything, brackets too.
fn parse(stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let digits = stat.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let pid = std::str::from_utf8(&stat[..digits]).ok()?.parse().ok()?;
    let rest = std::str::from_utf8(stat.get(end + 2..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // Counted from the state, which is the third field of the line.
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        state: *fields.first()?.as_bytes().first()?,
        ticks,
        threads: number(17)?,
        started: number(19)?,
        resident_pages: number(21)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_spaces_and_other_bytes_do_not_confuse() {
        let mut line =
            b"42 (a) R 7 \xff(x) S 7 41 42 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5 6 70"
                .to_vec();
        line.extend(b" 8 9\n");
        let process = parse(&line).unwrap();
        assert_eq!((process.pid, process.parent, process.state), (42, 7, b'S'));
        assert!(process.is_in_group(41));
        let numbers = (process.ticks, process.threads, process.started);
        assert_eq!(numbers, (100, 1, 5));
        assert_eq!(process.resident_pages, 70);
    }

    #[test]
    fn a_child_is_among_its_parents_descendants_until_it_is_dead() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let own = std::process::id() as i32;
        assert!(descendants(own).iter().any(|process| process.pid == pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants(own).iter().any(|process| process.pid == pid));
    }

    #[test]
    fn the_kernels_lists_of_children_show_a_whole_family() {
        let script = "sleep 100 & sh -c 'sleep 100; true' & wait";
        let mut shell = std::process::Command::new("sh")
            .args(["-c", script])
            .spawn()
            .unwrap();
        let pid = shell.id() as i32;
        let ids = |mut found: Vec<Process>| {
            found.sort_by_key(|process| process.pid);
            found.iter().map(|process| process.pid).collect::<Vec<_>>()
        };
        let end = Instant::now() + Duration::from_mins(1);
        while family(pid).len() < 3 {
            assert!(Instant::now() < end);
        }
        if let Some(found) = offspring(pid) {
            assert_eq!(ids(found), ids(family(pid)));
        }
        while signal_descendants(pid, libc::SIGKILL) > 0 {}
        shell.wait().unwrap();
    }
}
