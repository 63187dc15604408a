//! `ptest doctor`.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    process::Command,
};

use ptest_testkit::{require, requirement};
use serde_json::json;

use crate::{
    context::{PTEST, TestContext},
    reference::assert_conforms,
};

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
fn a_store_that_cannot_be_opened_is_a_finding_with_a_hint() {
    let context = TestContext::new();
    context.write("store/somebody's file", "");
    let outcome = context.run(["doctor", "--format", "json"]);
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let report = outcome.json();
    assert_conforms("ptest.doctor", &report);
    let store = &report["findings"][0];
    assert_eq!(
        (&store["name"], &store["state"]),
        (&json!("store"), &json!("missing"))
    );
    assert!(
        store["detail"]
            .as_str()
            .unwrap()
            .contains("not a ptest store")
    );
    assert!(store["hint"].is_string());
    // Nothing can be proved there.
    let outcome = context.run(["doctor", "--prove", "--format", "json"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert_conforms("ptest.error", &outcome.json());
}

#[test]
fn an_ordinary_user_is_told_of_the_limits_that_there_are() {
    const NOBODY: &str = "65534";
    require!(requirement::root());
    require!(requirement::userns());
    let mut context = TestContext::new();
    // The build directory may be closed to that user.
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), Permissions::from_mode(0o755)).unwrap();
    chown(open.path(), Some(65534), Some(65534)).unwrap();
    let program = open.path().join("ptest");
    fs::copy(PTEST, &program).unwrap();
    context.set("HOME", open.path());
    context.set("PTEST_HOME", open.path().join("store"));
    context.set("PATH", "/usr/bin:/bin");

    let run = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .arg(&program)
            .args(arguments)
            .current_dir(open.path())
            .env_clear()
            .envs(
                context
                    .command::<&str>([])
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        context.outcome(command.output().unwrap())
    };
    let report = run(&["doctor", "--format", "json"]).json();
    let limit = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["name"] == "pids limit")
        .unwrap();
    assert_eq!(limit["state"], json!("ok"), "{limit}");
    let script = "for _ in 1 2 3 4 5 6 7 8 9; do sleep 9 & done";
    let limited = run(&["run", "--pids", "5", "sh", "-c", script]);
    assert!(limited.stderr().contains("fork"), "{limited}");
}
