//! `ptest doctor`.

use ptest_testkit::{require, requirement};
use serde_json::json;

use crate::{context::TestContext, reference::assert_conforms};

#[test]
fn a_machine_that_can_do_everything_has_no_findings() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    let outcome = context.run(["doctor"]).success();
    assert!(
        outcome
            .columns()
            .starts_with("NAME STATE DETAIL\nstore ok "),
        "{outcome}"
    );
    let report = context.run(["doctor", "--format", "json"]).success().json();
    assert_conforms("ptest.doctor", &report);
    assert_eq!(report["findings"][0]["name"], json!("store"));
}

#[test]
fn a_store_that_is_none_is_an_error_with_a_hint() {
    let context = TestContext::new();
    context.write("store/somebody's file", "");
    let outcome = context.run(["doctor", "--format", "json"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert_conforms("ptest.error", &outcome.json());
    assert!(outcome.stderr().contains("hint: "), "{outcome}");
}
