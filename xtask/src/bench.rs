//! `cargo xtask bench`: ptest and what people use today, on the same work, in one run.
//!
//! Contenders take turns (A B A B), so that a slow minute of the machine hits all of them. Each round works on a fresh
//! directory on one file system, with every cache warm and the network out of reach of the clock. The result is a table with
//! median, spread and ratio, as Markdown and JSON, with the machine named. Not a test: nothing fails because it is slow.

mod clock;
mod library;
mod machine;
mod matrix;
mod package;
mod peers;
mod program;
mod report;
mod room;
mod sets;
mod works;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use self::clock::Measured;
use self::library::Library;
use self::machine::Machine;
use self::matrix::Matrix;
use self::package::Package;
use self::peers::Peers;
use self::program::Program;
use self::sets::Set;
use crate::process::{self, Result};
use crate::tools;
use crate::workspace::Workspace;

/// The Python that everything is measured with: the locks in `bench/` are made for it.
const PYTHON: &str = "3.12";

/// What people have found out about the figures; ends the report.
const NOTES: &str = "bench/notes.md";

/// Measure ptest against its peers
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Few rounds and no science set: shows that everything works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table here
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    markdown: PathBuf,
    /// Measure only the works whose key holds this text, and renew them in the files; may be given several times
    #[arg(long, value_name = "TEXT")]
    work: Vec<String>,
    /// Measure only the contenders whose name holds this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    contender: Vec<String>,
    /// Work below this directory instead of the temporary one: its file system is what is measured
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Measure this wheel of the Python package instead of building one
    #[arg(long, value_name = "FILE")]
    wheel: Option<PathBuf>,
}

impl Arguments {
    fn wants_work(&self, key: &str) -> bool {
        self.work.is_empty() || self.work.iter().any(|text| key.contains(text.as_str()))
    }

    fn wants_contender(&self, name: &str) -> bool {
        self.contender.is_empty()
            || self
                .contender
                .iter()
                .any(|text| name.contains(text.as_str()))
    }
}

/// The figures of one work.
struct Outcome {
    key: &'static str,
    title: String,
    measured: Vec<Measured>,
}

/// Measures, prints the table and writes the files.
///
/// # Errors
///
/// When a contender does not do its work: a figure for work that was not done is worse than none.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let parent = arguments.directory.clone().unwrap_or_else(env::temp_dir);
    let scratch = tempfile::Builder::new()
        .prefix("ptest-bench-")
        .tempdir_in(&parent)?;
    let bench = Bench::prepare(workspace, scratch.path(), arguments)?;
    let mut outcomes = Vec::new();
    for mut work in works::all(&bench) {
        if !arguments.wants_work(work.key) {
            continue;
        }
        work.contenders
            .retain(|contender| arguments.wants_contender(&contender.name));
        if work.contenders.is_empty() {
            continue;
        }
        eprintln!("{}", work.title);
        let measured = clock::measure(work.rounds, work.contenders)?;
        let outcome = Outcome {
            key: work.key,
            title: work.title,
            measured,
        };
        eprint!("{}", report::table(&outcome));
        outcomes.push(outcome);
    }
    let room = match (&bench.ptest, bench.sets().last()) {
        (Some(Ptest { program, .. }), Some(set)) if arguments.wants_work("room") => {
            room::take(program, scratch.path(), set)?
        }
        _ => Vec::new(),
    };
    let machine = Machine::describe(scratch.path())?;
    let versions = bench.versions()?;
    let notes = fs::read_to_string(workspace.root.join(NOTES))
        .map_err(|error| format!("{NOTES}: {error}"))?;
    // Of a few works alone there is no whole report, but they can be renewed in the one that is there.
    let known = |path: &Path| {
        let is_partial = !arguments.work.is_empty();
        fs::read_to_string(path).ok().filter(|_| is_partial)
    };
    let file = workspace.root.join(&arguments.markdown);
    let markdown = match known(&file) {
        Some(report) => report::renewed(&report, &outcomes),
        None => report::markdown(&machine, &versions, &outcomes, &room, &notes),
    };
    write(&file, &markdown)?;
    if let Some(file) = &arguments.json {
        let file = workspace.root.join(file);
        let json = match known(&file) {
            Some(report) => report::renewed_json(&report, &outcomes)?,
            None => report::json(&machine, &versions, &outcomes, &room)?,
        };
        write(&file, &json)?;
    }
    bench.end();
    Ok(())
}

/// Everything that the works are made of.
struct Bench {
    quick: bool,
    sets: Vec<Set>,
    peers: Peers,
    /// `None` when only peers are measured.
    ptest: Option<Ptest>,
    /// The library where the machine has many mounts, if that is to be measured; only root makes them.
    crowded: Option<Library>,
}

/// The two ways to ptest: as a program, and as a library without the start of a process.
struct Ptest {
    program: Program,
    library: Library,
    /// `None` where a Python that it needs is missing, or where it is not measured.
    matrix: Option<Matrix>,
    /// `None` where it is not measured.
    package: Option<Package>,
}

impl Bench {
    fn prepare(workspace: &Workspace, scratch: &Path, arguments: &Arguments) -> Result<Self> {
        let python = ptest_testkit::requirement::python(PYTHON).into_result()?;
        let sets = sets::all(&workspace.root.join("bench"), arguments.quick)?;
        let peers = Peers::prepare(workspace, scratch, &python, &sets)?;
        let mut crowded = None;
        let ptest = if arguments.wants_contender("ptest") {
            let uv = tools::uv(workspace)?;
            process::run(
                workspace
                    .cargo()
                    .args(["build", "--release", "--package", "ptest-cli"]),
            )?;
            process::run(workspace.cargo().args([
                "build",
                "--release",
                "--package",
                "ptest",
                "--example",
                "bench_lib",
            ]))?;
            let release = workspace.target.join("release");
            let program = Program::prepare(&release.join("ptest"), scratch, &python, &uv, &sets)?;
            let bench_lib = release.join("examples/bench_lib");
            let library = Library::start(&bench_lib, &program, &sets)?;
            let is_crowded = arguments.wants_work("mounts")
                && ptest_testkit::requirement::root().into_result().is_ok();
            if is_crowded {
                let place = scratch.join("mounts");
                let library = Library::start_among_mounts(&bench_lib, &program, &[], &place)?;
                crowded = Some(library);
            }
            let matrix = if arguments.wants_work("matrix") {
                Matrix::prepare(workspace, scratch, &release.join("ptest"), &python)?
            } else {
                None
            };
            let is_wanted = |key: &&str| arguments.wants_work(key);
            let package = if works::python::KEYS.iter().any(is_wanted) {
                let wheel = arguments.wheel.as_deref();
                let package = Package::prepare(workspace, scratch, &peers, &program, wheel)?;
                Some(package)
            } else {
                None
            };
            Some(Ptest {
                program,
                library,
                matrix,
                package,
            })
        } else {
            None
        };
        Ok(Self {
            quick: arguments.quick,
            sets,
            peers,
            ptest,
            crowded,
        })
    }

    fn sets(&self) -> &[Set] {
        &self.sets
    }

    /// How often to measure what deserves `full` rounds.
    fn rounds(&self, full: usize) -> usize {
        if self.quick { full.min(3) } else { full }
    }

    fn versions(&self) -> Result<Vec<String>> {
        let mut versions = self.peers.versions()?;
        if let Some(ptest) = &self.ptest {
            versions.insert(0, ptest.program.version()?);
            if let Some(matrix) = &ptest.matrix {
                versions.push(matrix.version()?);
            }
            if ptest.package.is_some() {
                versions.extend(Package::versions());
            }
        }
        Ok(versions)
    }

    fn end(self) {
        if let Some(crowded) = self.crowded {
            crowded.end();
        }
        if let Some(ptest) = self.ptest {
            if let Some(package) = ptest.package {
                package.end();
            }
            ptest.library.end();
            ptest.program.end();
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}
