//! What happened is recorded with the change itself, in order, and whoever follows hears of it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ptest::events::{Cause, Event, EventFilter, Recorded, Retention};
use ptest::progress::Silent;
use ptest::{ErrorKind, Ptest};

use crate::context::{open, spec};

const LIMIT: Duration = Duration::from_mins(1);
const EVER: Duration = Duration::MAX;

fn all(ptest: &Ptest) -> Vec<Recorded> {
    ptest.events(&EventFilter::default(), usize::MAX).unwrap()
}

fn kinds(events: &[Recorded]) -> Vec<&'static str> {
    events.iter().map(|one| one.event.kind()).collect()
}

#[test]
fn the_life_of_an_environment_is_told_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let environment = ptest
        .create(
            &ptest::EnvironmentSpec {
                name: Some("web".parse().unwrap()),
                ..spec(directory.path())
            },
            &Silent,
        )
        .unwrap();
    environment.activate().unwrap();
    environment.deactivate(Duration::ZERO).unwrap();
    let taken = environment.snapshot(None).unwrap().snapshot;
    environment.restore(taken.name.as_str()).unwrap();
    let id = environment.id().clone();
    environment.remove().unwrap();
    ptest.remove_snapshot(taken.name.as_str()).unwrap();
    let events = all(&ptest);
    assert_eq!(
        kinds(&events),
        [
            "creating",
            "created",
            "activating",
            "activated",
            "deactivating",
            "deactivated",
            "snapshot_creating",
            "snapshot_created",
            "snapshot_restoring",
            "snapshot_restored",
            "removing",
            "removed",
            "snapshot_removed",
        ]
    );
    let (last, of_it) = events.split_last().unwrap();
    assert_eq!(last.environment, None);
    for (event, next) in of_it.iter().zip(&events[1..]) {
        assert_eq!(event.environment.as_ref(), Some(&id));
        assert_eq!(event.label.as_deref(), Some("web"));
        assert!(event.sequence < next.sequence && event.time <= next.time);
    }
    let asked = Event::Removing {
        cause: Cause::Asked,
    };
    assert_eq!(events[10].event, asked);
}

#[test]
fn what_failed_and_was_undone_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let named = ptest::EnvironmentSpec {
        name: Some("web".parse().unwrap()),
        ..spec(directory.path())
    };
    let kept = ptest.create(&named, &Silent).unwrap();
    let before = all(&ptest).len();
    assert_eq!(
        ptest.create(&named, &Silent).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    // What never began is no event of an environment.
    let of_it: Vec<_> = all(&ptest).split_off(before);
    assert!(of_it.iter().all(|one| one.environment.is_none()));
    kept.remove().unwrap();
}

#[test]
fn events_are_found_by_environment_kind_time_and_number() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
    let label = environment.id().to_string();
    let data = || serde_json::json!({"to": "staging"});
    let number = ptest.emit(Some(&label), "deployed", data()).unwrap();
    ptest.emit(None, "deployed", data()).unwrap();
    let find = |filter: EventFilter| ptest.events(&filter, usize::MAX).unwrap();
    let named = |kind: &str| EventFilter {
        kinds: vec![kind.to_owned()],
        ..EventFilter::default()
    };
    assert_eq!(find(named("deployed")).len(), 2);
    assert_eq!(find(named("emitted")).len(), 2);
    assert_eq!(kinds(&find(named("created"))), ["created"]);
    let of_it = EventFilter {
        environments: vec![label],
        ..EventFilter::default()
    };
    assert_eq!(kinds(&find(of_it)), ["creating", "created", "emitted"]);
    let later = EventFilter {
        after: Some(number),
        ..EventFilter::default()
    };
    assert_eq!(find(later).len(), 1);
    let future = EventFilter {
        since: Some(ptest::timestamp::Timestamp::from_millisecond(i64::MAX)),
        ..EventFilter::default()
    };
    assert!(find(future).is_empty());
    // The latest, in their order.
    let latest = ptest.events(&EventFilter::default(), 2).unwrap();
    assert_eq!(latest.last().unwrap().sequence, number + 1);
    assert_eq!(latest[0].sequence, number);
    environment.remove().unwrap();
}

#[test]
fn a_users_event_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    for name in ["", "a b", "--x/", &"a".repeat(64)] {
        let refused = ptest.emit(None, name, serde_json::Value::Null).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{name}");
    }
    let much = serde_json::Value::String("x".repeat(65 << 10));
    let refused = ptest.emit(None, "much", much).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    let unknown = ptest
        .emit(Some("nobody"), "name", serde_json::Value::Null)
        .unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    assert!(all(&ptest).is_empty());
}

#[test]
fn who_follows_gets_every_event_of_every_process_once_and_in_order() {
    const WRITERS: usize = 4;
    const EACH: usize = 200;
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    ptest.emit(None, "before", serde_json::Value::Null).unwrap();
    let mut follower = ptest.follow(EventFilter::default()).unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let home = &home;
            scope.spawn(move || {
                // A connection of its own, as another process has.
                let ptest = open(home);
                for number in 0..EACH {
                    let data = serde_json::json!([writer, number]);
                    ptest.emit(None, "one", data).unwrap();
                }
            });
        }
        let mut got = Vec::new();
        while got.len() < WRITERS * EACH {
            let events = follower.next(Some(LIMIT)).unwrap();
            assert!(!events.is_empty(), "{} came", got.len());
            got.extend(events);
        }
        let numbers: Vec<i64> = got.iter().map(|one| one.sequence).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(got.iter().all(|one| one.event.kind() == "emitted"));
    });
    assert!(follower.next(Some(Duration::ZERO)).unwrap().is_empty());
    assert_eq!(all(&ptest).len(), WRITERS * EACH + 1);
}

#[test]
fn who_follows_sleeps_until_something_happens_and_hears_only_what_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let filter = EventFilter {
        kinds: vec!["wanted".to_owned()],
        ..EventFilter::default()
    };
    let mut follower = ptest.follow(filter).unwrap();
    let (told, heard) = mpsc::channel();
    let following = thread::spawn(move || {
        let events = follower.next(Some(LIMIT)).unwrap();
        told.send(events).unwrap();
        follower.after()
    });
    ptest.emit(None, "other", serde_json::Value::Null).unwrap();
    let wanted = ptest.emit(None, "wanted", serde_json::Value::Null).unwrap();
    let events = heard.recv_timeout(LIMIT).unwrap();
    assert_eq!((events.len(), events[0].sequence), (1, wanted));
    assert_eq!(following.join().unwrap(), wanted);
}

#[test]
fn who_goes_on_from_a_number_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    for _ in 0..3 {
        ptest.emit(None, "one", serde_json::Value::Null).unwrap();
    }
    let filter = EventFilter {
        after: Some(1),
        ..EventFilter::default()
    };
    let mut follower = ptest.follow(filter).unwrap();
    let events = follower.next(Some(LIMIT)).unwrap();
    assert_eq!(events.len(), 2);
}

#[test]
fn old_events_go_and_their_numbers_never_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let mut last = 0;
    for _ in 0..10 {
        last = ptest.emit(None, "one", serde_json::Value::Null).unwrap();
    }
    let retain = |count, age| ptest.prune_events(Retention { count, age }).unwrap();
    assert_eq!(retain(10, EVER), 0);
    assert_eq!(retain(4, EVER), 6);
    assert_eq!(all(&ptest).len(), 4);
    // All were recorded before now.
    let before = all(&ptest).last().unwrap().time;
    while ptest::timestamp::Timestamp::now() <= before {}
    assert_eq!(retain(u32::MAX, Duration::ZERO), 4);
    let next = ptest.emit(None, "one", serde_json::Value::Null).unwrap();
    assert_eq!(next, last + 1);
}
