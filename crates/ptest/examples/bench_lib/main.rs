//! The library's side of `cargo xtask bench`: the calls alone, without the start of a process.
//!
//! `bench_lib HOME PYTHON UV (NAME LOCK)…` reads one work a line, does it once, and answers with nanoseconds or with
//! `error` and the words. A work leaves nothing to the next; what it needs is made and taken away outside the clock.
//! Which works there are is in [`work`]. With `leave` before them it makes environments and dies. Not an example of how to use the library.

#![expect(clippy::print_stdout, reason = "answers go to standard output")]

mod depth;
mod endings;
mod events;
mod isolation;
mod ports;
mod recovery;
mod samples;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ptest::config::InstallerChoice;
use ptest::engine::{Command, ExitStatus, Stdio};
use ptest::labels::Labels;
use ptest::progress::Silent;
use ptest::project::Project;
use ptest::python::HostEnv;
use ptest::settings::{Profile, Settings};
use ptest::{
    Compression, Environment, EnvironmentSpec, Fork, Import, Lifetime, OpenOptions, Provision,
    Ptest, Requirements,
};

use ptest_store::{CommitOptions, Layer};

use self::depth::Depth;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// How many environments a storm makes and removes, and how many threads do so at once.
const STORM: usize = 1000;
const THREADS: usize = 32;

/// How many layers the sandboxes have whose isolation is measured.
const DISTRIBUTIONS: usize = 128;

/// How many files are changed before a snapshot, and how large each is.
const CHANGED: usize = 4000;
const CHANGED_SIZE: usize = 10_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments
        .next_if(|first| first == recovery::LEAVE)
        .is_some()
    {
        return recovery::leave(&Bench::open(arguments)?);
    }
    let mut bench = Bench::open(arguments)?;
    for line in io::stdin().lock().lines() {
        let answer = work(&mut bench, line?.trim());
        // Or the next contender, a process that tidies before it ends, would do it on its own time.
        bench.ptest.tidy(Duration::MAX)?;
        match answer {
            Ok(time) => println!("{}", time.as_nanos()),
            Err(error) => println!("error {}", chain(&*error)),
        }
        io::stdout().flush()?;
    }
    bench.end()
}

/// Does one work and gives its time.
fn work(bench: &mut Bench, line: &str) -> Result<Duration> {
    let (work, set) = line.split_once(' ').ok_or("WORK SET is expected")?;
    match work {
        "create" => {
            let begin = Instant::now();
            let environment = bench.create(set)?;
            let time = begin.elapsed();
            environment.remove()?;
            Ok(time)
        }
        "activate" => {
            let environment = bench.create(set)?;
            let begin = Instant::now();
            environment.activate()?;
            let time = begin.elapsed();
            environment.remove()?;
            Ok(time)
        }
        "exec" => {
            let environment = bench.active(set)?;
            let begin = Instant::now();
            execute(environment, &["true"])?;
            Ok(begin.elapsed())
        }
        "remove" => {
            let environment = bench.create(set)?;
            let begin = Instant::now();
            environment.remove()?;
            Ok(begin.elapsed())
        }
        "remove-active" => {
            let environment = bench.create(set)?;
            environment.activate()?;
            let begin = Instant::now();
            environment.remove()?;
            Ok(begin.elapsed())
        }
        "status" => {
            let environment = bench.create(set)?;
            let begin = Instant::now();
            environment.status()?;
            let time = begin.elapsed();
            environment.remove()?;
            Ok(time)
        }
        "status-active" => {
            let environment = bench.active(set)?;
            let begin = Instant::now();
            environment.status()?;
            Ok(begin.elapsed())
        }
        "sample-quiet" | "sample-busy" => {
            let environment = bench.create(set)?;
            let time = samples::time(&environment, &bench.options.home, work);
            environment.remove()?;
            time
        }
        "fork" => {
            let source = bench.create(set)?;
            let begin = Instant::now();
            let forked = bench.ptest.fork(source.id().as_str(), &[fork()])?;
            let time = begin.elapsed();
            for environment in forked.environments.into_iter().chain([source]) {
                environment.remove()?;
            }
            Ok(time)
        }
        "restore" => {
            let environment = bench.create(set)?;
            let snapshot = environment.snapshot(None)?.snapshot.name;
            let begin = Instant::now();
            environment.restore(snapshot.as_str())?;
            let time = begin.elapsed();
            environment.remove()?;
            bench.ptest.remove_snapshot(snapshot.as_str())?;
            Ok(time)
        }
        "snapshot" => bench.snapshot(set, false),
        "snapshot-active" => bench.snapshot(set, true),
        "commit" => bench.commit(set),
        "export" | "import" => bench.package(work, set),
        "depth-launch" | "depth-list" | "depth-look-up" | "depth-import" => {
            let work = work.trim_start_matches("depth-");
            bench.depth.time(work, set.parse()?, bench.python.as_ref())
        }
        "isolation-launch" | "isolation-cycle" => {
            let is_cycle = work == "isolation-cycle";
            let stack = (!is_cycle).then(|| bench.depth.stack(DISTRIBUTIONS));
            isolation::time(bench.depth.launcher(), set, stack.transpose()?)
        }
        "end-by-timeout" | "end-by-stop" | "end-by-kill" => {
            bench.end_thousand(work.trim_start_matches("end-by-"), set)
        }
        "take" => bench.take(set),
        "take-bare" => endings::take_bare(),
        "port" | "port-acquire" => bench.lease(work, set.parse()?),
        "port-bare" => ports::bare(),
        "event" => bench.event(),
        "recover" => bench.recover(),
        "list" => bench.list(set.parse()?),
        "create-many" => bench.create_many(set),
        "storm" => bench.storm(set, false),
        "storm-active" => bench.storm(set, true),
        _ => Err(format!("there is no work `{work}`").into()),
    }
}

/// An open store, and what the works are made of.
struct Bench {
    ptest: Ptest,
    options: OpenOptions,
    python: String,
    locks: BTreeMap<String, Option<PathBuf>>,
    /// Environments that stay active from one round to the next, by set.
    active: BTreeMap<String, Environment>,
    depth: Depth,
    /// A store with nothing but this many environments.
    crowd: Option<(usize, Ptest)>,
    /// Stores in which so many ports are leased.
    leased: BTreeMap<usize, Ptest>,
}

impl Bench {
    fn open(arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut arguments = arguments;
        let mut next = |what: &str| arguments.next().ok_or(format!("{what} is missing"));
        let home = PathBuf::from(next("HOME")?);
        let python = next("PYTHON")?.into_string().map_err(|_| "not UTF-8")?;
        let uv = next("UV")?;
        let mut locks = BTreeMap::new();
        while let (Some(name), Some(lock)) = (arguments.next(), arguments.next()) {
            let name = name.into_string().map_err(|_| "not UTF-8")?;
            locks.insert(name, (!lock.is_empty()).then(|| PathBuf::from(lock)));
        }
        let variables = std::env::vars_os().chain([("PTEST_UV".into(), uv)]);
        let options = OpenOptions::new(
            home,
            HostEnv::new(variables, std::env::current_dir()?),
            Provision::new(InstallerChoice::Auto),
        );
        let ptest = Ptest::open(options.clone())?;
        let bench = Self {
            depth: Depth::new(ptest.store())?,
            ptest,
            options,
            python,
            locks,
            active: BTreeMap::new(),
            crowd: None,
            leased: BTreeMap::new(),
        };
        for set in bench.locks.keys() {
            bench.create(set)?.remove()?;
        }
        Ok(bench)
    }

    fn create(&self, set: &str) -> Result<Environment> {
        let lock = self
            .locks
            .get(set)
            .ok_or_else(|| format!("there is no set `{set}`"))?;
        Ok(self
            .ptest
            .create(&self.spec(&self.options.home, lock.as_deref()), &Silent)?)
    }

    /// The environment of a set that stays active.
    fn active(&mut self, set: &str) -> Result<&Environment> {
        if !self.active.contains_key(set) {
            let environment = self.create(set)?;
            environment.activate()?;
            self.active.insert(set.to_owned(), environment);
        }
        self.active
            .get(set)
            .ok_or_else(|| "it has just been made".into())
    }

    /// A snapshot of an environment in which files were changed, other ones each time.
    fn snapshot(&self, set: &str, is_active: bool) -> Result<Duration> {
        let script = format!(
            "import os\nfor i in range({CHANGED}):\n \
             with open(f'{{os.environ[\"VIRTUAL_ENV\"]}}/{{i}}', 'wb') as f: f.write(os.urandom({CHANGED_SIZE}))"
        );
        let environment = self.create(set)?;
        execute(&environment, &["python", "-c", &script])?;
        if !is_active {
            environment.deactivate(Duration::ZERO)?;
        }
        let begin = Instant::now();
        let snapshot = environment.snapshot(None)?.snapshot.name;
        let time = begin.elapsed();
        environment.remove()?;
        self.ptest.remove_snapshot(snapshot.as_str())?;
        Ok(time)
    }

    /// A layer of the tree that an environment is made of.
    fn commit(&self, set: &str) -> Result<Duration> {
        let environment = self.create(set)?;
        let store = self.ptest.store();
        let stack = store.stack(&environment.record()?.stack)?;
        let staging = store.stage()?;
        let place = staging.path().to_owned();
        std::fs::remove_dir(&place)?;
        store.clone_tree(&stack, &place, None)?;
        let begin = Instant::now();
        let layer = store.commit(staging, CommitOptions::default())?.layer.id;
        let time = begin.elapsed();
        environment.remove()?;
        let is_it = |layers: Vec<Layer>| layers.into_iter().filter(|it| it.id == layer).collect();
        store.collect::<ptest_store::Error>(|_, layers| Ok(is_it(layers)))?;
        Ok(time)
    }

    /// Packs an environment, and unpacks it into a store of its own.
    fn package(&self, work: &str, set: &str) -> Result<Duration> {
        let environment = self.create(set)?;
        let file = self.options.home.with_file_name("package.tar");
        let begin = Instant::now();
        self.ptest.export(
            environment.id().as_str(),
            Compression::Zstd,
            &mut File::create(&file)?,
            &Silent,
        )?;
        let packed = begin.elapsed();
        environment.remove()?;
        if work == "export" {
            return Ok(packed);
        }
        let home = self.options.home.with_file_name("unpacked");
        let ptest = Ptest::open(OpenOptions {
            home: home.clone(),
            ..self.options.clone()
        })?;
        let import = Import {
            name: Some("unpacked".parse()?),
            settings: self.spec(&home, None).settings,
        };
        let begin = Instant::now();
        ptest.import(&file, &import, &Silent)?;
        let time = begin.elapsed();
        drop(ptest);
        std::fs::remove_dir_all(home)?;
        Ok(time)
    }

    fn list(&mut self, count: usize) -> Result<Duration> {
        if self.crowd.as_ref().is_none_or(|(found, _)| *found != count) {
            let home = self.options.home.with_file_name(format!("crowd-{count}"));
            let ptest = Ptest::open(OpenOptions {
                home: home.clone(),
                ..self.options.clone()
            })?;
            let spec = self.spec(&home, None);
            for _ in ptest.records()?.len()..count {
                ptest.create(&spec, &Silent)?;
            }
            self.crowd = Some((count, ptest));
        }
        let Some((_, ptest)) = &self.crowd else {
            return Err("it has just been made".into());
        };
        let begin = Instant::now();
        let found = ptest.records()?.len();
        let time = begin.elapsed();
        if found == count {
            Ok(time)
        } else {
            Err(format!("{found} instead of {count}").into())
        }
    }

    /// As many as a storm has, in one call.
    fn create_many(&self, set: &str) -> Result<Duration> {
        let lock = self.locks.get(set).ok_or("there is no such set")?;
        let spec = self.spec(&self.options.home, lock.as_deref());
        let specs = vec![spec; STORM];
        let begin = Instant::now();
        let made = self.ptest.create_all(&specs, &Silent);
        let time = begin.elapsed();
        for environment in made {
            environment?.remove()?;
        }
        Ok(time)
    }

    fn storm(&self, set: &str, activate: bool) -> Result<Duration> {
        let left = AtomicUsize::new(STORM);
        let one = || -> Result<(), String> {
            let words = |error: &dyn std::error::Error| chain(error);
            let environment = self.create(set).map_err(|error| words(&*error))?;
            if activate {
                environment.activate().map_err(|error| words(&error))?;
            }
            environment.remove().map_err(|error| words(&error))
        };
        let take = || {
            left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
        };
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| -> Result<(), String> {
                        while take().is_ok() {
                            one()?;
                        }
                        Ok(())
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
        })?;
        Ok(begin.elapsed())
    }

    fn spec(&self, home: &Path, lock: Option<&Path>) -> EnvironmentSpec {
        EnvironmentSpec {
            name: None,
            lifetime: Lifetime::Detached,
            engine: "virtualenv".to_owned(),
            python: Some(self.python.clone()),
            requirements: Requirements {
                files: lock.map(Path::to_owned).into_iter().collect(),
                pip: true,
                ..Requirements::default()
            },
            settings: Settings {
                profile: Some(Profile::Standard),
                ..Settings::new(Project::find(&self.options.host.cwd, None, home))
            },
        }
    }

    fn end(self) -> Result<()> {
        for environment in self.active.into_values() {
            environment.remove()?;
        }
        Ok(())
    }
}

fn fork() -> Fork {
    Fork {
        name: None,
        lifetime: Lifetime::Detached,
        engine: None,
        settings: None,
        labels: Labels::new(),
    }
}

fn execute(environment: &Environment, words: &[&str]) -> Result<()> {
    let null = || -> io::Result<OwnedFd> {
        let file = File::options().read(true).write(true).open("/dev/null")?;
        Ok(file.into())
    };
    let process = environment.spawn(Command {
        arguments: words.iter().map(OsString::from).collect(),
        working_directory: None,
        caller: BTreeMap::new(),
        variables: BTreeMap::new(),
        stdio: Stdio::Descriptors {
            stdin: null()?,
            stdout: null()?,
            stderr: null()?,
        },
        timeout: None,
        grace: Duration::from_secs(1),
    })?;
    match environment.wait(&process)?.status {
        ExitStatus::Code(0) => Ok(()),
        status => Err(format!("{words:?} ended with {status:?}").into()),
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.replace('\n', " ")
}
