//! A sandbox that a forked process enters by itself, with all that it holds in memory.
//!
//! Not for programs: those are started by init, in a sandbox that [`Launcher`](crate::Launcher) makes. Here there is no init
//! and no namespace of processes: whoever forked ends what the process leaves behind, and this helps as far as there is a
//! control group.
//!
//! Made before the fork; then the child calls [`Enclosure::enter`] while the parent calls [`Enclosure::admit`], which gives
//! the child its identities, as only a process outside can.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::client::system;
use crate::enforcement::Enforcement;
use crate::error::{Error, Result};
use crate::init::{enclosed, identities};
use crate::limits::{Kept, Limit, Limits, Strength};
use crate::plan::Plan;
use crate::profile::Mirror;
use crate::protocol::Failure;
use crate::wire::{self, Inbox};

/// How long each side waits for the other.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is done, as errors say it.
const ACTION: &str = "enter the sandbox";

/// A sandbox that one forked process is to enter.
#[derive(Debug)]
pub struct Enclosure {
    plan: Plan,
    enforcement: Enforcement,
    outside: OwnedFd,
    inside: OwnedFd,
}

/// What both sides say to each other.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// From inside: it has left the host's namespaces.
    Left,
    /// From outside: it has identities.
    Mapped,
    /// From inside: it is where it is to be.
    Entered,
    /// From inside: it is not.
    Failed(Failure),
}

impl Enclosure {
    /// Before the fork, of the host as it is now. `id` names the control group, as for
    /// [`LaunchOptions::id`](crate::LaunchOptions::id).
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for a limit that nothing can hold: nobody looks after limits here. With `allow_weaker` that is no
    /// error. Those of [`Mirror::plan`].
    pub fn new(mirror: &Mirror, id: &str, limits: &Limits, allow_weaker: bool) -> Result<Self> {
        let plan = mirror.plan()?;
        let enforcement = Enforcement::choose(&plan, id, limits, allow_weaker)?;
        let unheld =
            |kept: &&Kept| kept.strength == Strength::Watched && kept.limit != Limit::CpuTime;
        if let Some(kept) = enforcement.kept().iter().find(unheld)
            && !allow_weaker
        {
            enforcement.release();
            return Err(Error::Limit {
                limit: kept.limit,
                source: std::io::ErrorKind::Unsupported.into(),
            });
        }
        let flags = SocketFlags::CLOEXEC;
        match socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None) {
            Ok((outside, inside)) => Ok(Self {
                plan,
                enforcement,
                outside,
                inside,
            }),
            Err(source) => {
                enforcement.release();
                Err(system(ACTION, source))
            }
        }
    }

    /// In the child, which has one thread: goes in. It has to enter its working directory anew, which may be another now.
    ///
    /// All of the plan is there then. After an error the process is neither here nor there: it can only end.
    pub fn enter(self) -> Result<()> {
        let Self {
            plan,
            enforcement,
            outside,
            inside,
        } = self;
        // The parent's alone: were it open here too, nobody would notice that the parent is gone.
        drop(outside);
        let go_in = || -> Result<()> {
            enforcement.join().map_err(Error::launch)?;
            enclosed::leave(&plan).map_err(Error::launch)?;
            say(&inside, &Word::Left)?;
            match hear(&inside)? {
                Word::Mapped => {}
                _ => return Err(Error::Malformed),
            }
            enclosed::settle(&plan, &enforcement.duties().resources).map_err(Error::launch)
        };
        let entered = go_in();
        match &entered {
            Ok(()) => say(&inside, &Word::Entered)?,
            Err(error) => {
                if let Some(failure) = error.failure() {
                    say(&inside, &Word::Failed(failure.clone()))?;
                }
            }
        }
        entered
    }

    /// In the parent: lets the child in. When this returns it is inside.
    ///
    /// On an error nothing is left but the child, which ends by itself.
    pub fn admit(self, child: i32) -> Result<Enclosed> {
        let Self {
            enforcement,
            outside,
            inside,
            ..
        } = self;
        // The child's alone, by which its end is noticed.
        drop(inside);
        let let_in = || -> Result<()> {
            expect_left(hear(&outside)?)?;
            let child = Pid::from_raw(child).ok_or(Error::Malformed)?;
            identities::map(child).map_err(Error::launch)?;
            say(&outside, &Word::Mapped)?;
            match hear(&outside)? {
                Word::Entered => Ok(()),
                Word::Failed(failure) => Err(Error::launch(failure)),
                _ => Err(Error::Malformed),
            }
        };
        match let_in() {
            Ok(()) => Ok(Enclosed { enforcement }),
            Err(error) => {
                enforcement.end();
                Err(error)
            }
        }
    }

    /// Gives it up: nobody enters.
    pub fn give_up(self) {
        self.enforcement.release();
    }
}

/// An [`Enclosure`] with a process in it, as the parent sees it.
#[derive(Debug)]
pub struct Enclosed {
    enforcement: Enforcement,
}

impl Enclosed {
    /// How strictly each limit that was asked for holds.
    pub fn limits(&self) -> &[Kept] {
        self.enforcement.kept()
    }

    /// The most bytes that it has held, if the kernel has killed in it for want of memory.
    pub fn memory_ran_out(&self) -> Option<u64> {
        cgroup::memory_ran_out(&self.enforcement.places())
    }

    /// Ends what its control group holds, as far as there is one, and removes the group.
    pub fn end(&self) {
        self.enforcement.end();
    }
}

fn expect_left(word: Word) -> Result<()> {
    match word {
        Word::Left => Ok(()),
        Word::Failed(failure) => Err(Error::launch(failure)),
        _ => Err(Error::Malformed),
    }
}

fn say(socket: &OwnedFd, word: &Word) -> Result<()> {
    let deadline = Some(Instant::now() + PATIENCE);
    wire::send(socket.as_fd(), word, &[], deadline)
        .map_err(|error| Error::wire(ACTION, error, PATIENCE))
}

fn hear(socket: &OwnedFd) -> Result<Word> {
    let deadline = Some(Instant::now() + PATIENCE);
    match wire::receive(socket.as_fd(), &mut Inbox::default(), deadline) {
        Ok((word, _)) => Ok(word),
        Err(error) => Err(Error::wire(ACTION, error, PATIENCE)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsRawFd as _;
    use std::path::{Path, PathBuf};

    use rustix::io::Errno;
    use rustix::process::{WaitOptions, geteuid, waitpid};
    use rustix::thread::{Gid, Uid, set_thread_gid, set_thread_uid};

    use super::*;
    use crate::profile::Writes;
    use crate::sys::{self, Fork};

    /// A user and a group without any rights.
    const NOBODY: u32 = 65534;

    /// A directory that everybody can write in.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = directory.path().canonicalize().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&path, mode).unwrap();
        (directory, path)
    }

    fn discarding(place: &Path) -> Mirror {
        Mirror {
            writes: Writes::Discarded {
                places: vec![place.to_owned()],
                others: Vec::new(),
                kept: vec![place.join("kept")],
                size: Some(1 << 20),
            },
            ..Mirror::default()
        }
    }

    /// Lets a fork of this process go in and do something; gives the code with which it ended, 255 if it was killed.
    fn within(mirror: &Mirror, limits: &Limits, act: impl FnOnce() -> i32) -> (Enclosed, i32) {
        let enclosure = Enclosure::new(mirror, &id(), limits, false).unwrap();
        match sys::fork().unwrap() {
            Fork::Child => {
                let code = match enclosure.enter() {
                    Ok(()) => act(),
                    Err(_) => 254,
                };
                sys::exit_now(code)
            }
            Fork::Parent(child) => {
                let entered = enclosure.admit(child.as_raw_nonzero().get());
                let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
                (entered.unwrap(), status.exit_status().unwrap_or(255))
            }
        }
    }

    /// The same by root and, if that is who we are, by nobody.
    fn by_everybody(test: fn()) {
        test();
        if !geteuid().is_root() {
            return;
        }
        match sys::fork().unwrap() {
            Fork::Child => {
                set_thread_gid(Gid::from_raw(NOBODY)).unwrap();
                set_thread_uid(Uid::from_raw(NOBODY)).unwrap();
                let passed = std::panic::catch_unwind(test).is_ok();
                sys::exit_now(i32::from(!passed))
            }
            Fork::Parent(child) => {
                let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
                assert_eq!(status.exit_status(), Some(0), "as nobody");
            }
        }
    }

    /// For where no group holds what is left.
    fn die_with(parent: Pid) {
        let signal = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(signal).unwrap();
        if rustix::process::getppid() != Some(parent) {
            sys::exit_now(0);
        }
    }

    fn id() -> String {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("test-{}-{number}", std::process::id())
    }

    #[test]
    fn what_is_written_is_seen_inside_and_not_outside_but_what_is_kept() {
        by_everybody(|| {
            let (_directory, place) = place();
            fs::create_dir(place.join("kept")).unwrap();
            fs::write(place.join("old"), "old").unwrap();
            let (_, code) = within(&discarding(&place), &Limits::default(), || {
                fs::write(place.join("new"), "new").unwrap();
                fs::write(place.join("kept/new"), "new").unwrap();
                fs::remove_file(place.join("old")).unwrap();
                let seen = fs::read_dir(&place).unwrap().count();
                i32::try_from(seen).unwrap()
            });
            assert_eq!(code, 2);
            assert!(place.join("old").exists() && !place.join("new").exists());
            assert_eq!(fs::read(place.join("kept/new")).unwrap(), b"new");
        });
    }

    #[test]
    fn all_else_cannot_be_written() {
        by_everybody(|| {
            let (_directory, place) = place();
            let (_other, elsewhere) = self::place();
            let (_, code) = within(&discarding(&place), &Limits::default(), || {
                let refused = fs::write(elsewhere.join("x"), "x").unwrap_err();
                refused.raw_os_error().unwrap_or_default()
            });
            assert_eq!(code, Errno::ROFS.raw_os_error());
        });
    }

    #[test]
    fn what_is_kept_is_written_where_it_was() {
        by_everybody(|| {
            let (_directory, place) = place();
            let (_, code) = within(&Mirror::default(), &Limits::default(), || {
                i32::from(fs::write(place.join("x"), "x").is_err())
            });
            assert_eq!(code, 0);
            assert!(place.join("x").exists());
        });
    }

    #[test]
    fn more_than_the_size_is_not_written() {
        by_everybody(|| {
            let (_directory, place) = place();
            let (_, code) = within(&discarding(&place), &Limits::default(), || {
                let full = fs::write(place.join("x"), vec![0; 2 << 20]).unwrap_err();
                full.raw_os_error().unwrap_or_default()
            });
            assert_eq!(code, Errno::NOSPC.raw_os_error());
        });
    }

    #[test]
    fn the_process_stays_who_it_was_and_sees_itself() {
        by_everybody(|| {
            let open = fs::File::open("/proc/self/exe").unwrap();
            let (user, me) = (geteuid(), rustix::process::getpid());
            let (_, code) = within(&Mirror::default(), &Limits::default(), || {
                let is_same = geteuid() == user
                    && rustix::process::getppid() == Some(me)
                    && fs::read_link(format!("/proc/self/fd/{}", open.as_raw_fd())).is_ok();
                i32::from(!is_same)
            });
            assert_eq!(code, 0);
        });
    }

    #[test]
    fn a_process_that_breeds_is_stopped_at_its_limit_and_nothing_of_it_is_left() {
        by_everybody(|| {
            let limits = Limits {
                processes: Some(20),
                ..Limits::default()
            };
            let enclosure = Enclosure::new(&Mirror::default(), &id(), &limits, false);
            let Ok(enclosure) = enclosure else {
                // Root without control groups.
                assert!(geteuid().is_root());
                return;
            };
            enclosure.give_up();
            let (entered, code) = within(&Mirror::default(), &limits, || {
                let breeder = rustix::process::getpid();
                let mut bred = 0;
                while bred < 100 {
                    match sys::fork() {
                        Ok(Fork::Child) => {
                            if !geteuid().is_root() {
                                die_with(breeder);
                            }
                            loop {
                                std::thread::park();
                            }
                        }
                        Ok(Fork::Parent(_)) => bred += 1,
                        Err(_) => break,
                    }
                }
                bred
            });
            let places = entered.enforcement.places();
            entered.end();
            assert!((15..=22).contains(&code), "{code}");
            assert!(places.iter().all(|place| !place.exists()), "{places:?}");
        });
    }

    #[test]
    fn what_cannot_be_had_is_an_error_that_names_it_and_what_to_do() {
        by_everybody(|| {
            let (_directory, place) = place();
            let kept = place.join("kept");
            fs::create_dir(&kept).unwrap();
            let mirror = discarding(&place);
            let enclosure = Enclosure::new(&mirror, &id(), &Limits::default(), false).unwrap();
            fs::remove_dir(&kept).unwrap();
            match sys::fork().unwrap() {
                Fork::Child => sys::exit_now(i32::from(enclosure.enter().is_ok())),
                Fork::Parent(child) => {
                    let error = enclosure.admit(child.as_raw_nonzero().get()).unwrap_err();
                    let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
                    assert_eq!(
                        status.exit_status(),
                        Some(0),
                        "it says that it is not inside"
                    );
                    let failure = error.failure().unwrap();
                    assert_eq!(failure.subject, kept.as_os_str());
                    assert!(error.hint().is_some());
                }
            }
        });
    }

    #[test]
    fn processes_tell_the_kernel_of_themselves_inside_though_all_else_is_read_only() {
        by_everybody(|| {
            let (_directory, place) = place();
            let (_, code) = within(&discarding(&place), &Limits::default(), || {
                i32::from(fs::write("/proc/self/oom_score_adj", "500").is_err())
            });
            assert_eq!(code, 0);
        });
    }

    #[test]
    fn a_child_that_ends_before_it_is_inside_is_an_error() {
        let mirror = Mirror::default();
        let enclosure = Enclosure::new(&mirror, &id(), &Limits::default(), false).unwrap();
        match sys::fork().unwrap() {
            Fork::Child => sys::exit_now(0),
            Fork::Parent(child) => {
                let refused = enclosure.admit(child.as_raw_nonzero().get());
                waitpid(Some(child), WaitOptions::empty()).unwrap();
                assert!(matches!(refused, Err(Error::Ended)), "{refused:?}");
            }
        }
    }
}
