//! The Python package as users get it: the wheel, installed into a fresh virtual environment of each CPython, the free-threaded
//! one too, with everything in `python/tests` run there and the package's types compared with what is in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use ptest_testkit::requirement;

use super::summary::{Runner, Summary};
use super::{Machine, is_required, summarise};
use crate::process::{self, Result};
use crate::tools;
use crate::wheel::{self, Kind};
use crate::workspace::Workspace;

/// The Pythons that the package is for.
const PYTHONS: [&str; 5] = ["3.9", "3.10", "3.11", "3.12", "3.13"];

/// The one in which the package's text is looked at too.
const LINTED: &str = "3.12";

/// What only the stubs have, each with its reason.
const ALLOWED: &str = "python/stubtest-allowlist.txt";

/// The free-threaded one, for which there is a wheel of its own.
const FREE_THREADED: &str = "3.14t";

/// Builds the wheels and tests them in every Python that is here; one that is not is counted as skipped.
///
/// # Errors
///
/// When a wheel does not build, cannot be installed, is not well typed or a run of its tests ends early. Tests that
/// fail are counted and named.
pub(super) fn run(
    workspace: &Workspace,
    machine: &Machine,
    summary: &mut Summary,
    lints: bool,
) -> Result<()> {
    let builder = wheel::Builder::prepare(workspace, wheel::PROFILE)?;
    let wheel = builder.build(Kind::Locking)?.path;
    // Not below /tmp, which is private in environments: the tests' projects must be seen there.
    let scratch = tempfile::tempdir_in(&workspace.target)?;
    let mut problems = Vec::new();
    let mut test = |version: &str, python: &Path, wheel: &Path| -> Result<()> {
        let environment = Environment::at(workspace, machine, version, scratch.path());
        environment.fill(python, wheel)?;
        if lints && version == LINTED {
            problems.extend(environment.lints()?);
        }
        let ran = environment.tests()?;
        if ran.ended_early() || ran.ran() == 0 {
            problems.push(format!("the tests did not finish in Python {version}"));
        }
        summary.add(ran, &format!("Python {version}: "));
        Ok(())
    };
    let mut missing = Vec::new();
    for version in PYTHONS {
        match tools::python_of(workspace, &machine.uv, version) {
            Some(python) => test(version, &python, &wheel)?,
            None if is_required("pythons") => return Err(format!("no Python {version}").into()),
            None => missing.push(version),
        }
    }
    match requirement::free_threaded_python(FREE_THREADED).into_result() {
        Ok(python) => test(
            FREE_THREADED,
            &python,
            &builder.build(Kind::FreeThreaded)?.path,
        )?,
        Err(_) => missing.push(FREE_THREADED),
    }
    for version in missing {
        eprintln!("SKIP the Python package in {version}: no Python {version}");
        summary.skipped += 1;
    }
    match problems.as_slice() {
        [] => Ok(()),
        problems => Err(problems.join("\n").into()),
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
    fn tests(&self) -> Result<Summary> {
        let mut pytest = self.command("python")?;
        pytest
            .args(["-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider"])
            .arg("--basetemp")
            .arg(self.scratch.join(format!("pytest-{}", self.version)))
            .arg("python/tests")
            .current_dir(&self.workspace.root);
        println!("Python {}: {}", self.version, process::line(&pytest));
        summarise(&mut pytest, Runner::Pytest, &mut std::io::stdout().lock())
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
