//! `create --materialize`: a plain virtual environment.

use std::{fs, path::Path, process::Command};

use serde_json::json;

use crate::{
    context::{Outcome, TestContext},
    reference::assert_conforms,
};

/// Runs a program of a virtual environment, without any variable.
fn said(context: &TestContext, program: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    context.outcome(command.output().unwrap())
}

#[test]
fn a_plain_virtual_environment_outlives_the_store() {
    let context = TestContext::new();
    let made = context
        .run(["create", "--materialize", "plain é"])
        .success();
    assert!(
        made.stderr()
            .starts_with("Made [ROOT]/project/plain é with Python 3."),
        "{made}"
    );
    context.assert_nothing_is_left();
    fs::remove_dir_all(context.path("store")).unwrap();

    let plain = context.project().join("plain é");
    let check =
        "import os, sys, pip; print(sys.prefix); assert pip.__file__.startswith(sys.prefix)";
    let prefix = said(&context, &plain.join("bin/python"), &["-c", check]).success();
    assert_eq!(prefix.stdout(), "[ROOT]/project/plain é\n");
    let activated = format!(". '{}/bin/activate'; pip --version", plain.display());
    let version = said(&context, Path::new("/bin/sh"), &["-c", &activated]).success();
    assert!(
        version.stdout().contains("[ROOT]/project/plain é/lib/"),
        "{version}"
    );
    // pip compares nothing, but reads every list.
    let files = said(
        &context,
        &plain.join("bin/pip"),
        &["show", "--files", "pip"],
    )
    .success();
    assert!(files.stdout().contains("../../../bin/pip"), "{files}");
}

#[test]
fn an_empty_directory_is_filled_and_the_report_conforms_to_its_schema() {
    let context = TestContext::new();
    fs::create_dir(context.path("project/.venv")).unwrap();
    let arguments = [
        "create",
        "--no-pip",
        "--materialize",
        ".venv",
        "--format",
        "json",
    ];
    let report = context.run(arguments).success().json();
    assert_conforms("ptest.materialized", &report);
    let path = context.project().join(".venv");
    assert_eq!(report["path"], json!(path.to_str().unwrap()));
    assert!(path.join("pyvenv.cfg").is_file());
    assert!(path.join("bin/python").is_symlink());
}

#[test]
fn what_is_there_is_refused_and_left_alone() {
    let context = TestContext::new();
    let outcome = context.run(["create", "--materialize", ".", "--no-pip"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert!(outcome.stderr().contains("[ROOT]/project"), "{outcome}");
    assert!(context.path("project/pyproject.toml").is_file());
    let nowhere = context.run(["create", "--materialize", "a/b", "--no-pip"]);
    assert_eq!(nowhere.code(), Some(125), "{nowhere}");
    assert!(nowhere.stderr().contains("hint: "), "{nowhere}");
    assert!(!context.path("project/a").exists());
}

#[test]
fn what_a_plain_virtual_environment_cannot_be_told_is_wrong_usage() {
    let context = TestContext::new();
    for option in [
        "web",
        "--profile=none",
        "--network=host",
        "--home=host",
        "--write=x",
        "--read=x",
        "--pass=X",
        "--pids=9",
        "--env=A=b",
        "--engine=memory",
    ] {
        let outcome = context.run(["create", "--materialize", "v", option]);
        assert_eq!(outcome.code(), Some(2), "{option}\n{outcome}");
    }
    assert_eq!(context.run(["create"]).code(), Some(2));
    assert!(!context.path("project/v").exists());
}
