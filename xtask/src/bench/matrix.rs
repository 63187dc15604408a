//! A project's own tests in every cell of a matrix: `ptest matrix` against tox with tox-uv.
//!
//! Both have the same project, the same Pythons, the same sets and the same uv, install the project as a wheel, and run as many
//! cells at a time as there are processors. What is cold has caches of its own that are empty; both bring everything from the
//! index that this machine is configured for.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::clock;
use crate::process::{self, Result};
use crate::tools;
use crate::workspace::Workspace;

/// The project: small, with tests that need nothing else, and a source archive that has them.
const PROJECT: &str = "click==8.1.8";

/// What tox is installed by.
const TOX: &str = "tox-uv==1.37.1";

const PYTHONS: [&str; 4] = ["3.9", "3.10", "3.11", "3.12"];

/// Sets and what they install.
const SETS: [(&str, &[&str]); 3] = [
    ("pytest7", &["pytest<8"]),
    ("pytest8", &["pytest<9"]),
    ("colour", &["pytest<9", "colorama"]),
];

/// What the cells run.
#[derive(Clone, Copy)]
pub(crate) enum Tests {
    /// The project's own.
    Own,
    /// Next to nothing: what is left is the tool's own time.
    Import,
}

impl Tests {
    fn command(self) -> &'static str {
        match self {
            Self::Own => "pytest -q",
            Self::Import => "python -c \"import click\"",
        }
    }
}

/// The project, unpacked once for each tool, and the tools.
pub(crate) struct Matrix {
    ptest: PathBuf,
    uv: PathBuf,
    tox: PathBuf,
    python: PathBuf,
    path: OsString,
    scratch: PathBuf,
    projects: [PathBuf; 2],
}

impl Matrix {
    /// Downloads the project and tox; `None` if a Python is missing.
    ///
    /// # Errors
    ///
    /// When something cannot be downloaded.
    pub(crate) fn prepare(
        workspace: &Workspace,
        scratch: &Path,
        ptest: &Path,
        python: &Path,
    ) -> Result<Option<Self>> {
        let mut directories = Vec::new();
        for version in PYTHONS {
            match ptest_testkit::requirement::python(version).into_result() {
                Ok(found) => directories.extend(found.parent().map(Path::to_owned)),
                Err(reason) => {
                    eprintln!("note: no matrix is measured: {reason}");
                    return Ok(None);
                }
            }
        }
        let archive = archive(workspace, python)?;
        let scratch = scratch.join("matrix");
        let unpack = |name: &str| -> Result<PathBuf> {
            let directory = scratch.join(name);
            fs::create_dir_all(&directory)?;
            let mut tar = Command::new("tar");
            tar.arg("-xf")
                .arg(&archive)
                .arg("--strip-components=1")
                .arg("-C");
            process::output(tar.arg(&directory))?;
            Ok(directory)
        };
        let matrix = Self {
            ptest: ptest.to_owned(),
            uv: tools::uv(workspace)?,
            tox: tools::python_tool(workspace, TOX)?,
            python: python.to_owned(),
            path: tools::path_with(&directories)?,
            projects: [unpack("with-ptest")?, unpack("with-tox")?],
            scratch,
        };
        let [with_ptest, _] = &matrix.projects;
        let file = with_ptest.join("pyproject.toml");
        let text = fs::read_to_string(&file)?;
        fs::write(file, format!("{text}\n{}", table()))?;
        Ok(Some(matrix))
    }

    /// The time that ptest takes with nothing in its store and no caches.
    pub(crate) fn time_ptest_cold(&self, tests: Tests) -> Result<Duration> {
        self.forget("ptest")?;
        self.time_ptest(tests)
    }

    /// The time that ptest takes where it has done the same before.
    pub(crate) fn time_ptest_warm(&self, tests: Tests) -> Result<Duration> {
        if !self.scratch.join("ptest-home").exists() {
            self.time_ptest(tests)?;
        }
        self.time_ptest(tests)
    }

    /// The time that tox takes with no environments and no caches.
    pub(crate) fn time_tox_cold(&self, tests: Tests) -> Result<Duration> {
        self.forget("tox")?;
        self.time_tox(tests, &[])
    }

    /// The time that tox takes where it has done the same before, in the same environments, or in fresh ones as ptest's are.
    pub(crate) fn time_tox_warm(&self, tests: Tests, fresh: bool) -> Result<Duration> {
        let [_, with_tox] = &self.projects;
        if !with_tox.join(".tox").exists() {
            self.time_tox(tests, &[])?;
        }
        self.time_tox(tests, if fresh { &["--recreate"] } else { &[] })
    }

    /// Name and version of tox.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub(crate) fn version(&self) -> Result<String> {
        let words = process::output(&mut self.tox(&["--version"]))?;
        let version = words.split_whitespace().next().unwrap_or_default();
        Ok(format!("tox {version} with {}", TOX.replace("==", " ")))
    }

    fn time_ptest(&self, tests: Tests) -> Result<Duration> {
        let mut command = Command::new(&self.ptest);
        command
            .args(["matrix", "--no-progress", "--", "sh", "-c", tests.command()])
            .current_dir(&self.projects[0])
            .env("PTEST_HOME", self.scratch.join("ptest-home"))
            .env("PTEST_IMPROVE", "false")
            .env("PTEST_UV", &self.uv)
            .env("UV_CACHE_DIR", self.scratch.join("ptest-cache"))
            .env("PIP_CACHE_DIR", self.scratch.join("ptest-pip-cache"))
            .env("PATH", &self.path);
        clock::time(&mut [command])
    }

    fn time_tox(&self, tests: Tests, more: &[&str]) -> Result<Duration> {
        let [_, with_tox] = &self.projects;
        fs::write(with_tox.join("tox.ini"), ini(tests))?;
        let mut command = self.tox(&[
            "run-parallel",
            "--parallel",
            "auto",
            "--parallel-no-spinner",
        ]);
        clock::time(&mut [{
            command.args(more);
            command
        }])
    }

    fn tox(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command
            .args(["-m", "tox"])
            .args(words)
            .current_dir(&self.projects[1])
            .env("PYTHONPATH", &self.tox)
            .env("UV_CACHE_DIR", self.scratch.join("tox-cache"))
            .env("PATH", &self.path);
        command
    }

    /// Deletes what a tool has kept.
    fn forget(&self, tool: &str) -> Result<()> {
        let [_, with_tox] = &self.projects;
        let kept = match tool {
            "ptest" => ["ptest-home", "ptest-cache", "ptest-pip-cache"]
                .map(|name| self.scratch.join(name))
                .to_vec(),
            _ => vec![self.scratch.join("tox-cache"), with_tox.join(".tox")],
        };
        for directory in kept.iter().filter(|directory| directory.exists()) {
            // Not every directory in a store can be written by its owner.
            process::output(Command::new("chmod").args(["-R", "u+rwx"]).arg(directory))?;
            fs::remove_dir_all(directory)?;
        }
        Ok(())
    }
}

/// The source archive of the project, downloaded once.
fn archive(workspace: &Workspace, python: &Path) -> Result<PathBuf> {
    let file = workspace
        .tools()
        .join(format!("{}.tar.gz", PROJECT.replace("==", "-")));
    if file.is_file() {
        return Ok(file);
    }
    let staging = tempfile::tempdir_in(workspace.tools())?;
    let mut download = Command::new(python);
    download.args(["-I", "-m", "pip", "download", "--quiet", "--no-deps"]);
    // pip looks into what it downloads by what builds it, which may come as it likes.
    let name = PROJECT.split("==").next().unwrap_or(PROJECT);
    download.args(["--no-binary", name, "--dest"]);
    process::output(download.arg(staging.path()).arg("--").arg(PROJECT))?;
    let found = fs::read_dir(staging.path())?
        .next()
        .ok_or("pip downloaded nothing")??;
    fs::rename(found.path(), &file)?;
    Ok(file)
}

fn table() -> String {
    let pythons = PYTHONS.map(|python| format!("\"{python}\"")).join(", ");
    let mut text = format!("[tool.ptest.matrix]\npython = [{pythons}]\n[tool.ptest.matrix.sets]\n");
    for (name, requirements) in SETS {
        text += &format!("{name} = {requirements:?}\n");
    }
    text
}

fn ini(tests: Tests) -> String {
    let pythons = PYTHONS.map(|python| python.replace('.', "")).join(",");
    let sets = SETS.map(|(name, _)| name).join(",");
    let mut text = format!(
        "[tox]\nenv_list = py{{{pythons}}}-{{{sets}}}\n[testenv]\npackage = wheel\nwheel_build_env = .pkg\n\
         commands = {}\ndeps =\n",
        tests.command()
    );
    for (name, requirements) in SETS {
        for requirement in requirements {
            text += &format!("    {name}: {requirement}\n");
        }
    }
    text
}
