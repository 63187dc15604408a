//! `ptest apply`: environments as a file declares them.

use ptest_testkit::{require, requirement};
use serde_json::json;

use crate::{context::TestContext, reference::assert_conforms};

const FILE: &str = "
[defaults]
profile = 'standard'
labels = { team = 'a' }

[environment.web]
pids = 50
count = 2

[environment.db]
env = { MODE = 'fast' }
";

#[test]
fn a_plan_shows_what_applying_the_file_does() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.write("project/environments.toml", FILE);
    let plan = context
        .run(["apply", "environments.toml", "--plan"])
        .success();
    assert_eq!(
        plan.columns(),
        "ACTION NAME WHY\ncreate web-1\ncreate web-2\ncreate db\n"
    );
    context.assert_nothing_is_left();
    let applied = context.run(["apply", "environments.toml"]).success();
    assert_eq!(
        applied.stderr(),
        "Created web-1\nCreated web-2\nCreated db\n"
    );
    let again = context.run(["apply", "environments.toml"]).success();
    assert_eq!(again.stderr(), "3 as the file says already\n");

    let changed = FILE
        .replace("pids = 50", "pids = 60")
        .replace("count = 2", "count = 1");
    context.write("project/environments.toml", &changed.replace("db", "store"));
    let plan = context
        .run(["apply", "environments.toml", "--plan"])
        .success();
    assert_eq!(
        plan.columns(),
        "ACTION NAME WHY\n\
         change web-1 limits: pids=50 -> pids=60\n\
         create store\n\
         remove web-2 not in the file any more; only with --prune\n\
         remove db not in the file any more; only with --prune\n"
    );
    let applied = context
        .run(["apply", "environments.toml", "--prune"])
        .success();
    assert_eq!(
        applied.stderr(),
        "Changed web-1\nCreated store\nRemoved web-2\nRemoved db\n"
    );
}

#[test]
fn what_cannot_be_done_is_told_and_reported_with_code_1() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.run(["create", "db"]).success();
    context.write("project/environments.toml", FILE);
    let json = |more: &[&str]| {
        let words = ["apply", "environments.toml", "--format", "json"];
        context.run(words.iter().chain(more))
    };
    let planned = json(&["--plan"]).success().json();
    assert_conforms("ptest.applied", &planned);
    assert_eq!(planned["environments"][2]["action"], json!("refuse"));
    let outcome = json(&[]);
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let report = outcome.json();
    assert_conforms("ptest.applied", &report);
    assert_eq!(report["converged"], json!(false));
    assert_eq!(report["environments"][0]["result"], json!("done"));
    assert_eq!(report["environments"][2]["result"], json!("failed"));
    assert!(
        outcome
            .stderr()
            .contains("`db` is there, and this file did not make it"),
        "{outcome}"
    );
    let list = context.run(["list", "-l", "team=a"]).success().columns();
    assert_eq!(list.matches("web-").count(), 2, "{list}");
}

#[test]
fn what_is_wrong_in_the_file_is_said_with_its_place_before_anything_is_made() {
    let context = TestContext::new();
    context.write(
        "project/environments.toml",
        "[environment.web]\nmemroy = '1G'\n",
    );
    let outcome = context.run(["apply", "environments.toml"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert_eq!(
        outcome.stderr(),
        "error: [ROOT]/project/environments.toml:2:1: there is no key `memroy` here\nhint: did you mean `memory`?\n"
    );
    context.assert_refused(
        &["apply", "nowhere.toml"],
        125,
        "cannot read [ROOT]/project/nowhere.toml",
    );
    assert!(!context.path("store").exists());
}
