//! Limits that hold because init looks: who exceeds them is found a moment later.
//!
//! Says what it has found; ending it is the business of `events`. It looks only while commands run.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open, statvfs};

use crate::init::AtStage as _;
use crate::init::processes::{self, Process};
use crate::init::room::Room;
use crate::init::survey::{self, Survey};
use crate::limits::{Limit, Struck};
use crate::plan::{Mount, Plan};
use crate::protocol::{Failure, Stage, Watch};

/// How often it looks at processes.
const INTERVAL: Duration = Duration::from_millis(50);
/// How much longer than looking at the disk it waits before it does so again, so that it takes a small part of the time.
const DISK_REST: u32 = 10;

/// What is looked at, and when next.
#[derive(Debug)]
pub(super) struct Watcher {
    watch: Watch,
    /// File systems in memory, whose files are memory too.
    temporaries: Vec<PathBuf>,
    /// The directories whose room is limited.
    directories: Vec<OwnedFd>,
    /// Their room, where the kernel holds the limit.
    room: Option<Room>,
    survey: Option<Survey>,
    /// What the last survey has counted.
    counted: Option<u64>,
    next: Option<Instant>,
    next_survey: Option<Instant>,
}

/// What is looked at, opened as long as the host's tree is in sight.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) directories: Vec<OwnedFd>,
    /// Where the kernel holds the limit.
    pub(super) room: Option<Room>,
}

impl Watched {
    pub(super) fn open(watch: &Watch) -> Result<Self, Failure> {
        let opened = |path: &PathBuf, flags: OFlags| {
            open(path, flags | OFlags::CLOEXEC, Mode::empty()).at(Stage::Limits, path)
        };
        let directories: &[PathBuf] = watch.disk.as_ref().map_or(&[], |disk| &disk.directories);
        let project = watch.disk.as_ref().and_then(|disk| disk.project.as_ref());
        let room = match directories.first().zip(project) {
            Some((directory, file)) => Some(Room {
                directory: opened(directory, OFlags::PATH)?,
                file: opened(file, OFlags::PATH)?,
            }),
            None => None,
        };
        let readable = OFlags::RDONLY | OFlags::DIRECTORY;
        let directories = directories.iter().map(|path| opened(path, readable));
        Ok(Self {
            directories: directories.collect::<Result<_, _>>()?,
            room,
        })
    }
}

impl Watcher {
    /// For a root that is assembled. The directories were opened before that.
    pub(super) fn new(watch: Watch, plan: &Plan, watched: Watched) -> io::Result<Self> {
        let Watched { directories, room } = watched;
        survey::check(&directories)?;
        let in_memory = |mount: &Mount| match mount {
            Mount::Tmpfs { target, .. } => Some(target.clone()),
            _ => None,
        };
        Ok(Self {
            watch,
            temporaries: plan.mounts.iter().filter_map(in_memory).collect(),
            directories,
            room,
            survey: None,
            counted: None,
            next: None,
            next_survey: None,
        })
    }

    /// A command was started: there is something to look at.
    pub(super) fn wake(&mut self) {
        let looks_at_processes = self.watch.memory.is_some()
            || self.watch.processes.is_some()
            || self.watch.cpu_time.is_some();
        let soon = Instant::now() + INTERVAL;
        if looks_at_processes {
            self.next.get_or_insert(soon);
        }
        if self.watch.disk.is_some() && self.survey.is_none() {
            self.next_survey.get_or_insert(soon);
        }
    }

    /// When [`Watcher::look`] has something to do.
    pub(super) fn next_look(&self) -> Option<Instant> {
        [self.next, self.next_survey].into_iter().flatten().min()
    }

    /// The process that looks at the disk, and what is readable when it is done.
    pub(super) fn survey(&self) -> Option<(i32, BorrowedFd<'_>)> {
        let survey = self.survey.as_ref()?;
        Some((survey.pid, survey.result()))
    }

    /// The most time that one command may use.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        self.watch.cpu_time
    }

    /// Looks, if it is time, at the commands that there are, and will again as long as there can be more. Returns the
    /// first limit that all of them together exceed.
    pub(super) fn look(
        &mut self,
        now: Instant,
        commands: &[Process],
        is_busy: bool,
    ) -> Option<Struck> {
        if self.next_survey.is_some_and(|next| next <= now) {
            self.next_survey = None;
            if is_busy && self.room.is_some() {
                // Whoever looks asks the kernel too.
                self.next_survey = Some(now + INTERVAL);
            } else if is_busy {
                match Survey::begin(&self.directories) {
                    Ok(survey) => self.survey = Some(survey),
                    // There can be no more processes, perhaps because somebody wants to go on unseen.
                    Err(_) => {
                        return self.judge(survey::allocated(&self.directories), now.elapsed());
                    }
                }
            }
        }
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        self.next = is_busy.then(|| now + INTERVAL);
        self.processes(commands).or_else(|| self.memory(commands))
    }

    /// Takes in what the survey found.
    pub(super) fn end_survey(&mut self) -> Option<Struck> {
        let (counted, time) = self.survey.take()?.end();
        self.judge(counted.or(self.counted).unwrap_or_default(), time)
    }

    /// What the directories whose room is limited take on the disk, or took when it was last counted.
    pub(super) fn disk_bytes(&self) -> Option<u64> {
        self.room.as_ref().map_or(self.counted, Room::used)
    }

    /// Whether the kernel lets nothing more be written there.
    pub(super) fn is_full(&self) -> bool {
        self.room.as_ref().is_some_and(Room::is_full)
    }

    /// Judges what is on the disk, which took some time to find out.
    fn judge(&mut self, bytes: u64, time: Duration) -> Option<Struck> {
        self.next_survey = Some(Instant::now() + INTERVAL.max(time * DISK_REST));
        self.counted = Some(bytes);
        let configured = self.watch.disk.as_ref()?.bytes;
        exceeded(Limit::Disk, configured, bytes)
    }

    /// The bytes of files that are memory.
    pub(super) fn files_in_memory(&self) -> u64 {
        self.temporaries.iter().map(in_use).sum()
    }

    fn processes(&self, commands: &[Process]) -> Option<Struck> {
        let configured = self.watch.processes?;
        // Each has a thread at least: only where many are is it worth counting.
        let threads = commands.iter().map(Process::threads).sum();
        exceeded(Limit::Pids, configured, threads)
    }

    fn memory(&self, commands: &[Process]) -> Option<Struck> {
        let configured = self.watch.memory?;
        let files = self.files_in_memory();
        let resident: u64 = commands.iter().map(Process::memory_bytes).sum();
        exceeded(Limit::Memory, configured, resident + files)?;
        // Pages that several processes share were counted for each: now exactly.
        let shares = commands.iter().map(Process::memory_share).sum::<u64>();
        exceeded(Limit::Memory, configured, shares + files)
    }
}

/// What one command, led by this process, has used of its time, if that is too much.
pub(super) fn cpu_time_exceeded(configured: Duration, leader: i32) -> Option<Struck> {
    // The leader has waited for what lost its parent.
    let family = processes::family(leader)
        .into_iter()
        .chain(processes::find(leader));
    let used: Duration = family.map(|process| process.cpu_time()).sum();
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    exceeded(Limit::CpuTime, milliseconds(configured), milliseconds(used))
}

fn exceeded(limit: Limit, configured: u64, reached: u64) -> Option<Struck> {
    (reached > configured).then_some(Struck {
        limit,
        configured,
        reached,
        ended: true,
    })
}

/// The bytes that a file system in memory holds.
fn in_use(place: &PathBuf) -> u64 {
    statvfs(place).map_or(0, |found| {
        found.f_blocks.saturating_sub(found.f_bfree) * found.f_frsize
    })
}
