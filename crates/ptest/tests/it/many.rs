//! Labels, and what is done with many environments at once.

use std::fs::File;

use ptest::labels::{Label, Labels, Selector};
use ptest::progress::Silent;
use ptest::{Compression, EnvironmentSpec, Error, ErrorKind, Fork, Import, Lifetime, Ptest};

use crate::context::{open, spec};

fn labels(labels: &[&str]) -> Labels {
    let labels = labels.iter().map(|text| text.parse::<Label>().unwrap());
    labels.map(|label| (label.key, label.value)).collect()
}

fn named(base: &EnvironmentSpec, name: &str, with: &[&str]) -> EnvironmentSpec {
    let mut spec = EnvironmentSpec {
        name: Some(name.parse().unwrap()),
        ..base.clone()
    };
    spec.settings.labels = labels(with);
    spec
}

fn selected(ptest: &Ptest, selector: &str) -> Vec<String> {
    let records = ptest
        .select(&selector.parse::<Selector>().unwrap())
        .unwrap();
    let mut found: Vec<_> = records.iter().map(|it| it.label().to_owned()).collect();
    found.sort();
    found
}

#[test]
fn a_selector_finds_the_environments_that_meet_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let ptest = open(&dir.path().join("home"));
    let base = spec(dir.path());
    let specs = [
        named(&base, "a", &["team=x", "stage=old"]),
        named(&base, "b", &["team=x"]),
        named(&base, "c", &["team=y", "ci="]),
        named(&base, "d", &[]),
    ];
    for made in ptest.create_all(&specs, &Silent) {
        made.unwrap();
    }
    for (selector, expected) in [
        ("team=x", vec!["a", "b"]),
        ("team==x,stage!=old", vec!["b"]),
        ("team", vec!["a", "b", "c"]),
        ("!team", vec!["d"]),
        ("stage!=old", vec!["b", "c", "d"]),
        ("ci=", vec!["c"]),
        ("team=x,team=y", vec![]),
    ] {
        assert_eq!(selected(&ptest, selector), expected, "{selector}");
    }
    assert_eq!(ptest.select(&Selector::default()).unwrap().len(), 4);
    ptest.find("a").unwrap().remove().unwrap();
    assert_eq!(selected(&ptest, "team=x"), ["b"]);
}

#[test]
fn labels_go_with_forks_snapshots_and_packages_unless_others_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let ptest = open(&dir.path().join("home"));
    let base = spec(dir.path());
    let source = ptest
        .create(&named(&base, "source", &["team=x", "stage=old"]), &Silent)
        .unwrap();
    source.snapshot(Some("taken".parse().unwrap())).unwrap();
    let fork = |of: &str, name: &str, with: &[&str]| {
        let fork = Fork {
            name: Some(name.parse().unwrap()),
            lifetime: Lifetime::Detached,
            engine: None,
            settings: None,
            labels: labels(with),
        };
        ptest.fork(of, &[fork]).unwrap();
    };
    fork("source", "same", &[]);
    fork("taken", "other", &["team=y", "more=1"]);
    assert_eq!(selected(&ptest, "team=x,stage=old"), ["same", "source"]);
    assert_eq!(selected(&ptest, "team=y,stage=old,more=1"), ["other"]);

    let package = dir.path().join("package.tar");
    ptest
        .export(
            "source",
            Compression::Gzip,
            &mut File::create(&package).unwrap(),
            &Silent,
        )
        .unwrap();
    let elsewhere = open(&dir.path().join("elsewhere"));
    let mut import = Import {
        name: Some("unpacked".parse().unwrap()),
        settings: base.settings,
    };
    import.settings.labels = labels(&["stage=new"]);
    elsewhere.import(&package, &import, &Silent).unwrap();
    assert_eq!(selected(&elsewhere, "team=x,stage=new"), ["unpacked"]);
}

#[test]
fn of_many_that_are_made_each_failure_is_told_and_the_others_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let ptest = open(&dir.path().join("home"));
    let base = spec(dir.path());
    ptest.create(&named(&base, "taken", &[]), &Silent).unwrap();
    let nowhere = EnvironmentSpec {
        python: Some("9.99".to_owned()),
        ..base.clone()
    };
    let specs = [
        named(&base, "one", &[]),
        named(&base, "taken", &[]),
        named(&nowhere, "two", &[]),
        named(&nowhere, "three", &[]),
        named(&base, "four", &[]),
        named(&base, "four", &[]),
    ];
    let made = ptest.create_all(&specs, &Silent);
    let kinds: Vec<_> = made
        .iter()
        .map(|made| made.as_ref().map(drop).map_err(Error::kind))
        .collect();
    assert_eq!(kinds[0], Ok(()));
    assert_eq!(kinds[1], Err(ErrorKind::AlreadyExists));
    assert_eq!(kinds[2..4], [Err(ErrorKind::NotFound); 2]);
    let fours = kinds[4..].iter().filter(|kind| kind.is_ok()).count();
    assert_eq!(fours, 1, "{kinds:?}");
    assert!(kinds[4..].contains(&Err(ErrorKind::AlreadyExists)));
    assert_eq!(selected(&ptest, "!none"), ["four", "one", "taken"]);
}

#[test]
fn what_is_done_with_each_goes_on_after_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let ptest = open(&dir.path().join("home"));
    let base = spec(dir.path());
    let specs = ["one", "two", "three"].map(|name| named(&base, name, &[]));
    for made in ptest.create_all(&specs, &Silent) {
        made.unwrap();
    }
    let records = ptest.records().unwrap();
    ptest.find("two").unwrap().remove().unwrap();
    let results = ptest.each(&records, &Silent, ptest::Environment::remove);
    for (record, result) in records.iter().zip(results) {
        let kind = result.map_err(|error| error.kind());
        let expected = match record.label() {
            "two" => Err(ErrorKind::NotFound),
            _ => Ok(()),
        };
        assert_eq!(kind, expected, "{}", record.label());
    }
    assert!(ptest.records().unwrap().is_empty());
}
