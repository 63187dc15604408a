//! What a sandbox's control group shows, read from files that were opened outside.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::pread;

use crate::protocol::Gauge;

/// The files, by what they show; none without a group.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    files: BTreeMap<Gauge, OwnedFd>,
}

impl Gauges {
    pub(super) fn new(files: impl IntoIterator<Item = (Gauge, OwnedFd)>) -> Self {
        Self {
            files: files.into_iter().collect(),
        }
    }

    /// Bytes of memory in use, without what is only kept for as long as nobody needs the room.
    pub(super) fn memory(&self) -> Option<u64> {
        let all = number(&self.read(Gauge::Memory)?)?;
        let details = self.read(Gauge::MemoryDetails).unwrap_or_default();
        // Version 1 says both of the group alone, and of all below it.
        let idle =
            field(&details, "total_inactive_file").or_else(|| field(&details, "inactive_file"));
        Some(all.saturating_sub(idle.unwrap_or_default()))
    }

    /// The most bytes that were in use.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        number(&self.read(Gauge::PeakMemory)?)
    }

    /// How often the kernel has killed for want of memory.
    pub(super) fn memory_kills(&self) -> u64 {
        let text = self.read(Gauge::MemoryKills);
        text.and_then(|text| field(&text, "oom_kill"))
            .unwrap_or_default()
    }

    /// How often the kernel has refused a process.
    pub(super) fn process_refusals(&self) -> u64 {
        let text = self.read(Gauge::ProcessRefusals);
        text.and_then(|text| field(&text, "max"))
            .unwrap_or_default()
    }

    /// What has something to say when memory runs out, and how it does.
    pub(super) fn memory_alarm(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let alarm = self
            .files
            .get(&Gauge::MemoryAlarm)
            .map(|file| (file, PollFlags::IN));
        let kills = || {
            self.files
                .get(&Gauge::MemoryKills)
                .map(|file| (file, PollFlags::PRI))
        };
        let (file, flags) = alarm.or_else(kills)?;
        Some((file.as_fd(), flags))
    }

    /// Hears the alarm, so that it can be given again. Returns whether it was one.
    pub(super) fn hear_alarm(&self) -> bool {
        let alarm = self.files.get(&Gauge::MemoryAlarm);
        alarm.is_some_and(|alarm| rustix::io::read(alarm, &mut [0; 8]).is_ok())
    }

    fn read(&self, gauge: Gauge) -> Option<String> {
        let mut bytes = [0; 4096];
        let count = pread(self.files.get(&gauge)?, &mut bytes, 0).ok()?;
        Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number after a name, one of each a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| number(line.strip_prefix(name)?.strip_prefix(' ')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field("low 0\nmax 12\n", "max"), Some(12));
        assert_eq!(field("max x\n", "max"), None);
    }
}
