//! Runs the cells of a matrix, several at a time, each in an environment of its own that goes with it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::plan::{CellPlan, JUNIT};
use crate::engine::{Exit, ExitStatus};
use crate::environment::{Environment, EnvironmentId};
use crate::error::{Error, ErrorKind, Result};
use crate::parallel;
use crate::progress::{Progress, Step};
use crate::ptest::Ptest;
use crate::run::{Output, Run};
use crate::spec::Lifetime;
use crate::variables::Variables;

/// How often is looked whether the cells are to be ended.
const LOOK: Duration = Duration::from_millis(50);

/// The file in an environment that a command writes its test results to.
const RESULTS: &str = "ptest-junit.xml";

/// The variable that names it.
const RESULTS_VARIABLE: &str = "PTEST_JUNIT_XML";

/// The longest that is taken of it.
const RESULTS_MAX: u64 = 256 << 20;

/// How a matrix is run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// How many cells run at a time; as many as there are processors if it is not said.
    pub jobs: Option<usize>,
    /// End the others when one fails.
    pub fail_fast: bool,
    /// Ask commands for test results: pytest by a variable, others by theirs.
    pub results: bool,
    /// The directory for what the commands write: a file for each cell. It must be there.
    pub output: PathBuf,
    /// Where commands start; the project root if there is none.
    pub working_directory: Option<PathBuf>,
    /// The caller's variables, of which only the harmless pass.
    pub caller: Variables,
    /// How long a command may run.
    pub timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL when a cell is ended.
    pub grace: Duration,
}

/// What became of a cell.
#[derive(Debug)]
pub struct CellResult {
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took to make the environment.
    pub prepared: Duration,
    /// How long the command ran.
    pub elapsed: Duration,
    /// What the command wrote, both streams in one.
    pub output: PathBuf,
    /// The test results that it wrote, as they are.
    pub results: Option<Vec<u8>>,
    /// Why nothing was left to be taken away, or what could not be.
    pub not_removed: Option<Error>,
}

/// How a cell ended.
#[derive(Debug)]
pub enum Outcome {
    /// The command ended.
    Ended(Exit),
    /// The environment could not be made, or the command not be started.
    Error(Error),
    /// It was ended, or not begun, because the matrix was.
    Stopped,
}

/// What happens to a cell.
#[derive(Debug)]
pub enum Happening<'a> {
    /// Its environment is being made.
    Preparing,
    /// So far is that.
    Step(Step),
    /// Its command runs.
    Running {
        /// What the command writes, both streams in one.
        output: &'a Path,
    },
    /// It has ended.
    Ended(&'a CellResult),
}

/// Who is told. Called from several threads.
pub trait Watch: Sync {
    /// Takes note of what happens to the cell of this number. Must not block.
    fn cell(&self, number: usize, happening: Happening<'_>);
}

impl CellResult {
    /// Whether its command ended with 0.
    pub fn has_passed(&self) -> bool {
        let passed = ExitStatus::Code(0);
        matches!(&self.outcome, Outcome::Ended(exit) if exit.status == passed && !exit.timed_out)
            && self.not_removed.is_none()
    }

    fn new(outcome: Outcome, output: PathBuf) -> Self {
        Self {
            outcome,
            prepared: Duration::ZERO,
            elapsed: Duration::ZERO,
            output,
            results: None,
            not_removed: None,
        }
    }
}

impl Ptest {
    /// A directory in the store for what the commands of a project's matrix write. What earlier ones
    /// left there goes.
    pub fn matrix_output(&self, project: &Path) -> Result<PathBuf> {
        let hash = blake3::hash(project.as_os_str().as_encoded_bytes()).to_hex();
        let prefix = format!("{}-", &hash[..16]);
        let all = self.store().dir("matrix")?;
        let failed = |path: &Path| {
            let what = format!("empty {}", path.display());
            move |source| Error::io(what, source)
        };
        for entry in fs::read_dir(&all).map_err(failed(&all))? {
            let path = entry.map_err(failed(&all))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let process = name.strip_prefix(&prefix);
            // One that runs now keeps its own.
            if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                fs::remove_dir_all(&path).map_err(failed(&path))?;
            }
        }
        Ok(all.join(format!("{prefix}{}", std::process::id())))
    }

    /// Runs the command of each cell and gives what became of each, in their order.
    ///
    /// When this returns, nothing of the environments is left. Whoever cancels it (see
    /// [`Supervision`](crate::python::Supervision)) ends all of it.
    pub fn run_matrix(
        &self,
        cells: &[CellPlan],
        options: &RunOptions,
        watch: &dyn Watch,
    ) -> Vec<CellResult> {
        let matrix = Matrix {
            ptest: self,
            options,
            watch,
            ends: AtomicBool::new(false),
            running: Mutex::default(),
        };
        let (done, wait) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let matrix = &matrix;
            scope.spawn(move || matrix.attend(&wait));
            let order = order(cells);
            let jobs = options.jobs.unwrap_or_else(parallel::processors);
            let results = parallel::map(&order, jobs, |number| {
                let result = matrix.cell(*number, &cells[*number]);
                watch.cell(*number, Happening::Ended(&result));
                if options.fail_fast && !result.has_passed() {
                    matrix.ends.store(true, Ordering::Relaxed);
                }
                result
            });
            drop(done);
            let mut numbered: Vec<_> = order.into_iter().zip(results).collect();
            numbered.sort_by_key(|(number, _)| *number);
            numbered.into_iter().map(|(_, result)| result).collect()
        })
    }
}

/// The order in which cells begin: the first ones of all interpreters come first, so that what is the
/// same for all cells of an interpreter is made by one of them.
fn order(cells: &[CellPlan]) -> Vec<usize> {
    let mut counts: HashMap<Option<&str>, usize> = HashMap::new();
    let mut ranked: Vec<(usize, usize)> = cells
        .iter()
        .enumerate()
        .map(|(number, plan)| {
            let count = counts.entry(plan.spec.python.as_deref()).or_default();
            *count += 1;
            (*count, number)
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, number)| number).collect()
}

/// A matrix that runs.
struct Matrix<'a> {
    ptest: &'a Ptest,
    options: &'a RunOptions,
    watch: &'a dyn Watch,
    /// Whether a cell has failed that ends the others.
    ends: AtomicBool,
    /// The environments in which a command runs.
    running: Mutex<Vec<EnvironmentId>>,
}

impl Matrix<'_> {
    fn is_ending(&self) -> bool {
        let supervision = self.ptest.provisioner().supervision();
        self.ends.load(Ordering::Relaxed) || supervision.cancel.is_cancelled()
    }

    /// Ends what runs when the matrix is ending; until all cells are done.
    fn attend(&self, done: &mpsc::Receiver<()>) {
        while done.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            if !self.is_ending() {
                continue;
            }
            let running = std::mem::take(&mut *self.running());
            thread::scope(|scope| {
                for id in running {
                    scope.spawn(move || {
                        let lifetime = Lifetime::Detached;
                        let environment = Environment::new(self.ptest.clone(), id, lifetime);
                        // What cannot be ended now is ended when the environment is taken away.
                        let _ = environment.deactivate(self.options.grace);
                    });
                }
            });
        }
    }

    fn running(&self) -> MutexGuard<'_, Vec<EnvironmentId>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, number: usize, plan: &CellPlan) -> CellResult {
        let output = self.options.output.join(format!("{}.log", plan.cell.name));
        if self.is_ending() {
            return CellResult::new(Outcome::Stopped, output);
        }
        self.watch.cell(number, Happening::Preparing);
        let began = Instant::now();
        let steps = Steps {
            number,
            watch: self.watch,
        };
        let made = self.ptest.create(&plan.spec, &steps);
        let prepared = began.elapsed();
        let mut result = match made {
            Ok(environment) => self.in_environment(number, plan, environment, output),
            Err(_) if self.is_ending() => CellResult::new(Outcome::Stopped, output),
            Err(error) => CellResult::new(Outcome::Error(error), output),
        };
        result.prepared = prepared;
        result
    }

    fn in_environment(
        &self,
        number: usize,
        plan: &CellPlan,
        environment: Environment,
        output: PathBuf,
    ) -> CellResult {
        self.watch
            .cell(number, Happening::Running { output: &output });
        self.running().push(environment.id().clone());
        let began = Instant::now();
        let ran = self.command(plan, &environment, &output);
        let mut result = CellResult::new(Outcome::Stopped, output);
        result.elapsed = began.elapsed();
        self.running().retain(|id| id != environment.id());
        match ran {
            // Whatever it ended with: it was made to.
            _ if self.is_ending()
                && !matches!(&ran, Ok(exit) if exit.status == ExitStatus::Code(0)) => {}
            Ok(exit) => {
                result.outcome = Outcome::Ended(exit);
                result.results = self.results(&environment);
            }
            Err(error) => result.outcome = Outcome::Error(error),
        }
        result.not_removed = environment.remove().err();
        result
    }

    fn command(&self, plan: &CellPlan, environment: &Environment, output: &Path) -> Result<Exit> {
        let failed = |source| Error::io(format!("write {}", output.display()), source);
        let file = File::create(output).map_err(failed)?;
        let same = file.try_clone().map_err(failed)?;
        // Before its place can be asked for.
        environment.activate()?;
        let place = self.place(environment)?;
        let words = plan
            .command
            .iter()
            .map(|word| OsString::from(word.replace(JUNIT, &place)));
        let run = Run {
            working_directory: self.options.working_directory.clone(),
            caller: self.options.caller.clone(),
            variables: self.variables(plan, &place),
            stdout: Output::Descriptor(file.into()),
            stderr: Output::Descriptor(same.into()),
            timeout: self.options.timeout,
            grace: self.options.grace,
            ..Run::new(words)
        };
        environment.run(run)?.ended
    }

    fn variables(&self, plan: &CellPlan, place: &str) -> Variables {
        let mut variables = BTreeMap::from([
            ("PTEST_CELL".into(), plan.cell.name.clone().into()),
            (RESULTS_VARIABLE.into(), place.into()),
        ]);
        if self.options.results {
            let name = "PYTEST_ADDOPTS";
            let set = plan
                .spec
                .settings
                .variables
                .get(name)
                .cloned()
                .unwrap_or_default();
            let options = format!("{set} --junit-xml={place}");
            variables.insert(name.into(), options.trim().into());
        }
        variables
    }

    /// The path inside of the file for test results.
    fn place(&self, environment: &Environment) -> Result<String> {
        let record = environment.record()?;
        let files = self.ptest.host_files(&record)?;
        let place = files.prefix.join(RESULTS);
        place.to_str().map(str::to_owned).ok_or_else(|| {
            let message = format!("{} is not UTF-8", place.display());
            Error::new(ErrorKind::Unsupported, message)
        })
    }

    /// The test results, if the command wrote any.
    fn results(&self, environment: &Environment) -> Option<Vec<u8>> {
        let record = environment.record().ok()?;
        let files = self.ptest.host_files(&record).ok()?;
        let path = files.trees.last()?.join(RESULTS);
        read_results(&path).ok().filter(|text| !text.is_empty())
    }
}

/// Reads what a command wrote. It can have put anything there: a link out of the environment, a pipe.
fn read_results(path: &Path) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = File::options()
        .read(true)
        .custom_flags(flags as i32)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = Vec::new();
    file.take(RESULTS_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Tells the steps of making one cell's environment.
struct Steps<'a> {
    number: usize,
    watch: &'a dyn Watch,
}

impl Progress for Steps<'_> {
    fn step(&self, step: Step) {
        self.watch.cell(self.number, Happening::Step(step));
    }
}
