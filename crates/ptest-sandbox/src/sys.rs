//! The system calls that neither std nor rustix offers safely: all of the crate's unsafe code.
//!
//! Each function does one call and reports its error. Functions that duplicate the calling
//! process are for init alone, which has one thread.

mod quota;
mod region;

use std::ffi::{CStr, CString};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::pipe::PipeFlags;
use rustix::process::Pid;

pub(crate) use self::quota::{INHERIT, Quota, attributes, quota, set_attributes, set_quota};
pub(crate) use self::region::{Region, lock_region, locked_by_others, unlock_region};

/// Which side of a duplication this is.
pub(crate) enum Clone {
    /// The process that asked, with the new process and a descriptor of it.
    Parent { pid: Pid, pidfd: OwnedFd },
    /// The new process.
    Child,
}

/// Duplicates the calling process, as fork does, with namespaces and other flags of clone.
///
/// The new process gets its own copy of the memory. The caller must have one thread only: the
/// copy would hold whatever locks other threads held.
pub(crate) fn clone_process(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Clone> {
    #[repr(C, align(8))]
    #[derive(Default)]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }

    let mut pidfd: RawFd = -1;
    let with_parent = flags & libc::CLONE_PARENT as u64 != 0;
    let mut arguments = Arguments {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        // With CLONE_PARENT the new process inherits its sibling's exit signal.
        exit_signal: if with_parent { 0 } else { libc::SIGCHLD as u64 },
        ..Arguments::default()
    };
    if let Some(cgroup) = cgroup {
        const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the arguments live through the call and have the size that is passed; without
    // CLONE_VM and a stack the new process goes on from here on its own copy of everything.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            ptr::from_mut(&mut arguments),
            size_of::<Arguments>(),
        )
    };
    let result = match result {
        -1 if is_hidden() && cgroup.is_none() => older_clone(arguments.flags, &mut pidfd),
        other => other,
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Clone::Child),
        pid => {
            let pid = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidData)?;
            // SAFETY: the kernel has just stored a descriptor there that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Clone::Parent { pid, pidfd })
        }
    }
}

/// Whether the last call was one that does not exist here: filters of containers say so of clone3, whose flags they cannot
/// see.
fn is_hidden() -> bool {
    io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
}

/// The same by clone, which has no room for control groups.
fn older_clone(flags: u64, pidfd: &mut RawFd) -> libc::c_long {
    let flags = flags | libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM and a stack the new process goes on from here on its own copy of everything; the kernel
    // stores a descriptor where it is told to.
    unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags,
            ptr::null_mut::<u8>(),
            ptr::from_mut(pidfd),
            ptr::null_mut::<u8>(),
            ptr::null_mut::<u8>(),
        )
    }
}

/// Which side of a duplication this is.
pub(crate) enum Fork {
    /// The process that asked, with the new one's id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Duplicates the calling process, which must have one thread only, as [`clone_process`] does. Filters that hide clone3
/// do not concern it.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the new process goes on from here on its own copy of everything, and no other thread held a lock.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok(Pid::from_raw(pid as i32).map_or(Fork::Child, Fork::Parent))
}

/// Switches the loopback of this process's network namespace on.
pub(crate) fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    // SAFETY: zeroes are a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request names an interface, with an end, and outlives the call.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    check(result.into()).map(drop)
}

/// Ends the calling process at once, without running destructors or exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Changes attributes of a mount, or of a whole tree of mounts.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    propagation: u64,
) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }

    let attributes = Attributes {
        set,
        clear: 0,
        propagation,
        user_namespace: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, the attributes have the size that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(&attributes),
            size_of::<Attributes>(),
        )
    };
    check(result).map(drop)
}

/// A copy of a descriptor that is known by its number alone, as callers from other languages have them; the caller's stays.
pub fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the call touches no memory; a number that is no open descriptor is reported.
    let copy = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) };
    check(copy.into())?;
    // SAFETY: the descriptor was made just now and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Gives the calling thread namespaces of its own; a user namespace only if it is the only one of its process.
pub(crate) fn unshare(namespaces: i32) -> io::Result<()> {
    // SAFETY: namespaces concern neither memory nor descriptors.
    check(unsafe { libc::unshare(namespaces) }.into()).map(drop)
}

/// Replaces the calling process by a program. Returns only if that failed.
pub(crate) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer, and all strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// What a child has come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waited {
    pub(crate) pid: i32,
    pub(crate) event: WaitEvent,
    pub(crate) user_time: Duration,
    pub(crate) system_time: Duration,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
}

/// What happened to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitEvent {
    Exited(i32),
    Signaled { signal: i32, core: bool },
    Stopped(i32),
    Other,
}

/// Waits for any child. `None` when `block` is false and nothing has happened.
pub(crate) fn wait_any(block: bool, stops: bool) -> io::Result<Option<Waited>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let flags = if block { 0 } else { libc::WNOHANG } | if stops { libc::WUNTRACED } else { 0 };
    // SAFETY: both pointers are valid for writing.
    let pid = unsafe { libc::wait4(-1, &raw mut status, flags, usage.as_mut_ptr()) };
    if pid <= 0 {
        return check(pid.into()).map(|_| None);
    }
    // SAFETY: zeroes are a valid value, and the kernel has written over them.
    let usage = unsafe { usage.assume_init() };
    let event = if libc::WIFEXITED(status) {
        WaitEvent::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        WaitEvent::Signaled {
            signal: libc::WTERMSIG(status),
            core: libc::WCOREDUMP(status),
        }
    } else if libc::WIFSTOPPED(status) {
        WaitEvent::Stopped(libc::WSTOPSIG(status))
    } else {
        WaitEvent::Other
    };
    Ok(Some(Waited {
        pid,
        event,
        user_time: duration(usage.ru_utime),
        system_time: duration(usage.ru_stime),
        peak_memory_bytes: usage.ru_maxrss as u64 * 1024,
        read_bytes: usage.ru_inblock as u64 * BLOCK,
        written_bytes: usage.ru_oublock as u64 * BLOCK,
    }))
}

/// The unit of transfers in getrusage(2).
const BLOCK: u64 = 512;

/// What all children together have used that were waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildrenUsage {
    pub(crate) cpu_time: Duration,
    pub(crate) largest_memory_bytes: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
}

/// What all children together have used that were waited for.
pub(crate) fn children_usage() -> ChildrenUsage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for writing, and zeroes are a valid value should the call fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    ChildrenUsage {
        cpu_time: duration(usage.ru_utime) + duration(usage.ru_stime),
        largest_memory_bytes: usage.ru_maxrss as u64 * 1024,
        read_bytes: usage.ru_inblock as u64 * BLOCK,
        written_bytes: usage.ru_oublock as u64 * BLOCK,
    }
}

/// The processor time that a process has used, its children not counted; `None` when it is gone.
pub(crate) fn cpu_clock(pid: i32) -> Option<Duration> {
    /// Of a process, and as the scheduler counts: `include/linux/posix-timers_types.h`.
    const CPUCLOCK_SCHED: libc::clockid_t = 2;
    let clock = !pid << 3 | CPUCLOCK_SCHED;
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is valid for writing; whatever the number means, the kernel checks it.
    let result = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    // SAFETY: zeroes are a valid value should the call have failed.
    let time = unsafe { time.assume_init() };
    (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// One of the constants of sysconf(3); 0 for one that the C library does not know.
///
/// Not rustix's `param`: it reads them from `/proc/self/auxv` where the kernel is older than Linux 6.4, which is closed to
/// init, and panics.
pub(crate) fn constant(name: libc::c_int) -> u64 {
    // SAFETY: whatever the number means, the library checks it.
    let value = unsafe { libc::sysconf(name) };
    value.try_into().unwrap_or_default()
}

/// Blocks every signal and returns a descriptor that reads as ready when one of these arrives.
pub(crate) fn signals_as_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut wanted = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are initialised by sigfillset and sigemptyset before they are used.
    let descriptor = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
        libc::sigemptyset(wanted.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(wanted.as_mut_ptr(), *signal);
        }
        libc::signalfd(-1, wanted.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    check(descriptor.into())?;
    // SAFETY: the call has just created it, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The signals that have arrived at a descriptor of [`signals_as_descriptor`], without waiting.
pub(crate) fn arrived_signals(descriptor: &OwnedFd) -> Vec<i32> {
    let mut arrived = Vec::new();
    // One record of signalfd; its first field is the signal's number.
    let mut record = [0_u8; 128];
    while rustix::io::read(descriptor, &mut record).is_ok_and(|count| count == record.len()) {
        arrived.push(i32::from_ne_bytes([
            record[0], record[1], record[2], record[3],
        ]));
    }
    arrived
}

/// Gives every signal its default action, also those that libc keeps for itself.
pub(crate) fn default_signal_actions() {
    // The kernel's own form: handler, flags, restorer and mask. Zeroes mean the default action.
    let action = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the action is valid and has a mask of the size that is passed. The calls that
        // a signal does not allow just fail.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                action.as_ptr(),
                ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
}

/// Lets every signal through.
pub(crate) fn unblock_signals() {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised by sigemptyset before it is used.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

/// Sends a signal; negative process ids mean groups, -1 everything that can be reached.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill has no preconditions.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Who is at the other side of a Unix socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Its process, unless it is in a pid namespace that cannot be seen from here.
    pub(crate) pid: Option<Pid>,
    pub(crate) user: u32,
}

/// Who is at the other side of a Unix socket. (rustix expects a process id that is never zero.)
pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the buffer has the length that is passed, and both pointers are valid.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            ptr::from_mut(&mut credentials).cast(),
            &raw mut length,
        )
    };
    check(result.into())?;
    Ok(Peer {
        pid: Pid::from_raw(credentials.pid),
        user: credentials.uid,
    })
}

/// Makes descriptor `target` a copy of `source` that survives execution of a program.
pub(crate) fn place_descriptor(source: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: the targets are the three standard descriptors, which nothing in init owns.
    check(unsafe { libc::dup2(source.as_raw_fd(), target) }.into()).map(drop)
}

/// Whether the kernel says of a file, open for reading only, that no process can write to it.
///
/// It gives a read lease only while nobody has the file open for writing or mapped so; the lease is
/// given back at once. Who opens it for writing afterwards is not seen. `false` also where leases
/// are not to be had: on some file systems, and of other users' files.
pub fn is_still(file: BorrowedFd<'_>) -> bool {
    // Of every machine; libc has it for few.
    const F_SETSIG: i32 = 10;
    let control = |command: i32, argument: i32| {
        // SAFETY: these commands take a number, and the descriptor is open.
        check(unsafe { libc::fcntl(file.as_raw_fd(), command, argument) }.into())
    };
    // Whoever opens it in this moment has the kernel signal it: one that by default does nothing,
    // rather than SIGIO, which would end the process.
    control(F_SETSIG, libc::SIGURG)
        .and_then(|_| control(libc::F_SETLEASE, libc::F_RDLCK))
        .and_then(|_| control(libc::F_SETLEASE, libc::F_UNLCK))
        .is_ok()
}

/// Closes every descriptor in a range of numbers, or marks it to be closed on execution.
pub(crate) fn close_range(first: u32, last: u32, on_execution: bool) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    let flags = if on_execution { CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: used where nothing owns a descriptor in the range: at the very start of init, in new
    // processes that are about to execute a program, and in those that name here every descriptor
    // they go on to use and never return to the owners of the others.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Signals of this process as bytes in a pipe. Dropping it gives them their former actions back.
///
/// There is one at a time: a second is refused.
pub(crate) struct SignalPipe {
    read: OwnedFd,
    /// Kept open for the handler, which knows its number.
    _write: OwnedFd,
    former: Vec<(i32, libc::sigaction)>,
}

/// The pipe's writing side, or -1.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note_signal(signal: i32) {
    let byte = signal as u8;
    // SAFETY: write and the access to errno are async-signal-safe, and the byte is valid.
    unsafe {
        let saved = *libc::__errno_location();
        libc::write(
            SIGNAL_PIPE.load(Ordering::Relaxed),
            ptr::from_ref(&byte).cast(),
            1,
        );
        *libc::__errno_location() = saved;
    }
}

impl SignalPipe {
    pub(crate) fn open(signals: &[i32]) -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let number = write.as_raw_fd();
        SIGNAL_PIPE
            .compare_exchange(-1, number, Ordering::AcqRel, Ordering::Acquire)
            .map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
        let mut pipe = Self {
            read,
            _write: write,
            former: Vec::new(),
        };
        for signal in signals {
            // SAFETY: the handler does only what is async-signal-safe.
            let former =
                unsafe { set_action(*signal, note_signal as extern "C" fn(i32) as usize) }?;
            pipe.former.push((*signal, former));
        }
        Ok(pipe)
    }

    /// The signals that have arrived, without waiting.
    pub(crate) fn take(&self) -> Vec<i32> {
        let mut bytes = [0; 64];
        let count = rustix::io::read(&self.read, &mut bytes).unwrap_or(0);
        bytes[..count].iter().map(|byte| i32::from(*byte)).collect()
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl Drop for SignalPipe {
    fn drop(&mut self) {
        for (signal, former) in &self.former {
            // SAFETY: the action is what the kernel said it was before.
            unsafe { libc::sigaction(*signal, ptr::from_ref(former), ptr::null_mut()) };
        }
        SIGNAL_PIPE.store(-1, Ordering::Release);
    }
}

/// Stops this process and the rest of its job, as their terminal would, and returns when it goes
/// on: at once where nobody is who could continue it.
pub(crate) fn stop_job() -> io::Result<()> {
    // Sent to the group, the signal may reach this process by any thread, a moment later. So that
    // it has stopped when this returns, the group's is for the others and this thread has its own.
    // SAFETY: neither action is a function, and the last one is what the kernel said it was.
    unsafe {
        let former = set_action(libc::SIGTSTP, libc::SIG_IGN)?;
        let others = kill(0, libc::SIGTSTP);
        let stopped = others
            .and_then(|()| set_action(libc::SIGTSTP, libc::SIG_DFL))
            .and_then(|_| check(libc::raise(libc::SIGTSTP).into()));
        libc::sigaction(libc::SIGTSTP, &raw const former, ptr::null_mut());
        stopped.map(drop)
    }
}

/// Sets what a signal does, and returns what it did.
///
/// # Safety
///
/// The handler is SIG_IGN, SIG_DFL or a function that does only what is async-signal-safe.
unsafe fn set_action(signal: i32, handler: usize) -> io::Result<libc::sigaction> {
    // SAFETY: zeroes are a valid action, whose handler and flags are then set; both pointers are
    // valid, and the handler is what the caller says.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        let mut former: libc::sigaction = std::mem::zeroed();
        check(libc::sigaction(signal, &raw const action, &raw mut former).into())?;
        Ok(former)
    }
}

/// Installs a system call filter for this process and all that come from it.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the program outlives the call, and the kernel only reads it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            ptr::from_ref(&program),
        )
    };
    check(result).map(drop)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000)
}
