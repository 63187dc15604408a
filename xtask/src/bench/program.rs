//! The built `ptest` program, driven as a user would: each command a whole process, in a store of its own.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::clock;
use super::sets::Set;
use crate::process::{self, Result};

/// The program and a store that knows every set.
pub(crate) struct Program {
    executable: PathBuf,
    python: PathBuf,
    uv: PathBuf,
    home: PathBuf,
    work: PathBuf,
    serial: Cell<usize>,
}

impl Program {
    /// Makes a store below `scratch` in which the recipe of every set is known.
    ///
    /// # Errors
    ///
    /// When ptest fails; the message holds its words.
    pub(crate) fn prepare(
        executable: &Path,
        scratch: &Path,
        python: &Path,
        uv: &Path,
        sets: &[Set],
    ) -> Result<Self> {
        let ptest = Self {
            executable: executable.to_owned(),
            python: python.to_owned(),
            uv: uv.to_owned(),
            home: scratch.join("ptest-home"),
            work: scratch.join("ptest-work"),
            serial: Cell::new(0),
        };
        fs::create_dir_all(&ptest.work)?;
        for set in sets {
            process::output(&mut ptest.run(set))?;
        }
        // What happens by itself after a first use.
        process::output(&mut ptest.command(&["improve"]))?;
        Ok(ptest)
    }

    /// The same program with a store below `scratch` that knows one set only.
    ///
    /// # Errors
    ///
    /// When ptest fails.
    pub(crate) fn in_another_store(&self, scratch: &Path, set: &Set) -> Result<Self> {
        let sets = std::slice::from_ref(set);
        Self::prepare(&self.executable, scratch, &self.python, &self.uv, sets)
    }

    /// A name that no environment has had.
    pub(crate) fn fresh(&self) -> String {
        self.serial.set(self.serial.get() + 1);
        format!("bench-{}", self.serial.get())
    }

    /// The program with these words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(words).current_dir(&self.work);
        command
            .env("PTEST_HOME", &self.home)
            .env("PTEST_UV", &self.uv)
            // Or it would be measured beside whatever comes next.
            .env("PTEST_IMPROVE", "false");
        command
    }

    /// Creates an environment of a set.
    pub(crate) fn create(&self, name: &str, set: &Set) -> Command {
        let mut command = self.command(&["create", name]);
        self.ask_for(&mut command, set);
        command
    }

    /// Runs a Python that does nothing in an environment of a set.
    pub(crate) fn run(&self, set: &Set) -> Command {
        let mut command = self.command(&["run"]);
        self.ask_for(&mut command, set);
        command.args(["--", "python", "-c", "pass"]);
        command
    }

    /// The same for requirements held to the lock's versions.
    pub(crate) fn run_combination(&self, requirements: &[&str], lock: &Path) -> Command {
        let mut command = self.command(&["run", "--python"]);
        command.arg(&self.python).arg("--constraint").arg(lock);
        for requirement in requirements {
            command.arg("--with").arg(requirement);
        }
        command.args(["--", "python", "-c", "pass"]);
        command
    }

    /// The time to create an environment of a known recipe; it is removed outside the clock.
    pub(crate) fn time_create(&self, set: &Set) -> Result<Duration> {
        let name = self.fresh();
        let time = clock::time(&mut [self.create(&name, set)])?;
        process::output(&mut self.command(&["remove", &name]))?;
        Ok(time)
    }

    /// The time to create so many environments with nothing in them; they are removed outside the clock.
    pub(crate) fn time_create_many(&self, count: usize) -> Result<Duration> {
        let name = self.fresh();
        let label = format!("bench={name}");
        let count = count.to_string();
        let mut create = self.command(&["create", &name, "--count", &count, "--label", &label]);
        create.arg("--python").arg(&self.python);
        let time = clock::time(&mut [create])?;
        process::output(&mut self.command(&["remove", "--selector", &label]))?;
        Ok(time)
    }

    /// The time until Python has imported what a set is for in a fresh environment, which is made and removed outside the
    /// clock.
    pub(crate) fn time_imports(&self, set: &Set) -> Result<Duration> {
        let name = self.fresh();
        process::output(&mut self.create(&name, set))?;
        let time =
            clock::time(&mut [self.command(&["exec", &name, "--", "python", "-c", set.imports])])?;
        process::output(&mut self.command(&["remove", &name]))?;
        Ok(time)
    }

    /// The time to activate an environment.
    pub(crate) fn time_activate(&self, set: &Set) -> Result<Duration> {
        let name = self.fresh();
        process::output(&mut self.create(&name, set))?;
        let time = clock::time(&mut [self.command(&["activate", &name])])?;
        process::output(&mut self.command(&["remove", &name]))?;
        Ok(time)
    }

    /// The time to remove an environment that is inactive, or active.
    pub(crate) fn time_remove(&self, set: &Set, active: bool) -> Result<Duration> {
        let name = self.fresh();
        process::output(&mut self.create(&name, set))?;
        if active {
            process::output(&mut self.command(&["activate", &name]))?;
        }
        clock::time(&mut [self.command(&["remove", &name])])
    }

    /// An active environment of a set, for works that need one.
    ///
    /// # Errors
    ///
    /// When ptest fails.
    pub(crate) fn active(&self, set: &Set) -> Result<String> {
        let name = self.fresh();
        process::output(&mut self.create(&name, set))?;
        process::output(&mut self.command(&["activate", &name]))?;
        Ok(name)
    }

    /// Its name and version.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub(crate) fn version(&self) -> Result<String> {
        process::output(&mut self.command(&["--version"]))
    }

    /// Its store.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The Python and the uv that it is measured with.
    pub(crate) fn tools(&self) -> (&Path, &Path) {
        (&self.python, &self.uv)
    }

    /// Ends what is active, so that the store can be deleted.
    pub(crate) fn end(self) {
        if let Err(error) = process::output(&mut self.command(&["remove", "--all"])) {
            eprintln!("note: {error}");
        }
    }

    fn ask_for(&self, command: &mut Command, set: &Set) {
        command.arg("--python").arg(&self.python);
        if let Some(lock) = &set.lock {
            command.arg("--requirements").arg(lock);
        }
    }
}
