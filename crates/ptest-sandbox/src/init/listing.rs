//! The processes of commands as a client gets them: bounded, with words for people.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read as _;

use crate::init::processes::Process;
use crate::protocol::{Listed, Listing};

/// How many are listed at most, and how much of the words of each.
const MOST: usize = 1000;
const LONGEST: u64 = 512;

/// The list of processes, each after its parent.
pub(super) fn of(processes: &[Process]) -> Listing {
    let ids: HashSet<i32> = processes.iter().map(|process| process.pid).collect();
    let parent = |process: &Process| Some(process.parent).filter(|parent| ids.contains(parent));
    let mut children: BTreeMap<Option<i32>, Vec<&Process>> = BTreeMap::new();
    for process in processes {
        children.entry(parent(process)).or_default().push(process);
    }
    let mut listed: Vec<&Process> = Vec::new();
    let mut pending = Vec::new();
    let mut next = Some(None);
    while let Some(of) = next {
        let mut found = children.remove(&of).unwrap_or_default();
        // The stack gives the last first.
        found.sort_unstable_by_key(|process| std::cmp::Reverse((process.started, process.pid)));
        pending.extend(found);
        next = pending.pop().map(|process| {
            listed.push(process);
            Some(process.pid)
        });
    }
    let left_out = processes.len().saturating_sub(MOST) as u32;
    listed.truncate(MOST);
    let processes = listed.into_iter().map(|process| Listed {
        pid: process.pid,
        parent: parent(process),
        started: process.started,
        state: process.state.into(),
        threads: process.threads() as u32,
        cpu_time: process.cpu_time(),
        memory_bytes: process.memory_bytes(),
        command: command(process.pid),
    });
    Listing {
        processes: processes.collect(),
        left_out,
    }
}

fn command(pid: i32) -> String {
    let arguments = start_of(&format!("/proc/{pid}/cmdline"));
    let words = arguments.trim_end_matches('\0');
    if words.is_empty() {
        // One that is ending, or has no memory of its own.
        return format!("[{}]", start_of(&format!("/proc/{pid}/comm")).trim_end());
    }
    words.replace('\0', " ")
}

fn start_of(path: &str) -> String {
    let mut bytes = Vec::new();
    let opened = File::open(path);
    let _unread = opened.and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
