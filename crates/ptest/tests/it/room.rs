//! How much there may be at once: refused with a reason, or waited for.

use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use ptest::progress::Silent;
use ptest::{Environment, ErrorKind, Ptest, Result, Room};

use crate::context::{open_with_room, spec};

const LONG: Duration = Duration::from_mins(1);

fn create(ptest: &Ptest, project: &Path, memory: Option<u64>) -> Result<Environment> {
    let mut spec = spec(project);
    spec.settings.limits.memory = memory;
    // Without control groups it is watched.
    spec.settings.degrade = true;
    ptest.create(&spec, &Silent)
}

#[test]
fn of_many_that_come_at_once_no_more_get_in_than_there_is_room_for() {
    const COME: usize = 8;
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let room = Room {
        environments: Some(3),
        ..Room::default()
    };
    open_with_room(&home, room);
    let barrier = Barrier::new(COME);
    let results: Vec<Result<Environment>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..COME)
            .map(|_| {
                scope.spawn(|| {
                    let ptest = open_with_room(&home, room);
                    barrier.wait();
                    create(&ptest, directory.path(), None)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect()
    });
    let (made, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 3);
    for error in refused.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::NoRoom);
        assert!(error.hint().unwrap().contains("--wait"));
    }
    for environment in made.into_iter().flatten() {
        environment.remove().unwrap();
    }
}

#[test]
fn who_waits_gets_in_when_another_has_gone() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let room = Room {
        environments: Some(1),
        patience: LONG,
        ..Room::default()
    };
    let ptest = open_with_room(&home, room);
    let first = create(&ptest, directory.path(), None).unwrap();
    let second = thread::scope(|scope| {
        let waiting = scope.spawn(|| create(&open_with_room(&home, room), directory.path(), None));
        // It has been refused once.
        while ptest
            .events(&ptest::events::EventFilter::default(), usize::MAX)
            .unwrap()
            .len()
            > 2
        {}
        first.remove().unwrap();
        waiting.join().unwrap().unwrap()
    });
    second.remove().unwrap();
}

#[test]
fn memory_is_promised_to_those_that_are_active_and_each_says_how_much() {
    let directory = tempfile::tempdir().unwrap();
    let room = Room {
        memory: Some(300 << 20),
        ..Room::default()
    };
    let ptest = open_with_room(&directory.path().join("store"), room);
    let make = |memory| create(&ptest, directory.path(), memory).unwrap();
    let (one, two, three) = (make(Some(200 << 20)), make(Some(200 << 20)), make(None));
    one.activate().unwrap();
    let refused = two.activate().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoRoom);
    assert!(refused.to_string().contains("200 MiB"), "{refused}");
    let refused = three.activate().unwrap_err();
    assert!(refused.hint().unwrap().contains("--memory"));
    one.deactivate(Duration::ZERO).unwrap();
    two.activate().unwrap();
    for environment in [one, two, three] {
        environment.remove().unwrap();
    }
}

#[test]
fn a_store_that_is_large_enough_gets_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let first = create(
        &open_with_room(&home, Room::default()),
        directory.path(),
        None,
    )
    .unwrap();
    let room = Room {
        disk: Some(1),
        ..Room::default()
    };
    let refused = create(&open_with_room(&home, room), directory.path(), None).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoRoom);
    assert!(refused.hint().unwrap().contains("ptest gc"));
    first.remove().unwrap();
}
