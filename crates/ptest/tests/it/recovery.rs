//! What opening a store does with what dead processes left.

use ptest::environment::EnvironmentId;
use ptest::progress::Silent;
use ptest::{ErrorKind, Ptest};
use ptest_store::Error as StoreError;

use crate::context::{open, spec};

/// Makes an environment look as one whose operation was cut off.
fn cut_off(ptest: &Ptest, id: &EnvironmentId, state: &str, engine: &str) {
    let written = ptest.store().database().write(|transaction| {
        transaction.execute(
            "UPDATE environments SET state = ?2, engine = ?3 WHERE id = ?1",
            [id.as_str(), state, engine],
        )?;
        Ok::<_, StoreError>(())
    });
    written.unwrap();
}

#[test]
fn what_cannot_be_put_right_keeps_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let [stuck, half, good] =
        [(); 3].map(|()| ptest.create(&spec(directory.path()), &Silent).unwrap());
    cut_off(&ptest, stuck.id(), "removing", "of a plug-in");
    cut_off(&ptest, half.id(), "creating", "virtualenv");

    let opened = open(&home);
    let left: Vec<_> = opened
        .records()
        .unwrap()
        .into_iter()
        .map(|record| record.id)
        .collect();
    assert!(!left.contains(half.id()));
    assert!(left.contains(good.id()));
    let failed = opened.recover().unwrap().failed;
    let [(id, error)] = &failed[..] else {
        panic!("{failed:?}");
    };
    assert_eq!(id, stuck.id());
    assert!(error.to_string().contains("of a plug-in"), "{error}");
    let findings = ptest::doctor::examine(&home, &Ok(opened.clone()), None, None).unwrap();
    let store = findings
        .iter()
        .find(|finding| finding.name == "store")
        .unwrap();
    assert!(
        store.detail.contains(stuck.id().as_str()),
        "{}",
        store.detail
    );

    cut_off(&ptest, stuck.id(), "removing", "virtualenv");
    assert_eq!(opened.recover().unwrap().removed, [stuck.id().clone()]);
    good.remove().unwrap();
}

#[test]
fn what_was_cut_off_is_taken_away_by_whoever_uses_it_before_any_opening() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    for state in ["creating", "removing"] {
        let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
        cut_off(&ptest, environment.id(), state, "virtualenv");
        let gone = environment.activate().unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound, "{state}: {gone}");
        assert!(!home.join("envs").join(environment.id().as_str()).exists());
        assert!(ptest.records().unwrap().is_empty());
        // Whoever wants it removed has what they want.
        let environment = ptest.create(&spec(directory.path()), &Silent).unwrap();
        cut_off(&ptest, environment.id(), state, "virtualenv");
        environment.remove().unwrap();
        assert!(ptest.records().unwrap().is_empty());
    }
}
