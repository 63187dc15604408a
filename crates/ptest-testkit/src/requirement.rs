//! Guards for tests that need something of the machine: user namespaces, overlay mounts, the network, root, uv, a Python.
//!
//! A test that cannot run here is skipped visibly, never passed silently: it prints `SKIP <test>: <reason>`, adds a line to
//! the file that `PTEST_TEST_SKIPS` names, and fails instead when `PTEST_TEST_REQUIRE` lists what is missing (`all` lists
//! everything). Each check does the real thing, independently of the code under test. Not for what ptest itself needs of a
//! machine: that is `ptest doctor`.
//!
//! ```no_run
//! # use ptest_testkit::{require, requirement};
//! # fn a_test() {
//! require!(requirement::userns());
//! let python = require!(requirement::python("3.12"));
//! # let _ = python;
//! # }
//! ```

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The variable that lists, with commas, the requirements whose absence fails a test instead of skipping it.
pub const REQUIRE_VARIABLE: &str = "PTEST_TEST_REQUIRE";

/// The variable that names the file to which skipped tests are added, one `<test>\t<reason>` a line.
pub const SKIPS_VARIABLE: &str = "PTEST_TEST_SKIPS";

/// Something a test needs of the machine, with what the test wants to know of it or why it is not there.
#[derive(Clone, Debug)]
#[must_use = "pass it to `require!`"]
pub struct Requirement<T = ()> {
    name: &'static str,
    state: Result<T, String>,
}

impl<T> Requirement<T> {
    /// A requirement of a test's own: `name` is what `PTEST_TEST_REQUIRE` calls it.
    pub fn new(name: &'static str, state: Result<T, String>) -> Self {
        Self { name, state }
    }

    /// The value, or the reason why there is none.
    ///
    /// For runners that list skipped tests themselves; a test uses [`require!`](crate::require).
    ///
    /// # Panics
    ///
    /// When the requirement is not met and `PTEST_TEST_REQUIRE` names it.
    pub fn into_result(self) -> Result<T, String> {
        self.resolve(env::var(REQUIRE_VARIABLE).ok().as_deref())
    }

    /// The value, or `None` after saying that `test` is skipped and why.
    ///
    /// # Panics
    ///
    /// When the requirement is not met and `PTEST_TEST_REQUIRE` names it, or when the skip cannot be recorded: one that
    /// nobody sees would count as passed.
    pub fn or_skip(self, test: &str) -> Option<T> {
        match self.into_result() {
            Ok(value) => Some(value),
            Err(reason) => {
                // Straight to the descriptor: the test runner would hide what a passing test prints.
                let _ = write!(io::stderr(), "SKIP {}", skip_line(test, &reason, ": "));
                record_skip(test, &reason, env::var_os(SKIPS_VARIABLE).as_deref()).unwrap_or_else(
                    |error| panic!("cannot record that {test} is skipped: {error}"),
                );
                None
            }
        }
    }

    fn resolve(self, required: Option<&str>) -> Result<T, String> {
        self.state.map_err(|reason| {
            let is_required = required
                .unwrap_or_default()
                .split(',')
                .map(str::trim)
                .any(|name| name == self.name || name == "all");
            assert!(
                !is_required,
                "{REQUIRE_VARIABLE} names {}: {reason}",
                self.name
            );
            reason
        })
    }
}

/// Gives the value of a [`Requirement`], or returns from the test after saying that it is skipped.
#[macro_export]
macro_rules! require {
    ($requirement:expr) => {
        match $crate::requirement::Requirement::or_skip($requirement, $crate::test_name!()) {
            Some(value) => value,
            None => return,
        }
    };
}

/// The path of the enclosing function, such as `ptest_store::commit::tests::an_empty_tree_is_a_layer`.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        name.strip_suffix("::here").unwrap_or(name)
    }};
}

/// `userns`: user, mount, pid, ipc and uts namespaces can be made by this user.
pub fn userns() -> Requirement {
    static STATE: OnceLock<Result<(), String>> = OnceLock::new();
    let state = STATE.get_or_init(|| {
        succeeds(Command::new("unshare").args([
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "true",
        ]))
        .map_err(|why| format!("no user namespaces: {why}"))
    });
    Requirement::new("userns", state.clone())
}

/// `overlay`: an overlay can be mounted in a user namespace over directories of the temporary directory, and written to.
pub fn overlay() -> Requirement {
    const SCRIPT: &str = "mkdir lower upper work merged && mkdir lower/old && \
        mount -t overlay overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work merged && \
        rmdir merged/old && mkdir merged/old && : > merged/old/new && test -e upper/old/new";
    static STATE: OnceLock<Result<(), String>> = OnceLock::new();
    let state = STATE.get_or_init(|| {
        let scratch =
            tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
        succeeds(
            Command::new("unshare")
                .args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT])
                .current_dir(scratch.path()),
        )
        .map_err(|why| format!("no overlay mounts: {why}"))
    });
    Requirement::new("overlay", state.clone())
}

/// `network`: pip brings a small distribution from the index that it is set up for.
pub fn network() -> Requirement {
    static STATE: OnceLock<Result<(), String>> = OnceLock::new();
    let state = STATE.get_or_init(|| {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        succeeds(
            Command::new("python3")
                .args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--no-cache-dir",
                ])
                .args(["--timeout", "10", "--retries", "0", "--dest"])
                .arg(directory.path())
                .arg("six==1.17.0"),
        )
        .map_err(|why| format!("no index: {why}"))
    });
    Requirement::new("network", state.clone())
}

/// `root`: the test runs as uid 0.
pub fn root() -> Requirement {
    let state = match effective_uid() {
        Ok(0) => Ok(()),
        Ok(uid) => Err(format!("runs as uid {uid}, not as root")),
        Err(error) => Err(format!("cannot tell who runs this: {error}")),
    };
    Requirement::new("root", state)
}

/// `uv`: the program that `PTEST_UV` names, else `uv` on PATH.
pub fn uv() -> Requirement<PathBuf> {
    let state = env::var_os("PTEST_UV")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| on_path("uv"))
        .ok_or_else(|| String::from("no uv: PTEST_UV is not set and PATH has none"))
        .and_then(|uv| match succeeds(Command::new(&uv).arg("--version")) {
            Ok(()) => Ok(uv),
            Err(why) => Err(format!("uv at {} does not run: {why}", uv.display())),
        });
    Requirement::new("uv", state)
}

/// `pythons`: a CPython of this version, such as `3.12`, as pyenv installed it or as `python3.12` on PATH.
///
/// Gives the real executable, never a pyenv shim.
pub fn python(version: &str) -> Requirement<PathBuf> {
    Requirement::new("pythons", installed_python(version))
}

/// `free-threaded`: likewise, a CPython without the interpreter's lock, such as `3.14t`.
pub fn free_threaded_python(version: &str) -> Requirement<PathBuf> {
    Requirement::new("free-threaded", installed_python(version))
}

/// `strace`: what a process asks of the kernel can be traced.
pub fn strace() -> Requirement {
    let traced = succeeds(Command::new("strace").args(["-f", "-o", "/dev/null", "true"]));
    let state = traced.map_err(|why| format!("nothing can be traced: {why}"));
    Requirement::new("strace", state)
}

/// `<name>`: a program on PATH, for the few tests that drive another tool.
pub fn program(name: &'static str) -> Requirement<PathBuf> {
    Requirement::new(
        name,
        on_path(name).ok_or_else(|| format!("no {name} on PATH")),
    )
}

/// The line that says that a test was skipped; a reason is kept to one line.
fn skip_line(test: &str, reason: &str, separator: &str) -> String {
    format!(
        "{test}{separator}{}\n",
        reason.split_whitespace().collect::<Vec<_>>().join(" ")
    )
}

fn record_skip(test: &str, reason: &str, file: Option<&OsStr>) -> io::Result<()> {
    let Some(file) = file else { return Ok(()) };
    // One write of a short line to a file opened for appending: lines of parallel tests do not mix.
    let line = skip_line(test, reason, "\t");
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)?
        .write_all(line.as_bytes())
}

pub(crate) fn succeeds(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("it says nothing");
    Err(format!("{program}: {}: {}", output.status, last.trim()))
}

fn effective_uid() -> io::Result<u32> {
    let status = fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1))
        .and_then(|uid| uid.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/self/status has no Uid line"))
}

fn installed_python(version: &str) -> Result<PathBuf, String> {
    pyenv_python(version)
        .or_else(|| on_path(&format!("python{version}")))
        .filter(|python| succeeds(Command::new(python).args(["-I", "-c", "pass"])).is_ok())
        .ok_or_else(|| format!("no Python {version}"))
}

fn pyenv_python(version: &str) -> Option<PathBuf> {
    let root = match env::var_os("PYENV_ROOT") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env::var_os("HOME")?).join(".pyenv"),
    };
    fs::read_dir(root.join("versions"))
        .ok()?
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| is_of(name, version))
        })
        .map(|entry| entry.path().join("bin/python"))
        .find(|python| is_executable(python))
}

/// Whether a Python that pyenv calls so is of this version: `3.14.2t` is of `3.14t`, not of `3.14`.
fn is_of(name: &str, version: &str) -> bool {
    let parts = |text: &str| match text.strip_suffix('t') {
        Some(numbers) => (numbers.to_owned(), true),
        None => (text.to_owned(), false),
    };
    let ((name, is_free), (version, is_wanted_free)) = (parts(name), parts(version));
    is_free == is_wanted_free && (name == version || name.starts_with(&format!("{version}.")))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> Requirement {
        Requirement::new("moon", Err(String::from("no moon\ntonight")))
    }

    #[test]
    fn a_missing_requirement_gives_its_reason_when_nobody_insists() {
        assert_eq!(
            missing().resolve(None),
            Err(String::from("no moon\ntonight"))
        );
        assert_eq!(
            missing().resolve(Some("sun,moonlight")),
            Err(String::from("no moon\ntonight"))
        );
    }

    #[test]
    #[should_panic(expected = "PTEST_TEST_REQUIRE names moon")]
    fn a_missing_requirement_that_is_named_fails_the_test() {
        let _ = missing().resolve(Some("sun, moon"));
    }

    #[test]
    #[should_panic(expected = "PTEST_TEST_REQUIRE names moon")]
    fn the_word_all_names_every_requirement() {
        let _ = missing().resolve(Some("all"));
    }

    #[test]
    fn a_met_requirement_gives_its_value_whoever_insists() {
        assert_eq!(Requirement::new("moon", Ok(7)).resolve(Some("all")), Ok(7));
    }

    #[test]
    fn a_skip_is_one_line_with_test_and_reason() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("skips");
        record_skip("a::b", "no moon\ntonight", Some(file.as_os_str())).unwrap();
        record_skip("a::c", "no sun", Some(file.as_os_str())).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "a::b\tno moon tonight\na::c\tno sun\n"
        );
    }

    #[test]
    fn a_skip_that_cannot_be_recorded_is_an_error() {
        assert!(record_skip("a::b", "no moon", Some(OsStr::new("/nonexistent/skips"))).is_err());
    }

    #[test]
    fn the_name_of_a_test_is_its_path() {
        assert_eq!(
            crate::test_name!(),
            "ptest_testkit::requirement::tests::the_name_of_a_test_is_its_path"
        );
    }

    #[test]
    fn a_python_without_a_lock_is_another_than_the_one_with_it() {
        assert!(is_of("3.14.2", "3.14") && is_of("3.14.2", "3.14.2"));
        assert!(is_of("3.14.2t", "3.14t") && is_of("3.14t", "3.14t"));
        assert!(!is_of("3.14.2t", "3.14") && !is_of("3.14.2", "3.14t"));
        assert!(!is_of("3.140.2", "3.14"));
    }

    #[test]
    fn a_failing_program_gives_its_last_words() {
        let why =
            succeeds(Command::new("sh").args(["-c", "echo first >&2; echo last >&2; exit 3"]))
                .unwrap_err();
        assert!(
            why.contains("exit status: 3") && why.ends_with("last"),
            "{why}"
        );
    }
}
