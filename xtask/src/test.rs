//! `cargo xtask test`: everything that must hold before a change is merged, in one command.
//!
//! Installs what the tests need under `target`, builds, checks format, lints, rules, generated files and the book, runs every test of
//! the workspace and of the Python package, and looks for what the tests left on the machine. All steps run even when one fails. How
//! long each took is said at the end, on standard error. The last line of standard output is `N passed, N failed, N skipped`; a failed
//! step counts as one failure.

mod package;
pub(crate) mod places;
mod steps;
mod summary;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ptest_testkit::leftovers::{Leftovers, RUN_VARIABLE, Scope};
use ptest_testkit::requirement::{REQUIRE_VARIABLE, SKIPS_VARIABLE};

use self::steps::Steps;
use self::summary::{Runner, Summary};
use crate::process::{self, Result};
use crate::vm;
use crate::workspace::Workspace;
use crate::{book, docs, fuzz, tidy, tools};

/// What a machine that tests ptest for others must have: there a skip is a failure.
const CI_REQUIRES: &str =
    "userns,overlay,network,root,uv,pythons,reflink,cgroup,landlock,python,vm,strace";

/// How long each fuzz target runs.
const FUZZ_SECONDS: u32 = 10;

/// How long processes, mounts and cgroups may take to go after the last test.
const SETTLING: Duration = Duration::from_secs(15);

/// Install what the tests need and run everything that must hold
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run the tests alone: no format, lints, rules or generated files
    #[arg(long)]
    only_tests: bool,
    /// The wheel of the Python package alone: builds it and runs its tests in every Python
    #[arg(long, conflicts_with_all = ["only_tests", "cargo"])]
    only_python: bool,
    /// Arguments for `cargo test`, such as `-p ptest-store`; the whole workspace without any
    #[arg(last = true)]
    cargo: Vec<String>,
}

/// Runs every step and prints the summary; the code is 1 when a step or a test failed or no test ran.
///
/// # Errors
///
/// When the machine lacks what even the first step needs.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    let mut steps = Steps::default();
    let machine = steps.timed("tools", || Machine::prepare(workspace))?;

    if !arguments.only_python {
        steps.step("build", || {
            process::run(workspace.cargo().args(["build", "--workspace"]))
        });
    }
    if !arguments.only_tests && !arguments.only_python {
        steps.step("format", || {
            process::run(workspace.cargo().args(["fmt", "--all", "--check"]))
        });
        steps.step("rules", || tidy::run(workspace));
        steps.step("lints", || process::run(workspace.cargo().args(CLIPPY)));
        steps.step("generated files", || docs::check(workspace));
        steps.step("book", || book::check(workspace, &machine.uv).map(drop));
        if has_cargo_deny(workspace) {
            steps.step("dependencies", || {
                process::run(workspace.cargo().args(DENY))
            });
        }
        // Elsewhere it is a task of its own: it needs a C++ compiler, and minutes to build.
        if in_ci() {
            steps.step("fuzz", || {
                fuzz::run(workspace, &fuzz::Arguments::all(FUZZ_SECONDS))
            });
        }
    }

    let before = Leftovers::find(&machine.scope)?;
    let mut summary = if arguments.only_python {
        Summary::of_nothing()
    } else {
        steps.timed("tests", || machine.tests(workspace, arguments))?
    };
    // Some tests alone were asked for.
    if arguments.cargo.is_empty() {
        if !arguments.only_python {
            steps.step("tests in a virtual machine", || {
                in_vm(workspace, &mut summary)
            });
        }
        let lints = !arguments.only_tests;
        package::run(workspace, &machine, &mut steps, &mut summary, lints);
    }
    steps.step("leftovers", || {
        nothing_left(&machine.scope, &before, SETTLING)
    });

    if summary.ran() == 0 {
        steps.fail("tests", "none ran");
    } else if summary.ended_early() {
        steps.fail("tests", "a test binary did not build or did not finish");
    }
    summary.failed += steps.failed.len();
    eprint!("{steps}");
    for name in summary.failing.iter().chain(&steps.failed) {
        eprintln!("failed: {name}");
    }
    println!("{summary}");
    Ok(ExitCode::from(u8::from(summary.failed > 0)))
}

const CLIPPY: [&str; 6] = [
    "clippy",
    "--workspace",
    "--all-targets",
    "--all-features",
    "--",
    "-Dwarnings",
];

/// What needs no network: advisories are the business of a job of their own.
const DENY: [&str; 6] = [
    "deny",
    "--all-features",
    "check",
    "bans",
    "licenses",
    "sources",
];

/// What the tests get of this machine: a temporary directory of their own and the tools they drive.
struct Machine {
    scratch: tempfile::TempDir,
    scope: Scope,
    uv: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

impl Machine {
    fn prepare(workspace: &Workspace) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("ptest-test-").tempdir()?;
        let temporary = scratch.path().join("tmp");
        fs::create_dir(&temporary)?;
        // Tests also run programs as an ordinary user: that user needs a way in.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777))?;

        let uv = tools::uv(workspace)?;
        let pythons = tools::missing_pythons(workspace, &uv);
        tools::system_programs();
        let run = format!("{}", std::process::id());
        let scope = Scope {
            roots: vec![scratch.path().canonicalize()?, workspace.target.clone()],
            run: Some(run.clone()),
        };
        let mut environment = vec![
            ("PTEST_UV", uv.clone().into_os_string()),
            ("PATH", tools::path_with(&pythons)?),
            ("TMPDIR", temporary.into_os_string()),
            (RUN_VARIABLE, run.into()),
            (
                SKIPS_VARIABLE,
                scratch.path().join("skips").into_os_string(),
            ),
        ];
        if in_ci() && env::var_os(REQUIRE_VARIABLE).is_none() {
            environment.push((REQUIRE_VARIABLE, CI_REQUIRES.into()));
        }
        Ok(Self {
            scratch,
            scope,
            uv,
            environment,
        })
    }

    fn skips(&self) -> PathBuf {
        self.scratch.path().join("skips")
    }

    /// Runs the tests, shows their output as it comes, and counts.
    fn tests(&self, workspace: &Workspace, arguments: &Arguments) -> Result<Summary> {
        // Unprivileged tests write here too.
        fs::write(self.skips(), "")?;
        fs::set_permissions(self.skips(), fs::Permissions::from_mode(0o666))?;
        let mut command = workspace.cargo();
        command.args(["test", "--no-fail-fast"]);
        if arguments.cargo.is_empty() {
            command.arg("--workspace");
        }
        command
            .args(&arguments.cargo)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let shown = &mut std::io::stdout().lock();
        let mut summary = summarise(&mut command, Runner::Libtest, shown)?;
        summary.add_skips(&fs::read_to_string(self.skips()).unwrap_or_default());
        Ok(summary)
    }
}

/// Runs what needs another kind of machine than this one, and counts.
fn in_vm(workspace: &Workspace, summary: &mut Summary) -> Result<()> {
    let machine = match vm::Machine::prepare(workspace) {
        Ok(machine) => machine,
        Err(error) if is_required("vm") => return Err(error),
        Err(error) => {
            eprintln!("SKIP tests in a virtual machine: {error}");
            summary.skipped += 1;
            return Ok(());
        }
    };
    let failed = summary.failed;
    let outcome = places::run(workspace, &machine)?;
    for line in outcome.output.lines() {
        println!("{line}");
        summary.add_line(Runner::Libtest, line);
    }
    match outcome.status {
        0 => Ok(()),
        // They are counted and named.
        _ if summary.failed > failed => Ok(()),
        status => Err(format!("the tests ended with {status}").into()),
    }
}

/// Whether the absence of something is a failure.
fn is_required(name: &str) -> bool {
    let named = env::var(REQUIRE_VARIABLE).ok();
    let named = named.or_else(|| in_ci().then(|| CI_REQUIRES.to_owned()));
    let named = named.unwrap_or_default();
    named
        .split(',')
        .any(|one| one.trim() == name || one.trim() == "all")
}

fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

fn summarise(command: &mut Command, runner: Runner, shown: &mut dyn Write) -> Result<Summary> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut summary = Summary::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            shown.write_all(&line)?;
            shown.write_all(b"\n")?;
            summary.add_line(runner, &String::from_utf8_lossy(&line));
        }
    }
    summary.succeeded = child.wait()?.success();
    Ok(summary)
}

fn nothing_left(scope: &Scope, before: &Leftovers, settling: Duration) -> Result<()> {
    let deadline = Instant::now() + settling;
    let mut left = Leftovers::find(scope)?.since(before);
    while !left.is_empty() {
        if Instant::now() > deadline {
            return Err(format!("the tests left these behind:\n{left}").into());
        }
        thread::sleep(Duration::from_millis(100));
        left = left.still(&Leftovers::find(scope)?);
    }
    Ok(())
}

fn has_cargo_deny(workspace: &Workspace) -> bool {
    let mut command = workspace.cargo();
    command
        .args(["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(script: &str) -> Summary {
        let mut command = Command::new("sh");
        summarise(
            command.args(["-c", script]),
            Runner::Libtest,
            &mut Vec::new(),
        )
        .unwrap()
    }

    #[test]
    fn a_run_that_dies_without_a_word_has_ended_early() {
        let summary = script(
            "echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'; exit 101",
        );
        assert_eq!(summary.to_string(), "2 passed, 0 failed, 0 skipped");
        assert!(summary.ended_early());
    }

    #[test]
    fn a_run_with_bytes_that_are_no_text_is_counted() {
        let summary =
            script("printf '\\377\\n'; echo 'test result: ok. 1 passed; 0 failed; 0 ignored'");
        assert_eq!(summary.ran(), 1);
        assert!(!summary.ended_early());
    }

    #[test]
    fn something_left_is_named_and_what_was_there_before_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let scope = Scope {
            roots: vec![directory.path().canonicalize().unwrap()],
            run: None,
        };
        let clean = Leftovers::find(&scope).unwrap();
        let mut child = Command::new("sleep")
            .arg("600")
            .current_dir(directory.path())
            .spawn()
            .unwrap();
        let found = nothing_left(&scope, &clean, Duration::ZERO);
        let before = Leftovers::find(&scope).unwrap();
        let ignored = nothing_left(&scope, &before, Duration::ZERO);
        child.kill().unwrap();
        child.wait().unwrap();
        let message = found.unwrap_err().to_string();
        assert!(
            message.contains(&format!("process {}:", child.id())),
            "{message}"
        );
        assert!(ignored.is_ok());
        assert!(nothing_left(&scope, &clean, Duration::ZERO).is_ok());
    }
}
