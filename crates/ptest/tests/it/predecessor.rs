//! What an earlier tool of this name got wrong, each of it reproduced there, and a promise here.
//!
//! Not for what another test shows already:
//!
//! - clean-up: that files are gone is `tidy::a_removed_environment_leaves_no_file`, that ports are given back
//!   `ports::an_environment_has_its_ports_by_name_until_it_is_removed`, and that nothing of another is taken
//!   `tidy::what_is_in_use_stays_and_what_no_row_knows_goes`;
//! - timeouts: that grandchildren end and what was written is kept is
//!   `runs::grandchildren_of_a_command_whose_time_is_up_are_ended_and_what_they_wrote_is_kept`;
//! - many at once: that a limit on environments lets in no more is
//!   `room::of_many_that_come_at_once_no_more_get_in_than_there_is_room_for`, that a taken name is refused
//!   `snapshots::of_many_that_want_one_name_at_once_one_gets_it`;
//! - ports that many processes ask for are `ports::many_processes_are_never_given_the_same_port`;
//! - that each key of the configuration is read is `settings::every_setting_changes_what_ptest_does` of the program;
//! - that work counts is `monitor::what_an_environment_has_used_is_known_while_it_is_active_and_afterwards`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::num::NonZeroU16;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use ptest::engine::ExitStatus;
use ptest::environment::{ProcessIdentity, State};
use ptest::events::{Event, EventFilter, Recorded};
use ptest::progress::Silent;
use ptest::settings::Profile;
use ptest::{
    Depth, Environment, EnvironmentSpec, ErrorKind, PackageChange, PortOwner, PortRequest, Ptest,
    Requirements, Room, Run,
};
use ptest_testkit::{require, requirement};
use rustix::fs::{FlockOperation, flock};

use crate::context::{open, open_with_room, spec};
use crate::python::wheels::Builder;
use crate::run::{eventually, shell};

const LIMIT: Duration = Duration::from_mins(1);

/// A store and a project of somebody.
struct Place {
    directory: tempfile::TempDir,
    ptest: Ptest,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(directory.path().join("project")).unwrap();
        let ptest = open(&directory.path().join("store"));
        Self { directory, ptest }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// The store, as another process has it open.
    fn again(&self) -> Ptest {
        open(&self.path("store"))
    }

    fn spec(&self, profile: Option<Profile>) -> EnvironmentSpec {
        let mut spec = spec(&self.path("project"));
        spec.settings.profile = profile;
        spec
    }

    fn create(&self, profile: Option<Profile>) -> Environment {
        self.ptest.create(&self.spec(profile), &Silent).unwrap()
    }

    /// The requirement of a new distribution, whose module is named `module`.
    fn wheel(&self, name: &str, module: &str) -> Requirements {
        let wheel = Builder::new(name, "1.5")
            .file(&format!("{module}.py"), "")
            .write(self.directory.path());
        Requirements {
            specifiers: vec![wheel.to_str().unwrap().to_owned()],
            ..Requirements::default()
        }
    }

    fn events(&self, kind: &str) -> Vec<Recorded> {
        let filter = EventFilter {
            kinds: vec![kind.to_owned()],
            ..EventFilter::default()
        };
        self.ptest.events(&filter, usize::MAX).unwrap()
    }
}

/// The same environment, as another process has it.
fn another(ptest: &Ptest, environment: &Environment) -> Environment {
    ptest.find(environment.id().as_str()).unwrap()
}

/// Runs a test with a copied environment and, where that is to be had, with an isolated one.
fn with_either(test: fn(&Place, Option<Profile>)) {
    test(&Place::new(), Some(Profile::None));
    require!(requirement::userns());
    test(&Place::new(), None);
}

fn imports(environment: &Environment, module: &str) -> bool {
    let done = shell(&format!("exec python -c 'import {module}'"));
    let ended = environment.run(done).unwrap().ended.unwrap();
    ended.status == ExitStatus::Code(0)
}

// Clean-up.

#[test]
fn a_removal_that_cannot_take_the_files_away_fails_and_can_be_done_again() {
    let place = Place::new();
    let environment = place.create(Some(Profile::None));
    let files = place.path("store/envs").join(environment.id().as_str());
    // Where it would be thrown away there is something that holds nothing, for root neither.
    let trash = place.path("store/trash");
    fs::rename(&trash, place.path("aside")).unwrap();
    File::create(&trash).unwrap();
    another(&place.ptest, &environment).remove().unwrap_err();
    assert!(files.exists());
    assert_eq!(environment.record().unwrap().state, State::Failed);
    fs::remove_file(&trash).unwrap();
    fs::rename(place.path("aside"), &trash).unwrap();
    environment.remove().unwrap();
    assert!(!files.exists());
    assert!(place.ptest.records().unwrap().is_empty());
}

#[test]
fn what_the_caller_had_before_is_there_after_a_removal() {
    with_either(|place, profile| {
        let theirs = place.path("project/theirs");
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("file"), "theirs").unwrap();
        // As the environment's own directories are named.
        for name in ["upper", "lib", ".venv"] {
            fs::create_dir(theirs.join(name)).unwrap();
        }
        let environment = place.create(profile);
        let link = format!("ln -s {theirs:?} \"$VIRTUAL_ENV/lib/theirs\"");
        let linked = environment.run(shell(&link)).unwrap().ended.unwrap();
        assert_eq!(linked.status, ExitStatus::Code(0));
        environment.remove().unwrap();
        place.ptest.tidy(LIMIT).unwrap();
        assert_eq!(fs::read(theirs.join("file")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(&theirs).unwrap().count(), 4);
        let left = |name: &str| fs::read_dir(place.path(name)).unwrap().count();
        assert_eq!((left("store/envs"), left("store/trash")), (0, 0));
    });
}

#[test]
fn no_command_runs_once_a_removal_has_returned() {
    with_either(|place, profile| {
        let environment = place.create(profile);
        let project = place.path("project");
        // Whoever lives holds a lock on this file.
        let held = File::create(project.join("held")).unwrap();
        let script = |end: &str| format!("exec 9>>held; flock --shared 9; echo > $$; {end}");
        thread::scope(|scope| {
            let ends = ["exec sleep 1000", "exit 0"];
            let commands = ends.iter().cycle().take(8).map(|end| {
                let (handle, script) = (another(&place.again(), &environment), script(end));
                scope.spawn(move || until_refused(&handle, &script))
            });
            let commands: Vec<_> = commands.collect();
            let begun = || fs::read_dir(&project).unwrap().count() > 8;
            eventually("all have begun", begun);
            environment.remove().unwrap();
            flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
            for command in commands {
                assert_eq!(command.join().unwrap(), ErrorKind::NotFound);
            }
        });
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(place.ptest.records().unwrap().is_empty());
    });
}

/// Runs a command again and again until none can be started; gives the reason.
fn until_refused(environment: &Environment, script: &str) -> ErrorKind {
    loop {
        match environment.run(shell(script)) {
            Ok(_) => {}
            Err(error) => return error.kind(),
        }
    }
}

// Many at once.

#[test]
fn of_two_installations_at_once_in_one_environment_both_are_there() {
    with_either(|place, profile| {
        let environment = place.create(profile);
        let barrier = Barrier::new(2);
        let changes: Vec<Vec<PackageChange>> = thread::scope(|scope| {
            let installing = ["one", "two"].map(|name| {
                let (barrier, requirements) = (&barrier, place.wheel(name, name));
                let handle = another(&place.again(), &environment);
                scope.spawn(move || {
                    barrier.wait();
                    handle.install(&requirements, &Silent).unwrap()
                })
            });
            installing
                .into_iter()
                .map(|one| one.join().unwrap())
                .collect()
        });
        for (name, changes) in ["one", "two"].into_iter().zip(changes) {
            let [change] = &changes[..] else {
                panic!("{changes:?}");
            };
            assert_eq!(
                (change.name.as_str(), change.after.as_deref()),
                (name, Some("1.5"))
            );
            assert!(imports(&environment, name), "{name}");
        }
        assert!(environment.verify(Depth::Full).unwrap().problems.is_empty());
        environment.remove().unwrap();
    });
}

#[test]
fn of_eight_that_activate_at_once_one_does_and_one_event_tells_of_it() {
    with_either(|place, profile| {
        let environment = place.create(profile);
        let barrier = Barrier::new(8);
        let did: Vec<bool> = thread::scope(|scope| {
            let activating: Vec<_> = (0..8)
                .map(|_| {
                    let handle = another(&place.again(), &environment);
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        handle.activate().unwrap()
                    })
                })
                .collect();
            let joined = activating.into_iter().map(|one| one.join().unwrap());
            joined.collect()
        });
        assert_eq!(did.iter().filter(|did| **did).count(), 1);
        assert_eq!(place.events("activated").len(), 1);
        environment.remove().unwrap();
    });
}

#[test]
fn who_stops_following_takes_no_event_from_the_others() {
    const EVENTS: i64 = 300;
    let place = Place::new();
    let followers: Vec<_> = (0..3)
        .map(|_| place.again().follow(EventFilter::default()).unwrap())
        .collect();
    thread::scope(|scope| {
        let following: Vec<_> = followers
            .into_iter()
            .enumerate()
            .map(|(number, mut follower)| {
                scope.spawn(move || {
                    let mut heard = Vec::new();
                    // The first goes at the first event that it hears.
                    let enough = if number == 0 { 1 } else { EVENTS as usize };
                    while heard.len() < enough {
                        let events = follower.next(Some(LIMIT)).unwrap();
                        assert!(!events.is_empty(), "{} came", heard.len());
                        heard.extend(events.iter().map(|event| event.sequence));
                    }
                    heard
                })
            })
            .collect();
        for _ in 0..EVENTS {
            let nothing = serde_json::Value::Null;
            place.ptest.emit(None, "one", nothing).unwrap();
        }
        let mut heard = following.into_iter().map(|one| one.join().unwrap());
        heard.next();
        for heard in heard {
            assert_eq!(heard, (1..=EVENTS).collect::<Vec<_>>());
        }
    });
}

#[test]
fn threads_of_one_process_are_never_given_the_same_port() {
    let place = Place::new();
    let owner = PortOwner::Process(ProcessIdentity::current().unwrap());
    let request = PortRequest {
        count: NonZeroU16::new(5).unwrap(),
        ..PortRequest::new(owner)
    };
    let given: Vec<u16> = thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let times = (0..20).flat_map(|_| place.ptest.acquire_ports(&request).unwrap());
                    times.map(|lease| lease.port).collect::<Vec<_>>()
                })
            })
            .collect();
        asking
            .into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    assert_eq!(given.len(), 8 * 20 * 5);
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
}

// Configuration.

#[test]
fn each_that_has_a_store_open_goes_by_its_own_configuration() {
    let place = Place::new();
    let one = Room {
        environments: Some(1),
        ..Room::default()
    };
    let small = open_with_room(&place.path("store"), one);
    let elsewhere = open(&place.path("elsewhere"));
    let create = |ptest: &Ptest| ptest.create(&place.spec(Some(Profile::None)), &Silent);
    let mut made = vec![create(&small).unwrap()];
    for _ in 0..2 {
        assert_eq!(create(&small).unwrap_err().kind(), ErrorKind::NoRoom);
        made.push(create(&place.ptest).unwrap());
    }
    assert!(elsewhere.records().unwrap().is_empty());
    made.push(create(&elsewhere).unwrap());
    assert_eq!(elsewhere.records().unwrap().len(), 1);
    assert_eq!(small.records().unwrap().len(), 3);
    for environment in made {
        environment.remove().unwrap();
    }
}

// What is told of packages and environments.

#[test]
fn a_package_is_found_under_any_spelling_of_its_name() {
    let place = Place::new();
    let environment = place.create(Some(Profile::None));
    let spellings = [
        "Zope.Interface",
        "zope_interface",
        "ZOPE-interface",
        "zope--interface",
    ];
    let requirements = place.wheel("zope_interface", "zope");
    environment.install(&requirements, &Silent).unwrap();
    for name in spellings {
        let found = environment.package(name).unwrap().unwrap();
        assert_eq!(
            (found.name.as_str(), found.version.as_str()),
            ("zope-interface", "1.5")
        );
        let changes = environment.uninstall(&[name.to_owned()], &Silent).unwrap();
        assert_eq!(changes.len(), 1, "{name}");
        assert_eq!(environment.package(name).unwrap(), None);
        environment.install(&requirements, &Silent).unwrap();
    }
    assert_eq!(environment.package("zopeinterface").unwrap(), None);
    environment.remove().unwrap();
}

#[test]
fn what_is_uninstalled_is_told_as_uninstalled() {
    let place = Place::new();
    let environment = place.create(Some(Profile::None));
    let requirements = place.wheel("one", "one");
    environment.install(&requirements, &Silent).unwrap();
    let name = ["one".to_owned()];
    environment.uninstall(&name, &Silent).unwrap();
    // What is not there cannot be uninstalled, and nothing is told of it.
    environment.uninstall(&name, &Silent).unwrap_err();
    let told: Vec<_> = place
        .events("packages_changed")
        .into_iter()
        .map(|recorded| match recorded.event {
            Event::PackagesChanged {
                installed,
                uninstalled,
                updated,
            } => [installed.len(), uninstalled.len(), updated.len()],
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [[1, 0, 0], [0, 1, 0]]);
    environment.remove().unwrap();
}

#[test]
fn one_that_was_removed_is_neither_there_nor_healthy() {
    let place = Place::new();
    let removed = place.create(Some(Profile::None));
    another(&place.again(), &removed).remove().unwrap();
    let name = ["one".to_owned()];
    let answers = [
        removed.record().map(drop),
        removed.status().map(drop),
        removed.verify(Depth::Full).map(drop),
        removed.packages().map(drop),
        removed.disk().map(drop),
        removed.activate().map(drop),
        removed.deactivate(Duration::ZERO).map(drop),
        removed.run(Run::new(["true"])).map(drop),
        removed
            .install(&place.wheel("one", "one"), &Silent)
            .map(drop),
        removed.uninstall(&name, &Silent).map(drop),
        removed.snapshot(None).map(drop),
        removed.remove(),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::NotFound, "{number}");
    }
    assert!(place.ptest.records().unwrap().is_empty());
}
