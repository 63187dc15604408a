//! What the tests share: launching, running with output taken, waiting for conditions.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ptest_sandbox::{
    Command, Error, Exit, LaunchOptions, Launcher, Plan, Run, Sandbox, Shape, Stdio,
};

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Names another copy of the init program, for a user who cannot reach the build directory.
pub(crate) const INIT_VARIABLE: &str = "PTEST_TEST_INIT";

pub(crate) fn init_program() -> PathBuf {
    std::env::var_os(INIT_VARIABLE)
        .map_or_else(|| env!("CARGO_BIN_EXE_ptest-init").into(), PathBuf::from)
}

pub(crate) fn launcher() -> Launcher {
    Launcher::new(init_program())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says whether to skip a test, and why. Where `PTEST_TEST_REQUIRE` names the need, it fails instead.
pub(crate) fn lacks(need: &str, there: bool, reason: &str) -> bool {
    if there {
        return false;
    }
    let required = std::env::var("PTEST_TEST_REQUIRE").unwrap_or_default();
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    assert!(
        !required.split([',', ' ']).any(|one| one == need),
        "{name} needs {need}, which is required here: {reason}"
    );
    eprintln!("SKIP {name}: {reason}");
    true
}

/// Whether sandboxes with namespaces cannot be made here.
pub(crate) fn lacks_namespaces() -> bool {
    static PROBE: std::sync::OnceLock<Result<(), String>> = std::sync::OnceLock::new();
    let probe = PROBE
        .get_or_init(|| ptest_sandbox::probe::user_namespaces(&launcher()).map_err(|no| no.why));
    lacks(
        "userns",
        probe.is_ok(),
        probe.as_ref().err().map_or("", |why| why),
    )
}

/// Whether stacks cannot be mounted in temporary directories here.
pub(crate) fn lacks_overlays() -> bool {
    if lacks_namespaces() {
        return true;
    }
    let directory = tempdir();
    let probe = ptest_sandbox::probe::overlay(&launcher(), directory.path());
    lacks(
        "overlay",
        probe.is_ok(),
        &probe.err().map_or(String::new(), |no| no.why),
    )
}

pub(crate) fn tempdir() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("ptest-it-")
        .tempdir()
        .unwrap()
}

pub(crate) fn launch(plan: &Plan) -> Sandbox {
    launcher().launch(plan, LaunchOptions::default()).unwrap()
}

pub(crate) fn standard() -> Sandbox {
    launch(&Shape::default().plan().unwrap())
}

/// A shell command with a usual PATH.
pub(crate) fn shell(script: impl Into<OsString>) -> Command {
    Command::new("/bin/sh")
        .arg("-c")
        .arg(script)
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn code(&self) -> i32 {
        self.exit.status.code()
    }
}

pub(crate) fn null() -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap()
}

/// Held by tests that start very many processes or need some to be had: one user has only so many at a time.
pub(crate) fn crowd() -> std::sync::MutexGuard<'static, ()> {
    static CROWD: std::sync::Mutex<()> = std::sync::Mutex::new(());
    CROWD
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A command that runs a Python program, in which `lib` is the C library; none where there is no Python.
pub(crate) fn python(program: &str) -> Option<Command> {
    static INTERPRETER: std::sync::OnceLock<Option<OsString>> = std::sync::OnceLock::new();
    let interpreter = INTERPRETER.get_or_init(|| {
        let output = std::process::Command::new("python3")
            .args(["-c", "import sys; print(sys.executable, end='')"])
            .output()
            .ok()?;
        Some(String::from_utf8(output.stdout).ok()?.into())
    });
    let program = format!(
        "import ctypes, os, signal, sys, threading, time\nlib = ctypes.CDLL(None, use_errno=True)\n{program}"
    );
    if lacks("pythons", interpreter.is_some(), "there is no python3") {
        return None;
    }
    Some(Command::new(interpreter.clone()?).args(["-I", "-c", &program]))
}

/// Whether nobody can write to a pipe any more: whoever had it as standard output is dead.
pub(crate) fn is_abandoned(reader: &std::io::PipeReader) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut state = [PollFd::new(reader, PollFlags::empty())];
    poll(&mut state, Some(&rustix::event::Timespec::default())).unwrap() == 1
}

/// Starts a command whose output nobody sees.
pub(crate) fn start(sandbox: &Sandbox, command: &Command) -> Run {
    sandbox
        .spawn(command, Stdio::Descriptors([null().as_fd(); 3]))
        .unwrap()
}

/// Starts a command and returns what it writes.
pub(crate) fn start_piped(sandbox: &Sandbox, command: &Command) -> (Run, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let null = null();
    let stdio = Stdio::Descriptors([null.as_fd(), writer.as_fd(), writer.as_fd()]);
    (sandbox.spawn(command, stdio).unwrap(), reader)
}

/// Runs a command to its end.
pub(crate) fn run(sandbox: &Sandbox, command: &Command) -> Output {
    try_run(sandbox, command, "").unwrap()
}

/// Runs a shell script to its end and returns what it wrote, which must have worked.
pub(crate) fn sh(sandbox: &Sandbox, script: &str) -> String {
    let output = run(sandbox, &shell(script));
    assert_eq!(output.code(), 0, "{script}: {output:?}");
    output.stdout.trim_end().to_owned()
}

pub(crate) fn try_run(sandbox: &Sandbox, command: &Command, input: &str) -> Result<Output, Error> {
    let (stdin, mut typed) = std::io::pipe().unwrap();
    let (mut stdout, out) = std::io::pipe().unwrap();
    let (mut stderr, err) = std::io::pipe().unwrap();
    let stdio = Stdio::Descriptors([stdin.as_fd(), out.as_fd(), err.as_fd()]);
    let run = sandbox.spawn(command, stdio)?;
    drop((stdin, out, err));
    typed.write_all(input.as_bytes()).unwrap();
    drop(typed);
    let errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut bytes = Vec::new();
    stdout.read_to_end(&mut bytes).unwrap();
    let exit = run.wait_for(LIMIT)?.expect("the command does not end");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output {
        exit,
        stdout: text(bytes),
        stderr: text(errors.join().unwrap()),
    })
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// Reads one line without reading further.
pub(crate) fn read_line(reader: &mut impl std::io::Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while reader.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// The processes of the host that are in a mount namespace.
pub(crate) fn processes_in(namespace: u64) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| mount_namespace(*pid) == Some(namespace))
        .collect()
}

/// The mount namespace of a process, if it lives and may be looked at.
pub(crate) fn mount_namespace(pid: u32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/mnt"))
        .ok()
        .map(|metadata| metadata.ino())
}

/// The processes of the host whose command line contains a text.
pub(crate) fn processes_with(marker: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != std::process::id() && String::from_utf8_lossy(&line).contains(marker)
    };
    pids.filter(has).collect()
}

/// A text that no other command line on this machine contains.
pub(crate) fn marker() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}{next:04}", 100_000 + std::process::id())
}

pub(crate) fn open_directory(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

/// Runs a test of this program by itself, as another process does what the test's code says.
pub(crate) fn helper(name: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([
        "--ignored",
        "--exact",
        name,
        "--nocapture",
        "--test-threads=1",
    ]);
    command
}
