//! An operation that fails leaves what it was to change as it was, and its error is kept.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ptest::events::{Event, EventFilter};
use ptest::progress::Silent;
use ptest::{Environment, ErrorKind, Ptest, Requirements};

use crate::context::{open, spec, with_pip};

fn requirements(specifier: &str) -> Requirements {
    Requirements {
        specifiers: vec![specifier.to_owned()],
        ..Requirements::default()
    }
}

#[test]
fn a_failed_installation_is_kept_with_the_environment_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let environment = ptest.create(&with_pip(directory.path()), &Silent).unwrap();
    assert_eq!(environment.failure().unwrap(), None);
    let (before, packages) = (
        environment.record().unwrap(),
        environment.packages().unwrap(),
    );
    let missing = directory.path().join("no-such-project");
    let asked = requirements(missing.to_str().unwrap());
    let error = environment.install(&asked, &Silent).unwrap_err();
    let after = environment.record().unwrap();
    assert_eq!((after.state, after.stack), (before.state, before.stack));
    assert_eq!(environment.packages().unwrap(), packages);
    let failure = environment.failure().unwrap().unwrap();
    assert_eq!(failure.operation, "install");
    assert!(
        failure.message.starts_with(&error.to_string()),
        "{failure:?}"
    );
    let told = ptest
        .events(
            &EventFilter {
                kinds: vec!["operation_failed".to_owned()],
                ..EventFilter::default()
            },
            9,
        )
        .unwrap();
    assert_eq!(told.len(), 1);
    // What is logged, what is kept and what is told are of one operation.
    assert_eq!(told[0].operation.as_deref(), Some(&*failure.id));
    assert_eq!(told[0].environment.as_ref(), Some(environment.id()));
    environment.remove().unwrap();
}

#[test]
fn what_could_not_be_made_is_told_without_an_environment() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let mut spec = spec(directory.path());
    spec.python = Some("99.9".to_owned());
    ptest.create(&spec, &Silent).unwrap_err();
    let told = ptest.events(&EventFilter::default(), 9).unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].environment, None);
    assert!(
        matches!(&told[0].event, Event::OperationFailed { operation, .. } if operation == "create")
    );
}

/// The lock of an environment, as another operation holds it.
fn held(home: &Path, environment: &Environment) -> ptest_sandbox::queue::Place {
    let locks = fs::File::options()
        .write(true)
        .open(home.join("locks/queues"))
        .unwrap();
    let entered = ptest_sandbox::queue::enter(locks, environment.id().as_str());
    entered.unwrap().unwrap()
}

#[test]
fn what_was_only_refused_because_another_is_at_it_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
    let hasty = crate::context::open_with_patience(&home, Duration::ZERO);
    let held = held(&home, &environment);
    let same = hasty.find(environment.id().as_str()).unwrap();
    assert_eq!(same.activate().unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(environment.failure().unwrap(), None);
    drop(held);
    same.activate().unwrap();
    environment.remove().unwrap();
}

/// A project whose build does not end.
fn endless(directory: &Path) -> String {
    let project = directory.join("endless");
    fs::create_dir(&project).unwrap();
    let backend =
        "[build-system]\nrequires = []\nbuild-backend = 'endless'\nbackend-path = ['.']\n";
    fs::write(project.join("pyproject.toml"), backend).unwrap();
    fs::write(
        project.join("endless.py"),
        "import time\ntime.sleep(3600)\n",
    )
    .unwrap();
    project.to_str().unwrap().to_owned()
}

/// The same store, whose work has so much time.
fn within(ptest: &Ptest, time: Duration) -> Ptest {
    ptest.provisioned(|provision| {
        provision.supervision.cancel = provision.supervision.cancel.after(time);
    })
}

#[test]
fn what_takes_longer_than_it_may_is_told_so_and_leaves_all_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let environment = ptest.create(&with_pip(directory.path()), &Silent).unwrap();
    let before = environment.packages().unwrap();
    let asked = requirements(&endless(directory.path()));
    let hasty = within(&ptest, Duration::from_millis(200));
    let error = hasty
        .find(environment.id().as_str())
        .unwrap()
        .install(&asked, &Silent)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert_eq!(environment.packages().unwrap(), before);
    let mut spec = spec(directory.path());
    spec.requirements = asked;
    let hasty = within(&ptest, Duration::from_millis(200));
    for error in [
        hasty.create(&spec, &Silent).unwrap_err(),
        hasty.create_all(&[spec], &Silent).remove(0).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    }
    assert_eq!(ptest.records().unwrap().len(), 1);
    environment.remove().unwrap();
}

#[test]
fn what_is_known_is_done_however_little_time_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let first = ptest.create(&with_pip(directory.path()), &Silent).unwrap();
    let second = within(&ptest, Duration::ZERO)
        .create(&with_pip(directory.path()), &Silent)
        .unwrap();
    assert_eq!(second.packages().unwrap(), first.packages().unwrap());
    first.remove().unwrap();
    second.remove().unwrap();
}

#[test]
fn who_waits_for_another_waits_no_longer_than_there_is_time() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
    let held = held(&home, &environment);
    let hasty = within(&ptest, Duration::from_millis(10));
    let error = hasty
        .find(environment.id().as_str())
        .unwrap()
        .install(&requirements("six"), &Silent)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    drop(held);
    environment.remove().unwrap();
}
