//! What environments use over time: sampled while they work, folded by whoever looks, kept in bounded space.

use std::path::Path;
use std::time::{Duration, Instant};

use ptest::events::{Event, EventFilter};
use ptest::progress::Silent;
use ptest::settings::Profile;
use ptest::{Environment, Input, Keep, Lifetime, Output, Ptest, Run};
use ptest_testkit::{require, requirement};
use rusqlite::Connection;

use crate::context::{open, spec};

const HOUR: Duration = Duration::from_hours(1);
const BURN: &str = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";

struct Place {
    directory: tempfile::TempDir,
    ptest: Ptest,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ptest = open(&directory.path().join("store"));
        Self { directory, ptest }
    }

    fn create(&self, profile: Profile) -> Environment {
        let mut spec = spec(self.directory.path());
        spec.settings.profile = Some(profile);
        spec.lifetime = Lifetime::Process;
        self.ptest.create(&spec, &Silent).unwrap()
    }

    /// The number of rows in a table.
    fn rows(&self, table: &str) -> u32 {
        let path = self.directory.path().join("store/ptest.db");
        let database = Connection::open(path).unwrap();
        let count = format!("SELECT count(*) FROM {table}");
        database.query_row(&count, [], |row| row.get(0)).unwrap()
    }
}

fn shell(script: &str) -> Run {
    Run {
        caller: [("PATH".into(), "/usr/bin:/bin".into())].into(),
        stdout: Output::Keep(Keep::default()),
        input: Input::Null,
        ..Run::new(["sh", "-c", script])
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
    }
}

fn fold_for_a_while(home: &Path, id: &str) {
    let environment = open(home).find(id).unwrap();
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        environment.totals().unwrap();
    }
}

/// The predecessor's ninth failure: what an environment used was always zero.
fn what_was_used_is_known_while_active_and_afterwards(profile: Profile) {
    let place = Place::new();
    let environment = place.create(profile);
    environment.run(shell(BURN)).unwrap().ended.unwrap();
    let usage = environment.status().unwrap().usage;
    assert!(usage.cpu > Duration::ZERO, "{usage:?}");
    assert!(usage.memory_peak > 0, "{usage:?}");

    environment.deactivate(Duration::ZERO).unwrap();
    let totals = environment.totals().unwrap();
    assert!(totals.cpu >= usage.cpu, "{totals:?} {usage:?}");
    assert!(totals.memory_peak > 0, "{totals:?}");
    let stats = environment.stats(HOUR).unwrap();
    assert_eq!(
        (stats.resolution, stats.totals),
        (Duration::from_secs(1), totals)
    );
    let seconds: f64 = stats.points.iter().map(|point| point.cpus).sum();
    let used = totals.cpu.as_secs_f64();
    // Of the last second only a part may have passed.
    assert!(seconds > used * 0.99 && seconds < used * 3.0, "{stats:?}");
    let most = stats.points.iter().map(|point| point.memory_most).max();
    assert_eq!(most, Some(totals.memory_peak));

    // Another activation goes on where the first has ended.
    environment.run(shell(BURN)).unwrap().ended.unwrap();
    environment.deactivate(Duration::ZERO).unwrap();
    assert!(environment.totals().unwrap().cpu > totals.cpu);
}

#[test]
fn what_an_environment_has_used_is_known_while_it_is_active_and_afterwards() {
    what_was_used_is_known_while_active_and_afterwards(Profile::None);
}

#[test]
fn what_an_isolated_environment_has_used_is_known_while_it_is_active_and_afterwards() {
    require!(requirement::userns());
    require!(requirement::overlay());
    what_was_used_is_known_while_active_and_afterwards(Profile::Standard);
}

#[test]
fn history_goes_with_its_environment() {
    let place = Place::new();
    let environment = place.create(Profile::None);
    environment.run(shell(BURN)).unwrap().ended.unwrap();
    environment.deactivate(Duration::ZERO).unwrap();
    assert!(place.rows("usage_history") > 0);
    assert_eq!(place.rows("usage_folded"), 1);
    environment.remove().unwrap();
    assert_eq!(
        (place.rows("usage_history"), place.rows("usage_folded")),
        (0, 0)
    );
}

#[test]
fn processes_that_fold_at_once_count_everything_once() {
    let place = Place::new();
    let environment = place.create(Profile::None);
    let home = place.directory.path().join("store");
    let id = environment.id().to_string();
    let busy = std::thread::scope(|scope| {
        let run =
            scope.spawn(|| environment.run(shell("for i in 1 2 3 4 5 6 7 8; do sleep 0.4; done")));
        let folders: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| fold_for_a_while(&home, &id)))
            .collect();
        for folder in folders {
            folder.join().unwrap();
        }
        run.join().unwrap()
    });
    busy.unwrap().ended.unwrap();
    environment.deactivate(Duration::ZERO).unwrap();
    let stats = environment.stats(HOUR).unwrap();
    let database = Connection::open(home.join("ptest.db")).unwrap();
    for resolution in [1, 60, 3600] {
        let cpu: i64 = database
            .query_row(
                "SELECT sum(cpu) FROM usage_history WHERE resolution = ?1",
                [resolution],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(cpu as u128, stats.totals.cpu.as_micros(), "{resolution}");
    }
}

#[test]
fn what_a_killed_init_had_recorded_is_not_lost_and_has_an_end() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let place = Place::new();
    let mut spec = spec(place.directory.path());
    spec.settings.profile = Some(Profile::Standard);
    let environment = place.ptest.create(&spec, &Silent).unwrap();
    let id = environment.id().to_string();
    std::thread::scope(|scope| {
        let _run = scope.spawn(|| environment.run(shell("while :; do :; done")));
        eventually("a record of a busy command", || {
            let stats = environment.stats(HOUR);
            stats.is_ok_and(|stats| stats.points.iter().any(|point| point.processes > 0.0))
        });
        let init = place
            .directory
            .path()
            .join("store/envs")
            .join(&id)
            .join("init");
        let holder = std::fs::read_to_string(init).unwrap();
        let pid = holder.split(' ').next().unwrap().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    });
    // Whoever works on it next finds it dead.
    environment.deactivate(Duration::ZERO).unwrap();
    assert!(environment.totals().unwrap().cpu > Duration::ZERO);
    eventually("a second in which nothing is held any more", || {
        let stats = environment.stats(HOUR).unwrap();
        stats.points.last().unwrap().memory == 0
    });
    environment.remove().unwrap();
}

#[test]
fn a_process_is_shown_and_can_be_ended() {
    let place = Place::new();
    let environment = place.create(Profile::None);
    assert_eq!(environment.processes().unwrap().processes, []);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| environment.run(shell("sleep 1000; exit 7")));
        let sleeper = || {
            let listed = environment.processes().unwrap();
            let depths = listed.depths();
            let found = listed.processes.into_iter().zip(depths);
            found
                .into_iter()
                .find(|(process, _)| process.command == "sleep 1000")
        };
        eventually("the command's child", || sleeper().is_some());
        let (process, depth) = sleeper().unwrap();
        assert_eq!(depth, 1);
        assert!(environment.signal(&process, 9).unwrap());
        let exit = run.join().unwrap().unwrap().ended.unwrap();
        assert_eq!(exit.status, ptest::engine::ExitStatus::Code(7));
        assert!(!environment.signal(&process, 9).unwrap());
    });
}

/// What was told of alerts, oldest first.
fn told(place: &Place) -> Vec<Event> {
    let filter = EventFilter {
        kinds: vec!["alert_raised".to_owned(), "alert_cleared".to_owned()],
        ..EventFilter::default()
    };
    let events = place.ptest.events(&filter, 100).unwrap();
    events.into_iter().map(|event| event.event).collect()
}

fn with_alert(place: &Place, alert: &str) -> Environment {
    let mut spec = spec(place.directory.path());
    spec.lifetime = Lifetime::Process;
    spec.settings.alerts = vec![alert.parse().unwrap()];
    place.ptest.create(&spec, &Silent).unwrap()
}

#[test]
fn an_alert_is_raised_while_a_command_runs_and_cleared_when_it_has_ended() {
    let place = Place::new();
    let environment = with_alert(&place, "memory>1K");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| environment.run(shell("exec sleep 1000")));
        eventually("an alert", || !told(&place).is_empty());
        let listed = environment.processes().unwrap();
        assert!(environment.signal(&listed.processes[0], 9).unwrap());
        run.join().unwrap().unwrap().ended.unwrap();
    });
    environment.deactivate(Duration::ZERO).unwrap();
    let told = told(&place);
    let [
        Event::AlertRaised { alert, value, .. },
        Event::AlertCleared { .. },
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(alert, "memory>1K");
    assert!(*value > 1024.0, "{told:?}");
}

#[test]
fn an_alert_of_an_environment_that_goes_at_once_is_not_missed() {
    let place = Place::new();
    let environment = with_alert(&place, "memory>1K");
    environment.run(shell("true")).unwrap().ended.unwrap();
    environment.remove().unwrap();
    let told = told(&place);
    assert!(matches!(&told[..], [Event::AlertRaised { .. }]), "{told:?}");
}

#[test]
fn nothing_is_told_of_what_is_not_crossed() {
    let place = Place::new();
    let environment = with_alert(&place, "memory>900G");
    environment.run(shell(BURN)).unwrap().ended.unwrap();
    environment.remove().unwrap();
    assert_eq!(told(&place), []);
}

#[test]
fn metrics_say_what_every_environment_has_used() {
    let place = Place::new();
    let environment = with_alert(&place, "memory>1K");
    environment.run(shell(BURN)).unwrap().ended.unwrap();
    environment.deactivate(Duration::ZERO).unwrap();
    let families = place.ptest.metrics().unwrap();
    let value = |name: &str| {
        let family = families.iter().find(|family| family.name == name).unwrap();
        family.samples[0].1
    };
    assert!(value("ptest_environment_cpu_seconds_total") > 0.0);
    assert!(value("ptest_environment_memory_peak_bytes") > 1024.0);
    let text = place.ptest.metrics_text().unwrap();
    assert!(
        text.contains("ptest_environments{state=\"inactive\"} 1\n"),
        "{text}"
    );
    let id = environment.id();
    let line = format!("ptest_environment_active{{environment=\"{id}\",id=\"{id}\"}} 0\n");
    assert!(text.contains(&line), "{text}");
}
