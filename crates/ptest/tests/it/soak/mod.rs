//! Many processes that do everything with one store for a time: none is held up for ever, none is told what is not so, and
//! afterwards the machine and the store are as before.
//!
//! `PTEST_TEST_SOAK` (seconds) and `PTEST_TEST_SOAK_PROCESSES` make it longer: docs/reliability.md says how long it was once.
//! A process that is killed is followed by one that knows what it knew.

mod model;
mod worker;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ptest::events::EventFilter;
use ptest::progress::Silent;
use ptest::settings::Profile;
use ptest::{Collection, EnvironmentSpec, Name, Ptest};
use ptest_testkit::leftovers::{Leftovers, Scope};
use ptest_testkit::{require, requirement};

use self::model::Model;
use self::worker::{Random, Worker};
use crate::context::{open, spec};
use crate::python::wheels::Builder;

/// The environment that all use.
const SHARED: &str = "shared";
/// What is installed now and then.
const PACKAGE: &str = "one";

/// Where the processes work, for one of them, which it is, and until when.
const PLACE: &str = "PTEST_TEST_SOAK_PLACE";
const NUMBER: &str = "PTEST_TEST_SOAK_NUMBER";
const END: &str = "PTEST_TEST_SOAK_END";

/// How long what was begun may take when the time is over.
const LAST: Duration = Duration::from_mins(5);

fn how_many(variable: &str, usual: u64) -> u64 {
    let asked = std::env::var(variable).ok();
    asked.map_or(usual, |text| text.parse().unwrap())
}

#[test]
#[ignore = "run by the tests beside it"]
fn one_of_many() {
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let number = how_many(NUMBER, 0) as usize;
    let end = Duration::from_millis(how_many(END, 0));
    // A quarter has copied environments.
    let profile = number.is_multiple_of(4).then_some(Profile::None);
    Worker::new(&place, number, profile).work(end);
}

#[test]
fn many_processes_that_do_everything_at_once_get_what_they_ask_for_and_leave_nothing() {
    require!(requirement::userns());
    require!(requirement::overlay());
    soak(None);
}

#[test]
fn many_processes_of_which_some_are_killed_lose_nothing_and_leave_nothing() {
    require!(requirement::userns());
    require!(requirement::overlay());
    soak(Some(Random(u64::from(std::process::id()) | 1)));
}

/// Eight a second.
fn is_hit(killing: Option<&mut Random>, processes: usize) -> bool {
    killing.is_some_and(|random| random.below(50 * processes as u64 / 8) == 0)
}

/// The processes, which end with this.
struct Running(Vec<Child>);

impl Running {
    fn are_left(&mut self) -> bool {
        let mut children = self.0.iter_mut();
        children.any(|child| child.try_wait().unwrap().is_none_or(|it| !it.success()))
    }

    /// What those do that have not ended.
    fn held_up(&mut self, place: &Place) -> String {
        let mut held = "held up:".to_owned();
        for (number, child) in self.0.iter_mut().enumerate() {
            if child.try_wait().unwrap().is_none() {
                let model = place.model(number);
                write!(held, " {number}: {};", model.doing()).unwrap();
            }
        }
        held
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A directory with a store, a project and the files of the processes.
struct Place {
    directory: tempfile::TempDir,
    scope: Scope,
    before: Leftovers,
    end: Duration,
}

fn soak(mut killing: Option<Random>) {
    let processes = how_many("PTEST_TEST_SOAK_PROCESSES", 16) as usize;
    let time = Duration::from_secs(how_many("PTEST_TEST_SOAK", 4));
    let place = Place::new(time);
    let began = Instant::now();
    let mut running = Running((0..processes).map(|number| place.start(number)).collect());
    let mut kills = 0;
    while running.are_left() {
        assert!(began.elapsed() < time + LAST, "{}", running.held_up(&place));
        thread::sleep(Duration::from_millis(20));
        for (number, child) in running.0.iter_mut().enumerate() {
            match child.try_wait().unwrap() {
                None if began.elapsed() < time && is_hit(killing.as_mut(), processes) => {
                    child.kill().unwrap();
                }
                None => {}
                Some(status) if status.signal() == Some(9) => {
                    kills += 1;
                    *child = place.start(number);
                }
                Some(status) => place.assert_done(number, status),
            }
        }
    }
    let took = began.elapsed();
    let models: Vec<Model> = (0..processes).map(|number| place.model(number)).collect();
    place.is_as_before(processes, kills);
    report(&models, kills, took);
}

impl Drop for Place {
    /// Of a test that failed no environment stays.
    fn drop(&mut self) {
        if thread::panicking() {
            let ptest = open(&self.path("store"));
            for environment in ptest.environments().into_iter().flatten() {
                let _ = environment.remove();
            }
        }
    }
}

impl Place {
    fn new(time: Duration) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(directory.path().join("project")).unwrap();
        Builder::new(PACKAGE, "1.5")
            .file("one.py", "")
            .write(directory.path());
        let scope = Scope {
            roots: vec![directory.path().canonicalize().unwrap()],
            run: None,
        };
        let before = Leftovers::find(&scope).unwrap();
        let name: Name = SHARED.parse().unwrap();
        let mut shared = EnvironmentSpec {
            name: Some(name),
            ..spec(&directory.path().join("project"))
        };
        shared.settings.profile = None;
        let ptest = open(&directory.path().join("store"));
        ptest.create(&shared, &Silent).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            directory,
            scope,
            before,
            end: now + time,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn model(&self, number: usize) -> Model {
        Model::at(&self.path(&format!("model-{number}")))
    }

    fn start(&self, number: usize) -> Child {
        let said = fs::File::create(self.path(&format!("said-{number}"))).unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "soak::one_of_many", "--ignored", "--nocapture"])
            .current_dir(self.directory.path())
            .env(PLACE, self.directory.path())
            .env(NUMBER, number.to_string())
            .env(END, self.end.as_millis().to_string())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap()
    }

    /// Fails unless a process that ended by itself has succeeded.
    fn assert_done(&self, number: usize, status: ExitStatus) {
        if !status.success() {
            let said = fs::read_to_string(self.path(&format!("said-{number}"))).unwrap();
            let model = self.model(number);
            panic!("process {number}: {status}, {}\n{said}", model.doing());
        }
    }

    /// Takes away what the processes own, which is all that there is, and looks for what is left.
    fn is_as_before(&self, processes: usize, kills: usize) {
        let ptest = open(&self.path("store"));
        let mut expected = vec![SHARED.to_owned()];
        for number in 0..processes {
            let model = self.model(number);
            let there = model.things().into_iter();
            expected.extend(there.filter(|thing| model.is(thing).is_some()));
        }
        let mut found = Vec::new();
        for record in ptest.records().unwrap() {
            found.push(record.label().to_owned());
            ptest.find(record.id.as_str()).unwrap().remove().unwrap();
        }
        for snapshot in ptest.snapshots().unwrap() {
            found.push(snapshot.name.to_string());
            ptest.remove_snapshot(snapshot.name.as_str()).unwrap();
        }
        // Who is killed between the two may have taken a snapshot of what all share, and not removed it.
        let lost = found.extract_if(.., |name| name.starts_with("shared-"));
        assert!(lost.count() <= kills);
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(ptest.port_leases().unwrap(), []);
        assert_eq!(ptest.runs(true, u32::MAX).unwrap(), []);
        let everything = Collection {
            older_than: Duration::ZERO,
            keep_size: None,
            dry_run: false,
        };
        ptest.collect(&everything).unwrap();
        ptest.tidy(Duration::MAX).unwrap();
        self.has_no_file(&ptest);
        self.has_no_row();
        has_told_every_end(&ptest);
        let left = Leftovers::find(&self.scope).unwrap().since(&self.before);
        assert!(left.is_empty(), "left over:\n{left}");
    }

    /// Whatever table there is: what is not named here is of environments, snapshots and layers.
    fn has_no_row(&self) {
        const KEPT: [&str; 8] = [
            "components",
            "events",
            "hooks",
            "interpreters",
            "last_port",
            "probes",
            "runs",
            "sqlite_sequence",
        ];
        let database = rusqlite::Connection::open(self.path("store/ptest.db")).unwrap();
        let mut tables = database
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .unwrap();
        let names = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
        for table in names.map(Result::unwrap) {
            let count = format!("SELECT count(*) FROM {table}");
            let rows: i64 = database.query_row(&count, [], |row| row.get(0)).unwrap();
            assert!(
                rows == 0 || KEPT.contains(&table.as_str()),
                "{rows} in {table}"
            );
        }
    }

    fn has_no_file(&self, ptest: &Ptest) {
        for directory in [
            "layers",
            "manifests",
            "caches",
            "envs",
            "views",
            "leases",
            "staging",
            "trash",
        ] {
            let left = names(&ptest.store().home().join(directory));
            assert!(left.is_empty(), "{directory}: {left:?}");
        }
    }
}

/// Each environment that began to be has gone, once.
fn has_told_every_end(ptest: &Ptest) {
    let filter = EventFilter {
        kinds: ["creating", "removed"].map(str::to_owned).to_vec(),
        ..EventFilter::default()
    };
    let mut lives: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for event in ptest.events(&filter, usize::MAX).unwrap() {
        let life = lives.entry(event.environment).or_default();
        life.push(event.event.kind());
    }
    for (environment, life) in lives {
        // The oldest events may have been forgotten.
        assert!(
            life == ["creating", "removed"] || life == ["removed"],
            "{environment:?}: {life:?}"
        );
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

fn report(models: &[Model], kills: usize, took: Duration) {
    let mut done = BTreeMap::new();
    for (what, times) in models.iter().flat_map(Model::done) {
        *done.entry(what.as_str()).or_default() += times;
    }
    let all: u64 = done.values().sum();
    println!(
        "{} processes, {all} operations in {took:.0?}, {:.0} a second, {kills} killed",
        models.len(),
        all as f64 / took.as_secs_f64()
    );
    for (what, times) in done {
        println!("  {what}: {times}");
    }
}
