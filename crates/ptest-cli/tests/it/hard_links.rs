//! The setting `hard_links`.

use std::{fs, os::unix::fs::MetadataExt as _};

use ptest_testkit::requirement;
use walkdir::WalkDir;

use crate::context::TestContext;

/// How many files below the store's environments have further names.
pub(crate) fn linked(context: &TestContext) -> usize {
    WalkDir::new(context.path("store/envs"))
        .into_iter()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(|facts| facts.is_file() && facts.nlink() > 1)
        .count()
}

#[test]
fn files_are_linked_on_request_and_never_as_root() {
    let mut context = TestContext::new();
    let create = ["create", "web", "--profile", "none"];
    context.run(create).success();
    assert_eq!(linked(&context), 0);
    context.run(["remove", "web"]).success();

    context.set("PTEST_HARD_LINKS", "true");
    let outcome = context.run(create);
    if requirement::root().into_result().is_ok() {
        assert_eq!(outcome.code(), Some(125), "{outcome}");
        assert!(outcome.stderr().contains("hint: "), "{outcome}");
        context.assert_nothing_is_left();
        assert!(fs::read_dir(context.path("store/layers")).unwrap().count() > 0);
        return;
    }
    outcome.success();
    // Unless the file system can do better.
    let doctor = context.run(["doctor"]).stdout();
    assert_eq!(
        linked(&context) > 100,
        doctor.contains("files are copied"),
        "{doctor}"
    );
    context.run(["exec", "web", "pip", "--version"]).success();
    context.run(["verify", "web"]).success();
    context.run(["remove", "web"]).success();
}
