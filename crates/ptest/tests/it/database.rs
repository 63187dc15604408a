//! The database in trouble: held for long, damaged, of a newer version, after the clock was put back and after another start
//! of the machine.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ptest::environment::State;
use ptest::events::EventFilter;
use ptest::progress::Silent;
use ptest::{Collection, ErrorKind, Ptest};
use ptest_store::Store;
use ptest_store::rusqlite::Connection;

use crate::context::{open, options, spec, with_pip};

/// The store that a second process of this test is to have open.
const OPEN: &str = "PTEST_TEST_OPEN_STORE";

/// The database of a store, as another program has it open.
fn another(home: &Path) -> Connection {
    Connection::open(home.join("ptest.db")).unwrap()
}

/// Changes rows, as nobody should.
fn change(home: &Path, sql: &str) {
    another(home).execute_batch(sql).unwrap();
}

/// Ends the use of a store, and waits until the thread that syncs its layers has nothing more to write.
fn close(ptest: Ptest) {
    let (store, log) = (ptest.store().clone(), ptest.store().database().log());
    drop(ptest);
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let is_synced = store.layers().unwrap().iter().all(|layer| layer.synced);
        store.database().checkpoint().unwrap();
        if is_synced && fs::metadata(&log).unwrap().len() == 0 {
            return;
        }
        assert!(Instant::now() < end, "the layers are never synced");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_holds_the_database_for_long_stops_writers_for_a_time_and_readers_never() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
    let holder = another(&home);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();

    let error = ptest.create(&spec(directory.path()), &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    assert!(
        error.hint().unwrap().contains("another process"),
        "{error:?}"
    );
    assert_eq!(ptest.records().unwrap().len(), 1);
    assert_eq!(open(&home).records().unwrap().len(), 1);

    holder.execute_batch("ROLLBACK").unwrap();
    environment.remove().unwrap();
    let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
    environment.remove().unwrap();
}

#[test]
fn who_opens_a_store_does_not_wait_for_the_database_once_for_each_that_is_to_be_put_right() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    for _ in 0..3 {
        ptest.create(&spec(directory.path()), &Silent).unwrap();
    }
    drop(ptest);
    change(&home, "UPDATE environments SET state = 'active'");
    let holder = another(&home);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ptest = open(&home);
    let recovery = ptest.recovered();
    let [(_, error)] = &recovery.failed[..] else {
        panic!("{recovery:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    assert_eq!(ptest.records().unwrap().len(), 3);
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(open(&home).recovered().settled.len(), 3);
}

#[test]
fn a_damaged_database_is_told_from_other_trouble_and_is_not_made_worse() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    ptest.create(&spec(directory.path()), &Silent).unwrap();
    close(ptest);
    let file = home.join("ptest.db");
    let sound = fs::read(&file).unwrap();
    let length = sound.len();
    for (what, damaged) in [
        ("its head", 0..100),
        ("its first page", 100..4096),
        ("all but its head", 4096..length),
        ("its end", length - 4096..length),
    ] {
        let mut bytes = sound.clone();
        bytes[damaged].fill(0xa5);
        fs::write(&file, &bytes).unwrap();
        match Ptest::open(options(&home)) {
            Ok(ptest) => assert!(ptest.database_damage().unwrap().is_some(), "{what}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
                assert!(
                    error.hint().unwrap().contains("recover --rebuild"),
                    "{what}: {error:?}"
                );
            }
        }
        assert!(fs::read(&file).unwrap() == bytes, "{what}");
    }
    fs::write(&file, &sound).unwrap();
    let ptest = open(&home);
    assert_eq!(ptest.database_damage().unwrap(), None);
    assert_eq!(ptest.records().unwrap().len(), 1);
}

#[test]
fn a_damaged_database_is_made_anew_of_what_can_be_read_and_of_what_is_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let environment = ptest.create(&with_pip(directory.path()), &Silent).unwrap();
    let id = environment.id().clone();
    let layers = ptest.store().layers().unwrap().len();
    drop(environment);
    close(ptest);
    let error = Ptest::rebuild(options(&home)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalState, "{error:?}");

    // Nothing of it can be read: layers are found again, and what was written is where people find it.
    let file = home.join("ptest.db");
    let sound = fs::read(&file).unwrap();
    fs::write(&file, vec![0xa5; sound.len()]).unwrap();
    let (ptest, rebuilt) = Ptest::rebuild(options(&home)).unwrap();
    assert_eq!(rebuilt.layers, layers);
    let [(lost, place)] = &rebuilt.lost[..] else {
        panic!("{rebuilt:?}")
    };
    assert_eq!(lost, &id);
    assert!(place.is_dir());
    assert_eq!(
        fs::read(rebuilt.aside.unwrap()).unwrap(),
        vec![0xa5; sound.len()]
    );
    assert!(ptest.records().unwrap().is_empty());
    let again = ptest.create(&with_pip(directory.path()), &Silent).unwrap();
    assert_eq!(ptest.store().layers().unwrap().len(), layers);
    again.remove().unwrap();
}

#[test]
fn what_can_be_read_of_a_damaged_database_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let environment = ptest.create(&with_pip(directory.path()), &Silent).unwrap();
    let id = environment.id().clone();
    for _ in 0..500 {
        ptest
            .emit(None, "filler", serde_json::json!("x".repeat(200)))
            .unwrap();
    }
    drop(environment);
    close(ptest);
    // A page of events, which are many, in the middle of the file.
    let file = home.join("ptest.db");
    let mut bytes = fs::read(&file).unwrap();
    let place = bytes.windows(6).rposition(|it| it == b"filler").unwrap();
    let page = place / 4096 * 4096;
    bytes[page..page + 4096].fill(0);
    fs::write(&file, &bytes).unwrap();
    assert!(open(&home).database_damage().unwrap().is_some());

    let (ptest, rebuilt) = Ptest::rebuild(options(&home)).unwrap();
    assert!(rebuilt.lost.is_empty(), "{rebuilt:?}");
    let events = rebuilt
        .tables
        .iter()
        .find(|it| it.table == "events")
        .unwrap();
    assert!(
        !events.is_whole && (400..500).contains(&events.rows),
        "{events:?}"
    );
    assert_eq!(ptest.database_damage().unwrap(), None);
    let environment = ptest.find(id.as_str()).unwrap();
    environment.activate().unwrap();
    environment.remove().unwrap();
}

#[test]
fn a_database_that_is_empty_or_gone_is_not_taken_for_a_new_one() {
    for what in ["empty", "gone", "new"] {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("store");
        let ptest = open(&home);
        let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
        let id = environment.id().clone();
        drop(environment);
        close(ptest);
        let file = home.join("ptest.db");
        fs::remove_file(&file).unwrap();
        match what {
            "empty" => fs::write(&file, "").unwrap(),
            "new" => change(&home, "PRAGMA journal_mode = WAL"),
            _ => {}
        }
        let error = Ptest::open(options(&home)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
        assert!(error.hint().unwrap().contains("recover --rebuild"));
        assert!(home.join("envs").join(id.as_str()).is_dir(), "{what}");

        let (ptest, rebuilt) = Ptest::rebuild(options(&home)).unwrap();
        let [(lost, place)] = &rebuilt.lost[..] else {
            panic!("{what}: {rebuilt:?}")
        };
        ptest.tidy(Duration::from_mins(1)).unwrap();
        assert_eq!(lost, &id, "{what}");
        assert!(place.is_dir(), "{what}");
        assert_eq!(ptest.database_damage().unwrap(), None, "{what}");
        ptest.create(&spec(directory.path()), &Silent).unwrap();
    }
}

#[test]
fn a_database_is_not_made_anew_while_another_process_has_it_open() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let argument = std::env::var_os(OPEN);
    if let Some(home) = argument {
        let ptest = open(home.as_ref());
        assert!(ptest.records().unwrap().is_empty());
        println!("open");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    drop(open(&home));
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("database::a_database_is_not_made_anew_while_another_process_has_it_open")
        .env(OPEN, &home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().ends_with("open")));

    let error = Store::rebuild(&home).unwrap_err();
    assert_eq!(error.kind(), ptest_store::ErrorKind::Busy, "{error:?}");
    drop(other.stdin.take());
    assert!(said.all(|line| line.is_ok()));
    assert!(other.wait().unwrap().success());
    Store::rebuild(&home).unwrap();
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    drop(open(&home));
    change(
        &home,
        "UPDATE components SET version = version + 1 WHERE name = 'ptest'",
    );
    let error = Ptest::open(options(&home)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.hint().unwrap().contains("update ptest"), "{error:?}");
    change(
        &home,
        "UPDATE components SET version = version - 1 WHERE name = 'ptest'",
    );
    open(&home);
}

#[test]
fn after_the_clock_was_put_back_by_a_day_everything_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
    let snapshot = environment.snapshot(None).unwrap().snapshot;
    // As if all that had happened a day later than the clock says now.
    let day = Duration::from_hours(24).as_millis();
    for (table, column) in [
        ("environments", "created_at"),
        ("snapshots", "created_at"),
        ("events", "time"),
        ("recipes", "resolved_at"),
        ("recipes", "used_at"),
    ] {
        change(
            &home,
            &format!("UPDATE {table} SET {column} = {column} + {day}"),
        );
    }
    change(
        &home,
        &format!(
            "UPDATE layers SET created_at = created_at + {0}, used_at = used_at + {0}",
            day / 1000
        ),
    );
    drop(ptest);

    let ptest = open(&home);
    let other = ptest.create(&spec(directory.path()), &Silent).unwrap();
    let events = ptest.events(&EventFilter::default(), usize::MAX).unwrap();
    assert!(events.is_sorted_by_key(|event| event.sequence));
    assert_eq!(
        events.last().unwrap().environment.as_ref(),
        Some(other.id())
    );
    // Nothing that is used goes, and what is not goes though its times have not come.
    let collection = Collection {
        older_than: Duration::ZERO,
        keep_size: None,
        dry_run: false,
    };
    ptest.collect(&collection).unwrap();
    environment.activate().unwrap();
    environment.restore(snapshot.name.as_str()).unwrap();
    ptest.tidy(Duration::from_mins(1)).unwrap();
    for environment in [environment, other] {
        environment.remove().unwrap();
    }
}

#[test]
fn what_lived_when_the_machine_was_started_again_is_brought_to_rest_or_gone() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let kept = ptest.create(&spec(directory.path()), &Silent).unwrap();
    let owned = ptest.create(&spec(directory.path()), &Silent).unwrap();
    let (kept, owned) = (kept.id().clone(), owned.id().clone());
    drop(ptest);
    // What the database of a machine that lost its power says: one was active, one was a process's.
    change(
        &home,
        &format!("UPDATE environments SET state = 'active' WHERE id = '{kept}'"),
    );
    let owner = r#"{"kind":"process","boot_id":"another boot","pid":1,"start_time":1}"#;
    change(
        &home,
        &format!(
            "UPDATE environments SET owner = '{owner}', process_owned = 1 WHERE id = '{owned}'"
        ),
    );
    change(&home, "UPDATE layers SET boot = 'another boot', synced = 0");

    let ptest = open(&home);
    let left = ptest.records().unwrap();
    let [record] = &left[..] else {
        panic!("{left:?}")
    };
    assert_eq!((&record.id, record.state), (&kept, State::Inactive));
    // Layers that nobody knows to be on the disk were looked at.
    let environment = ptest.find(kept.as_str()).unwrap();
    environment.activate().unwrap();
    environment.remove().unwrap();
}
