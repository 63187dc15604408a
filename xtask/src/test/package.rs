//! The Python package as users get it: the wheel, installed into a fresh virtual environment of each CPython, the free-threaded
//! one too, with everything in `python/tests` run there and the package's types compared with what is in it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Instant;

use ptest_testkit::requirement;
use tempfile::TempDir;

use super::steps::Steps;
use super::summary::{Runner, Summary};
use super::{Machine, is_required, summarise};
use crate::process::{self, Result};
use crate::tools;
use crate::wheel::{self, Kind};
use crate::workspace::Workspace;

/// The Pythons that the package is for. The first takes longest, so that nobody waits for it alone.
const PYTHONS: [&str; 5] = [WHOLE, "3.9", "3.10", "3.11", "3.13"];

/// The one in which the package's text is looked at too, and in which all tests are run: `python/tests/conftest.py` has it too.
const WHOLE: &str = "3.12";

/// What only the stubs have, each with its reason.
const ALLOWED: &str = "python/stubtest-allowlist.txt";

/// The free-threaded one, for which there is a wheel of its own.
const FREE_THREADED: &str = "3.14t";

/// In how many Pythons tests run at once: most of the time each waits for one process.
const AT_ONCE: usize = 2;

/// Builds the wheels and tests them in every Python that is here; one that is not is counted as skipped. Tests that fail
/// are counted and named. A Python in which the wheel cannot be installed or is not well typed, or whose tests end early, is
/// a failed step.
pub(super) fn run(
    workspace: &Workspace,
    machine: &Machine,
    steps: &mut Steps,
    summary: &mut Summary,
    lints: bool,
) {
    let Some(plan) = steps.step("wheels", || Plan::prepare(workspace, machine)) else {
        return;
    };
    for version in plan.missing {
        eprintln!("SKIP the Python package in {version}: no Python {version}");
        summary.skipped += 1;
    }
    let scratch = plan.scratch.path();
    let waiting = Mutex::new(plan.runs.into_iter());
    let next = || waiting.lock().ok()?.next();
    let (sender, ended) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(run) = next() {
                    let began = Instant::now();
                    let environment = Environment::at(workspace, machine, run.version, scratch);
                    let mut output = Vec::new();
                    let outcome = environment.outcome(&run, lints, &mut output);
                    // Who listens does so until all have ended.
                    let _sent = sender.send((run.version, began.elapsed(), output, outcome));
                }
            });
        }
        drop(sender);
        for (version, time, output, outcome) in ended {
            // One after the other: of two at once nobody could say whose a line is.
            print!("{}", String::from_utf8_lossy(&output));
            let name = format!("Python {version}");
            steps.took(&name, time);
            match outcome {
                Ok((ran, problems)) => {
                    for problem in problems {
                        steps.fail(&name, problem);
                    }
                    summary.add(ran, &format!("{name}: "));
                }
                Err(error) => steps.fail(&name, error),
            }
        }
    });
}

/// A wheel in a Python.
struct Run {
    version: &'static str,
    python: PathBuf,
    wheel: PathBuf,
}

/// What there is to do here.
struct Plan {
    scratch: TempDir,
    runs: Vec<Run>,
    /// Pythons that are not here.
    missing: Vec<&'static str>,
}

impl Plan {
    fn prepare(workspace: &Workspace, machine: &Machine) -> Result<Self> {
        let builder = wheel::Builder::prepare(workspace, wheel::PROFILE)?;
        let wheel = builder.build(Kind::Locking)?.path;
        let mut plan = Self {
            // Not below /tmp, which is private in environments: the tests' projects must be seen there.
            scratch: tempfile::tempdir_in(&workspace.target)?,
            runs: Vec::new(),
            missing: Vec::new(),
        };
        for version in PYTHONS {
            match tools::python_of(workspace, &machine.uv, version) {
                Some(python) => plan.add(version, python, wheel.clone()),
                None if is_required("pythons") => return Err(format!("no Python {version}").into()),
                None => plan.missing.push(version),
            }
        }
        match requirement::free_threaded_python(FREE_THREADED).into_result() {
            Ok(python) => {
                let wheel = builder.build(Kind::FreeThreaded)?.path;
                plan.add(FREE_THREADED, python, wheel);
            }
            Err(_) => plan.missing.push(FREE_THREADED),
        }
        Ok(plan)
    }

    fn add(&mut self, version: &'static str, python: PathBuf, wheel: PathBuf) {
        self.runs.push(Run {
            version,
            python,
            wheel,
        });
    }
}

/// A virtual environment with the wheel and what its tests need, not with the repository's sources.
struct Environment<'a> {
    workspace: &'a Workspace,
    machine: &'a Machine,
    version: &'a str,
    scratch: &'a Path,
    directory: PathBuf,
}

impl<'a> Environment<'a> {
    fn at(
        workspace: &'a Workspace,
        machine: &'a Machine,
        version: &'a str,
        scratch: &'a Path,
    ) -> Self {
        Self {
            workspace,
            machine,
            version,
            scratch,
            directory: scratch.join(format!("python-{version}")),
        }
    }

    /// Fills it and runs the tests in it. Gives what they came to, and what is wrong besides.
    fn outcome(
        &self,
        run: &Run,
        lints: bool,
        shown: &mut Vec<u8>,
    ) -> Result<(Summary, Vec<String>)> {
        self.fill(&run.python, &run.wheel)?;
        let mut problems = Vec::new();
        if lints && self.version == WHOLE {
            problems = self.lints()?;
        }
        let ran = self.tests(shown)?;
        if ran.ended_early() || ran.ran() == 0 {
            problems.push("the tests did not finish".to_owned());
        }
        Ok((ran, problems))
    }

    fn fill(&self, python: &Path, wheel: &Path) -> Result<()> {
        let mut create = self.uv();
        create.arg("venv").arg("--python").arg(python);
        process::run(create.arg(&self.directory))?;
        self.install(&[
            format!("ptest-env[uv] @ file://{}", wheel.display()).as_ref(),
            "--group".as_ref(),
            "test".as_ref(),
        ])
    }

    fn uv(&self) -> Command {
        let mut command = Command::new(&self.machine.uv);
        command
            .arg("--quiet")
            .env("UV_LINK_MODE", "copy")
            // As pip does for users. Each test starts Pythons; they write no bytecode, and would compile pytest each time.
            .env("UV_COMPILE_BYTECODE", "true")
            .current_dir(&self.workspace.root);
        command
    }

    fn install(&self, what: &[&OsStr]) -> Result<()> {
        let mut install = self.uv();
        install.args(["pip", "install", "--python"]);
        install.arg(self.program("python")).args(what);
        process::run(&mut install)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.directory.join("bin").join(name)
    }

    /// A program of the environment, as one who works in it would start it.
    fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(self.program(program));
        command
            .envs(
                self.machine
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            // What is in the environment is what is tested.
            .env_remove("PTEST_UV")
            .env("PATH", tools::path_after(&self.directory.join("bin"))?)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("VIRTUAL_ENV", &self.directory);
        Ok(command)
    }

    /// Runs the package's tests.
    fn tests(&self, shown: &mut Vec<u8>) -> Result<Summary> {
        let mut pytest = self.command("python")?;
        pytest
            .args(["-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider"])
            .arg("--basetemp")
            .arg(self.scratch.join(format!("pytest-{}", self.version)))
            .arg("python/tests")
            .current_dir(&self.workspace.root);
        writeln!(shown, "Python {}: {}", self.version, process::line(&pytest))?;
        summarise(&mut pytest, Runner::Pytest, shown)
    }

    /// What is wrong with the form or the types of the package.
    fn lints(&self) -> Result<Vec<String>> {
        self.install(&["--group".as_ref(), "lint".as_ref()])?;
        let runs: [&[&str]; 4] = [
            &["ruff", "format", "--no-cache", "--check", "python", "bench"],
            &["ruff", "check", "--no-cache", "python", "bench"],
            &["mypy", "--cache-dir=/dev/null"],
            &["stubtest", "--allowlist", ALLOWED, "ptest._core"],
        ];
        let mut problems = Vec::new();
        for words in runs {
            let mut command = self.command(words[0])?;
            command.args(&words[1..]).current_dir(&self.workspace.root);
            if let Err(error) = process::run(&mut command) {
                problems.push(error.to_string());
            }
        }
        Ok(problems)
    }
}
