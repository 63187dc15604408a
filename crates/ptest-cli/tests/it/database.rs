//! The database of a store in trouble: what commands say and end with, and that all is there when the trouble is gone.

use std::fs;

use serde_json::json;

use crate::{context::TestContext, reference::assert_conforms};

#[test]
fn a_damaged_database_is_made_anew_and_what_became_of_it_is_said() {
    let context = TestContext::new();
    let sound = context.run(["recover", "--rebuild", "--format", "json"]);
    assert_eq!(sound.code(), Some(125), "{sound}");
    assert_eq!(sound.json()["error"]["kind"], json!("illegal_state"));
    assert!(sound.stderr().contains("hint: "), "{sound}");
    let _made = context
        .run(["create", "web", "--profile", "none", "--no-pip"])
        .success();
    fs::write(context.path("store/ptest.db"), "garbage").unwrap();
    context.assert_refused(&["list"], 125, "`ptest recover --rebuild`");

    let rebuilt = context.run(["recover", "--rebuild"]).success();
    assert!(
        rebuilt.columns().contains("environments 0 in part"),
        "{rebuilt}"
    );
    let stderr = rebuilt.stderr();
    for said in [
        "file is not a database",
        "Found 1 layer\n",
        "[ROOT]/store/ptest.db-damaged-1",
        "is lost; what was written in it: [ROOT]/store/lost/e",
    ] {
        assert!(stderr.contains(said), "{said}: {rebuilt}");
    }
    context.assert_nothing_is_left();

    fs::write(context.path("store/ptest.db"), "").unwrap();
    let report = context
        .run(["recover", "--rebuild", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.rebuilt", &report);
    assert_eq!(report["layers"], json!(1));
    assert_eq!(report["lost"], json!([]));
    let aside = report["aside"].as_str().unwrap();
    assert!(aside.ends_with("ptest.db-damaged-2"), "{aside}");
    let _made = context.run(["create", "web", "--no-pip"]).success();
    let _removed = context.run(["remove", "web"]).success();
}
