//! What an earlier tool of this name got wrong at its surface, and a promise here: the rest is `predecessor` of the library.

use std::fs::{self, File};

use ptest_testkit::{require, requirement};

use crate::context::TestContext;

#[test]
fn a_removal_that_cannot_take_the_files_away_is_no_success() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.run(["create", "web"]).success();
    // Where it would be thrown away there is something that holds nothing, for root neither.
    let (trash, aside) = (context.path("store/trash"), context.path("aside"));
    fs::rename(&trash, &aside).unwrap();
    File::create(&trash).unwrap();
    let outcome = context.run(["remove", "web", "--format", "json"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert_eq!(outcome.json()["removed"], serde_json::json!([]));
    assert!(outcome.stderr().contains("web"), "{outcome}");
    fs::remove_file(&trash).unwrap();
    fs::rename(&aside, &trash).unwrap();
    context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn a_timeout_of_zero_is_refused_wherever_it_is_said() {
    let mut context = TestContext::new();
    for arguments in [
        &["run", "--timeout", "0", "true"][..],
        &["exec", "web", "--timeout", "0s", "true"],
        &["matrix", "--timeout", "0", "true"],
    ] {
        let outcome = context.run(arguments);
        assert_eq!(outcome.code(), Some(2), "{arguments:?}\n{outcome}");
        assert!(outcome.stderr().contains("zero"), "{outcome}");
    }
    context.assert_refused(&["config", "set", "timeout", "0s"], 125, "zero");
    context.set("PTEST_TIMEOUT", "0");
    context.assert_refused(&["run", "true"], 125, "zero");
    context.set("PTEST_TIMEOUT", "1s");
    context.write("project/ptest.toml", "timeout = '0s'\n");
    context.assert_refused(&["run", "true"], 125, "zero");
}
