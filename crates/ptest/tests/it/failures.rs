//! An operation that fails leaves what it was to change as it was, and its error is kept.

use std::time::Duration;

use ptest::events::{Event, EventFilter};
use ptest::progress::Silent;
use ptest::{ErrorKind, Requirements};

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

#[test]
fn what_was_only_refused_because_another_is_at_it_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
    let hasty = crate::context::open_with_patience(&home, Duration::ZERO);
    let lock = home.join("locks").join(environment.id().as_str());
    let held = std::fs::File::options().write(true).open(&lock).unwrap();
    let held = ptest_sandbox::queue::enter(held).unwrap().unwrap();
    let same = hasty.find(environment.id().as_str()).unwrap();
    assert_eq!(same.activate().unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(environment.failure().unwrap(), None);
    drop(held);
    same.activate().unwrap();
    environment.remove().unwrap();
}
