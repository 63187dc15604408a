//! The Python package as users get it: its wheel in a virtual environment, beside the plugins and libraries that Python users
//! have for the same, with one pytest that all of them work with.
//!
//! A plugin is loaded only where it is measured, and each is compared with the same pytest without it.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::clock;
use super::library::Library;
use super::peers::Peers;
use super::program::Program;
use crate::process::{self, Result};
use crate::tools;
use crate::wheel;
use crate::workspace::Workspace;

const PYTEST: &str = "pytest==8.4.2";

const PEERS: [&str; 4] = [
    "pytest-forked==1.7.5",
    "pytest-isolate==0.0.17",
    "pytest-isolated==0.6.0",
    "pytest-virtualenv==1.8.1",
];

/// The name under which pytest loads the package's plugin.
const OWN: &str = "ptest";

/// The scripts, below the repository's top.
const SCRIPTS: &str = "bench/python";

/// How a suite is run: with which words for pytest, in how large a process, with which fixture.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) words: &'static [&'static str],
    pub(crate) fixture: Option<&'static str>,
    pub(crate) tests: u32,
    pub(crate) megabytes: u32,
}

/// The package, its peers and a suite of tests that do nothing.
pub(crate) struct Package {
    environment: PathBuf,
    suite: PathBuf,
    home: PathBuf,
    uv: PathBuf,
    virtualenv_data: PathBuf,
    /// Where the peers' temporary files are; the package's own sandboxes are for those of the machine.
    temporary: PathBuf,
    library: Library,
    /// The last suite without a plugin: in which round, of how many tests in how large a process, and what it took.
    bare: Cell<Option<(usize, u32, u32, Duration)>>,
}

impl Package {
    /// Installs the wheel, which is built if it is not given, and the peers below `scratch`.
    ///
    /// # Errors
    ///
    /// When the wheel does not build, or something cannot be installed.
    pub(crate) fn prepare(
        workspace: &Workspace,
        scratch: &Path,
        peers: &Peers,
        program: &Program,
        wheel: Option<&Path>,
    ) -> Result<Self> {
        let wheel = match wheel {
            Some(wheel) => workspace.root.join(wheel),
            None => wheel::build(workspace, wheel::PROFILE)?.path,
        };
        let scratch = scratch.join("python");
        let environment = scratch.join("environment");
        process::output(&mut peers.uv_venv(&environment))?;
        let mut install = peers.uv_pip_install(&environment, "copy");
        // As pip does it.
        install.arg("--compile-bytecode");
        install.arg(format!("ptest-env @ file://{}", wheel.display()));
        process::output(install.args([PYTEST, tools::VIRTUALENV]).args(PEERS))?;
        let scripts = workspace.root.join(SCRIPTS);
        let suite = scratch.join("suite");
        fs::create_dir_all(&suite)?;
        for entry in fs::read_dir(scripts.join("suite"))? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "py") {
                fs::copy(&file, suite.join(file.file_name().unwrap_or_default()))?;
            }
        }
        fs::write(suite.join("pytest.ini"), "[pytest]\n")?;
        let temporary = scratch.join("temporary");
        fs::create_dir_all(&temporary)?;
        let home = scratch.join("home");
        let (python, uv) = program.tools();
        let virtualenv_data = scratch.join("virtualenv-data");
        let mut library = within(&environment, &virtualenv_data, &home, uv);
        library
            .arg(scripts.join("library.py"))
            .arg(&home)
            .arg(python)
            .arg(uv);
        Ok(Self {
            library: Library::start_by(&mut library)?,
            uv: uv.to_owned(),
            bare: Cell::new(None),
            environment,
            suite,
            home,
            virtualenv_data,
            temporary,
        })
    }

    /// Does one work of `bench/python/library.py` and gives the time it took.
    pub(crate) fn time(&self, work: &str) -> Result<Duration> {
        self.library.time(work)
    }

    /// The environment's Python with these words.
    pub(crate) fn python(&self, words: &[&str]) -> Command {
        let mut command = within(
            &self.environment,
            &self.virtualenv_data,
            &self.home,
            &self.uv,
        );
        command.args(words).current_dir(&self.suite);
        command
    }

    /// pytest with no plugin but those in `words`.
    pub(crate) fn pytest(&self, words: &[&str]) -> Command {
        let mut command = self.python(&["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
        command
            .args(words)
            .env("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1");
        command
    }

    /// What a test costs more than one of a suite that has neither plugin nor fixture.
    ///
    /// All of it counts, from the start of pytest to its end.
    pub(crate) fn time_of_a_test(&self, round: usize, run: Run) -> Result<Duration> {
        let bare = match self.bare.get() {
            Some((of, tests, megabytes, time))
                if (of, tests, megabytes) == (round, run.tests, run.megabytes) =>
            {
                time
            }
            _ => self.time_suite(Run {
                words: &[],
                fixture: None,
                ..run
            })?,
        };
        self.bare.set(Some((round, run.tests, run.megabytes, bare)));
        Ok(self.time_suite(run)?.saturating_sub(bare) / run.tests)
    }

    fn time_suite(&self, run: Run) -> Result<Duration> {
        let mut pytest = self.pytest(run.words);
        pytest
            .env("BENCH_TESTS", run.tests.to_string())
            .env("BENCH_MEGABYTES", run.megabytes.to_string());
        if !run.words.contains(&OWN) {
            // Some leave files there.
            pytest.env("TMPDIR", &self.temporary);
        }
        if let Some(fixture) = run.fixture {
            pytest.env("BENCH_FIXTURE", fixture);
        }
        clock::time(&mut [pytest])
    }

    /// The names and versions of what it is compared with.
    pub(crate) fn versions() -> impl Iterator<Item = String> {
        std::iter::once(PYTEST)
            .chain(PEERS)
            .map(|requirement| requirement.replace("==", " "))
    }

    /// Lets it clean up and end.
    pub(crate) fn end(self) {
        self.library.end();
    }
}

/// A Python with a store and caches of its own.
fn within(environment: &Path, virtualenv_data: &Path, home: &Path, uv: &Path) -> Command {
    let mut command = Command::new(environment.join("bin/python"));
    command
        .env("PTEST_HOME", home)
        .env("PTEST_UV", uv)
        .env("PTEST_IMPROVE", "false")
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .env("VIRTUALENV_OVERRIDE_APP_DATA", virtualenv_data);
    command
}
