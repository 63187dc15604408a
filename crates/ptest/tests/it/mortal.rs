//! Environments that live for a time, or for as long as they are used.

use std::time::{Duration, Instant};

use ptest::engine::ExitStatus;
use ptest::events::{Cause, Event, EventFilter};
use ptest::progress::Silent;
use ptest::settings::Settings;
use ptest::{Environment, EnvironmentSpec, ErrorKind, Ptest, Run};

use crate::context::{open, spec};

const HOUR: Duration = Duration::from_hours(1);
const MOMENT: Duration = Duration::from_millis(1);

fn make(
    ptest: &Ptest,
    project: &std::path::Path,
    change: impl FnOnce(&mut Settings),
) -> Environment {
    let mut spec: EnvironmentSpec = spec(project);
    change(&mut spec.settings);
    ptest.create(&spec, &Silent).unwrap()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: never");
        std::thread::yield_now();
    }
}

fn labels(ptest: &Ptest) -> Vec<String> {
    let records = ptest.records().unwrap();
    records.iter().map(|one| one.id.to_string()).collect()
}

#[test]
fn one_whose_time_is_over_goes_with_the_next_opening_and_others_stay() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let short = make(&ptest, directory.path(), |settings| {
        settings.ttl = Some(MOMENT);
    });
    let long = make(&ptest, directory.path(), |settings| {
        settings.ttl = Some(HOUR);
    });
    let endless = make(&ptest, directory.path(), |_| {});
    let short = short.id().clone();
    let mut removed = Vec::new();
    eventually("it is taken away", || {
        removed.extend(open(&home).recovered().removed);
        !removed.is_empty()
    });
    assert_eq!(removed, std::slice::from_ref(&short));
    assert_eq!(
        labels(&ptest),
        [long.id().to_string(), endless.id().to_string()]
    );
    assert!(!home.join("envs").join(short.as_str()).exists());
    let filter = EventFilter {
        environments: vec![short.to_string()],
        kinds: vec!["removing".to_owned()],
        ..EventFilter::default()
    };
    let told = ptest.events(&filter, 9).unwrap();
    let expired = Event::Removing {
        cause: Cause::Expired,
    };
    assert_eq!(told.last().unwrap().event, expired);
    long.remove().unwrap();
    endless.remove().unwrap();
}

#[test]
fn one_that_is_active_ends_by_itself_when_its_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let second = Duration::from_secs(1);
    let environment = make(&ptest, directory.path(), |settings| {
        settings.ttl = Some(second);
    });
    // It ends long before the command would.
    let ended = environment
        .run(Run::new(["sleep", "100000"]))
        .unwrap()
        .ended;
    assert!(ended.is_err() || ended.is_ok_and(|exit| exit.status != ExitStatus::Code(0)));
    let gone = environment.activate().unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(labels(&ptest).is_empty());
}

#[test]
fn one_that_nobody_uses_goes_and_one_that_is_used_stays() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let unused = make(&ptest, directory.path(), |settings| {
        settings.idle = Some(MOMENT);
    });
    let used = make(&ptest, directory.path(), |settings| {
        settings.idle = Some(HOUR);
    });
    used.run(Run::new(["true"])).unwrap().ended.unwrap();
    let unused = unused.id().clone();
    eventually("it is taken away", || {
        open(&home).recovered().removed.contains(&unused)
    });
    assert_eq!(labels(&ptest), [used.id().to_string()]);
    used.remove().unwrap();
}

#[test]
fn one_that_something_runs_in_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let environment = make(&ptest, directory.path(), |settings| {
        settings.idle = Some(Duration::from_millis(300));
    });
    let running = environment.start(Run::new(["sleep", "1000"])).unwrap();
    // Long enough for it to be over several times.
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        assert!(open(&home).recovered().removed.is_empty());
    }
    drop(running);
    let id = environment.id().clone();
    eventually("it is taken away", || {
        open(&home).recovered().removed.contains(&id)
    });
}
