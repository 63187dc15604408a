//! What a collection takes, and what it never takes.

use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ptest::progress::Silent;
use ptest::{Collected, Collection, Depth, EnvironmentSpec, Ptest, ThrownAway};
use rustix::fs::{FlockOperation, flock};

use crate::context::{open, spec, with_pip};

const EVERYTHING: Collection = Collection {
    older_than: Duration::ZERO,
    keep_size: None,
    dry_run: false,
};

/// The names in a directory of the store, which may not be there yet.
fn names(ptest: &Ptest, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(ptest.store().home().join(directory));
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What a collection finds that nobody threw away before.
fn unused(collected: Collected) -> Collected {
    Collected {
        thrown_away: ThrownAway::default(),
        ..collected
    }
}

/// Makes environments and takes them away again, so that only what they were made of is left.
fn used_once(ptest: &Ptest, specs: &[EnvironmentSpec]) {
    for spec in specs {
        ptest.create(spec, &Silent).unwrap().remove().unwrap();
    }
}

#[test]
fn what_nobody_uses_goes_and_is_made_again_when_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    used_once(
        &ptest,
        &[spec(directory.path()), with_pip(directory.path())],
    );
    let before = ptest.size().unwrap();
    assert_eq!(before.layers, 2);

    let collected = ptest.collect(&EVERYTHING).unwrap();
    assert_eq!((collected.layers, collected.recipes), (2, 2));
    assert_eq!(collected.bytes, before.layer_bytes);
    for place in ["layers", "manifests", "trash", "staging", "leases", "envs"] {
        assert_eq!(names(&ptest, place), Vec::<String>::new(), "{place}");
    }
    assert_eq!(ptest.collect(&EVERYTHING).unwrap(), Collected::default());

    let environment = ptest.create(&with_pip(directory.path()), &Silent).unwrap();
    assert_eq!(environment.verify(Depth::Full).unwrap().problems, []);
    environment.remove().unwrap();
}

#[test]
fn what_an_environment_is_made_of_stays() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    used_once(&ptest, &[with_pip(directory.path())]);
    let kept = ptest.create(&spec(directory.path()), &Silent).unwrap();
    let collected = ptest.collect(&EVERYTHING).unwrap();
    assert_eq!((collected.layers, collected.recipes), (1, 1));
    assert_eq!(ptest.size().unwrap().layers, 1);
    assert_eq!(kept.verify(Depth::Full).unwrap().problems, []);
    kept.remove().unwrap();
}

#[test]
fn what_was_used_lately_stays() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    used_once(&ptest, &[with_pip(directory.path())]);
    let young = Collection {
        older_than: Duration::from_hours(1),
        ..EVERYTHING
    };
    assert_eq!(unused(ptest.collect(&young).unwrap()), Collected::default());
    assert_eq!(ptest.size().unwrap().layers, 2);
    // All that was done was done two hours ago, but for one use.
    let past = |table: &str, unit: i64| {
        let sql = format!("UPDATE {table} SET used_at = used_at - 7200 * {unit}");
        let aged = ptest.store().database().write(|transaction| {
            transaction.execute(&sql, [])?;
            Ok::<_, ptest_store::Error>(())
        });
        aged.unwrap();
    };
    past("layers", 1);
    past("recipes", 1000);
    used_once(&ptest, &[spec(directory.path())]);
    let collected = ptest.collect(&young).unwrap();
    assert_eq!((collected.layers, collected.recipes), (1, 1));
    assert_eq!(ptest.size().unwrap().layers, 1);
}

#[test]
fn a_dry_run_says_what_would_go_and_takes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    used_once(&ptest, &[with_pip(directory.path())]);
    let layers = names(&ptest, "layers");
    let dry = Collection {
        dry_run: true,
        ..EVERYTHING
    };
    let said = ptest.collect(&dry).unwrap();
    assert_eq!(names(&ptest, "layers"), layers);
    assert_eq!(ptest.collect(&dry).unwrap(), said);
    assert_eq!(ptest.collect(&EVERYTHING).unwrap(), said);
}

#[test]
fn what_was_thrown_away_is_told_apart_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
    ptest.tidy(Duration::from_mins(1)).unwrap();
    let cache = ptest.store().dir("caches").unwrap().join("thrown");
    fs::write(&cache, vec![1; 1 << 20]).unwrap();
    ptest.store().trash(&cache).unwrap();
    let thrown_away = ptest.thrown_away().unwrap();
    assert_eq!(thrown_away.entries, 1);
    assert!((1 << 20..2 << 20).contains(&thrown_away.bytes));

    let only_that = Collected {
        thrown_away,
        ..Collected::default()
    };
    let dry = Collection {
        dry_run: true,
        ..EVERYTHING
    };
    assert_eq!(ptest.collect(&dry).unwrap(), only_that);
    assert_eq!(names(&ptest, "trash").len(), 1);
    assert_eq!(ptest.collect(&EVERYTHING).unwrap(), only_that);
    assert_eq!(names(&ptest, "trash"), Vec::<String>::new());
    assert_eq!(ptest.thrown_away().unwrap(), ThrownAway::default());
    assert_eq!(ptest.collect(&EVERYTHING).unwrap(), Collected::default());
    environment.remove().unwrap();
}

#[test]
fn what_was_used_least_recently_goes_first_until_the_rest_has_room() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    used_once(
        &ptest,
        &[with_pip(directory.path()), spec(directory.path())],
    );
    let before = ptest.size().unwrap();
    let keep = |size| Collection {
        older_than: Duration::from_hours(1),
        keep_size: Some(size),
        dry_run: false,
    };
    assert_eq!(
        unused(ptest.collect(&keep(before.bytes())).unwrap()),
        Collected::default()
    );
    // The last recipe is the bare one: pip is what goes.
    let collected = ptest.collect(&keep(before.bytes() - 1)).unwrap();
    assert_eq!((collected.layers, collected.recipes), (1, 1));
    assert!(collected.bytes > before.layer_bytes / 2);
    let again = ptest.create(&spec(directory.path()), &Silent).unwrap();
    // What is in use stays, though there is no room for it.
    assert_eq!(ptest.collect(&keep(0)).unwrap().layers, 0);
    assert_eq!(again.verify(Depth::Full).unwrap().problems, []);
    again.remove().unwrap();
}

#[test]
fn caches_go_with_the_last_environment_and_the_recipe() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
    environment.activate().unwrap();
    environment.deactivate(Duration::ZERO).unwrap();
    let recipe = environment.record().unwrap().recipe;
    assert_eq!(names(&ptest, "caches"), [recipe.as_str()]);
    let caches = ptest.store().dir("caches").unwrap();
    fs::write(caches.join(&recipe).join("file"), [1; 10_000]).unwrap();
    let of_none = format!("once-{}", "0".repeat(32));
    fs::create_dir(caches.join(&of_none)).unwrap();
    fs::create_dir(caches.join("somebody's")).unwrap();

    assert_eq!(ptest.collect(&EVERYTHING).unwrap().caches, 1);
    assert_eq!(names(&ptest, "caches"), [recipe.as_str(), "somebody's"]);
    assert!(ptest.size().unwrap().cache_bytes >= 10_000);
    environment.remove().unwrap();
    assert_eq!(ptest.collect(&EVERYTHING).unwrap().caches, 1);
    assert_eq!(names(&ptest, "caches"), ["somebody's"]);
}

#[test]
fn programs_of_other_versions_go_unless_a_process_may_start_them() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let own = names(&ptest, "bin");
    let bin = ptest.store().dir("bin").unwrap();
    let (free, used) = ("ptest-init-0123456789abcdef", "ptest-init-fedcba9876543210");
    let hash = "0011223344556677";
    fs::write(bin.join(free), "").unwrap();
    fs::write(bin.join(used), "").unwrap();
    fs::create_dir(bin.join(hash)).unwrap();
    fs::create_dir(bin.join(format!("pip-1.0-py3-none-any-{hash}"))).unwrap();
    let held = File::open(bin.join(used)).unwrap();
    flock(&held, FlockOperation::LockShared).unwrap();

    // Whoever may start the other may run its pip too.
    assert_eq!(ptest.collect(&EVERYTHING).unwrap().programs, 1);
    assert!(!bin.join(free).exists() && bin.join(used).exists() && bin.join(hash).exists());
    drop(held);
    assert_eq!(ptest.collect(&EVERYTHING).unwrap().programs, 3);
    let left = names(&ptest, "bin");
    assert!(own.iter().all(|name| left.contains(name)), "{left:?}");
    assert!(left.iter().all(|name| !name.contains(hash)), "{left:?}");
}

#[test]
fn nothing_is_taken_from_those_who_are_just_making_an_environment_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    drop(open(&home));
    let (done, runs) = (AtomicBool::new(false), AtomicUsize::new(0));
    let taken = thread::scope(|scope| {
        let makers = [false, true].map(|pip| {
            let (home, project, runs) = (&home, directory.path(), &runs);
            scope.spawn(move || {
                // Of its own, as another process has it.
                let ptest = open(home);
                let spec = if pip {
                    with_pip(project)
                } else {
                    spec(project)
                };
                for round in 0..8 {
                    let environment = ptest.create(&spec, &Silent).unwrap();
                    assert_eq!(environment.verify(Depth::Full).unwrap().problems, []);
                    environment.remove().unwrap();
                    // Every other time what it is made of may be gone, else it is just being looked at.
                    let before = runs.load(Ordering::SeqCst);
                    let deadline = Instant::now() + Duration::from_mins(1);
                    while round % 2 == 0 && runs.load(Ordering::SeqCst) < before + 2 {
                        assert!(Instant::now() < deadline, "nobody collects");
                        thread::yield_now();
                    }
                }
            })
        });
        let collector = scope.spawn(|| {
            let ptest = open(&home);
            let mut taken = 0;
            while !done.load(Ordering::SeqCst) {
                taken += ptest.collect(&EVERYTHING).unwrap().recipes;
                runs.fetch_add(1, Ordering::SeqCst);
            }
            taken
        });
        let made = makers.map(thread::ScopedJoinHandle::join);
        done.store(true, Ordering::SeqCst);
        let taken = collector.join().unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        taken
    });
    assert!(taken > 0);
}
