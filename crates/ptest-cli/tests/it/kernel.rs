//! `ptest kernel` without a Jupyter: what is written for it.

use std::fs;

use serde_json::{Value, json};

use crate::{context::TestContext, packages::with_index, reference::assert_conforms, wheel};

/// An environment with something that is called ipykernel.
fn with_kernel() -> TestContext {
    let context = with_index();
    wheel::make(&context.path("index"), "ipykernel", "7.0", "");
    context
        .run(["create", "web", "--with", "ipykernel"])
        .success();
    context
}

fn specification(context: &TestContext, name: &str) -> Value {
    let file = context.path(&format!(
        "home/.local/share/jupyter/kernels/{name}/kernel.json"
    ));
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_kernel_is_installed_listed_and_removed() {
    let context = with_kernel();
    let installed = context.run(["kernel", "install", "web", "--format", "json"]);
    let installed = installed.success().json();
    assert_conforms("ptest.kernel", &installed);
    let id = installed["kernel"]["environment"].as_str().unwrap();
    let specification = specification(&context, "web");
    let argv = specification["argv"].as_array().unwrap();
    assert_eq!(
        argv[3..],
        [
            json!("kernel"),
            json!("start"),
            json!(id),
            json!("{connection_file}")
        ]
    );
    assert_eq!(specification["display_name"], "web (ptest)");

    context
        .run([
            "kernel",
            "install",
            "web",
            "--name",
            "other",
            "--display-name",
            "Mine",
        ])
        .success();
    let listed = context
        .run(["kernel", "list", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.kernels", &listed);
    let names: Vec<&Value> = listed["kernels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kernel| &kernel["display_name"])
        .collect();
    assert_eq!(names, ["Mine", "web (ptest)"]);

    context.run(["kernel", "remove", "web"]).success();
    context.run(["kernel", "remove", "other"]).success();
    let kernels = context.path("home/.local/share/jupyter/kernels");
    assert_eq!(fs::read_dir(kernels).unwrap().count(), 0);
    context.assert_refused(&["kernel", "remove", "web"], 125, "no kernel \"web\"");
    context.run(["remove", "web"]).success();
}

#[test]
fn a_kernel_needs_ipykernel_a_network_and_a_name_that_nobody_has() {
    let context = with_kernel();
    context.run(["create", "plain"]).success();
    context.assert_refused(&["kernel", "install", "plain"], 125, "no ipykernel");
    context.assert_refused(
        &["kernel", "install", "web", "--name", "a/b"],
        125,
        "no name of a kernel",
    );
    context
        .run([
            "create",
            "alone",
            "--network",
            "none",
            "--with",
            "ipykernel",
        ])
        .success();
    context.assert_refused(&["kernel", "install", "alone"], 125, "network");
    let theirs = "home/.local/share/jupyter/kernels/python3/kernel.json";
    context.write(theirs, "{}");
    context.assert_refused(
        &["kernel", "install", "web", "--name", "python3"],
        125,
        "did not install",
    );
    assert_eq!(fs::read_to_string(context.path(theirs)).unwrap(), "{}");
    context.run(["remove", "--all"]).success();
}
