//! What lies below an environment and is gone: layers, the interpreter, the project.

use std::{fs, os::unix::fs::symlink};

use ptest_testkit::{require, requirement};

use crate::context::TestContext;

#[test]
fn a_layer_that_is_gone_is_made_again() {
    require!(requirement::userns());
    let context = TestContext::new();
    context.run(["create", "web"]).success();
    fs::remove_dir_all(context.path("store/layers")).unwrap();
    fs::create_dir(context.path("store/layers")).unwrap();
    let outcome = context.run(["exec", "web", "python", "-V"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert!(outcome.stderr().contains("made again"), "{outcome}");
    context.run(["run", "python", "-V"]).success();
    // The same packages are the same layers.
    context.run(["exec", "web", "python", "-V"]).success();
    context.run(["remove", "web"]).success();
}

#[test]
fn an_environment_without_its_interpreter_or_project_does_not_start() {
    require!(requirement::userns());
    let context = TestContext::new();
    let is_gone = |what: &str| {
        let outcome = context.run(["exec", "web", "python", "-V"]);
        assert_eq!(outcome.code(), Some(125), "{outcome}");
        assert_eq!(outcome.stdout(), "");
        assert!(outcome.stderr().contains(what), "{outcome}");
        assert!(outcome.stderr().contains("hint: "), "{outcome}");
    };
    // A layer of ptest's own, so that no interpreter of the machine needs to go.
    context.run(["create", "web"]).success();
    let mut skeletons = fs::read_dir(context.path("store/layers"))
        .unwrap()
        .map(|layer| layer.unwrap().path().join("bin/python"))
        .filter(|python| python.is_symlink());
    let python = skeletons.next().unwrap();
    let target = fs::read_link(&python).unwrap();
    fs::remove_file(&python).unwrap();
    symlink(context.path("gone/python"), &python).unwrap();
    is_gone("gone/python");
    fs::remove_file(&python).unwrap();
    symlink(target, &python).unwrap();
    context.run(["exec", "web", "python", "-V"]).success();

    context.run(["deactivate", "web"]).success();
    let project = context.project().to_owned();
    let moved = context.path("moved");
    fs::rename(&project, &moved).unwrap();
    let mut command = context.command(["exec", "web", "python", "-V"]);
    let outcome = context.outcome(command.current_dir(&moved).output().unwrap());
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert!(
        outcome.stderr().contains("project directory is gone"),
        "{outcome}"
    );
    fs::rename(&moved, &project).unwrap();
    context.run(["remove", "web"]).success();
}

#[test]
fn an_environment_that_has_lost_its_files_is_found_by_doctor_and_can_be_removed() {
    let context = TestContext::new();
    context
        .run(["create", "web", "--profile", "none"])
        .success();
    fs::remove_dir_all(context.path("store/envs")).unwrap();
    let outcome = context.run(["doctor"]).success();
    assert!(
        outcome.columns().contains("have lost their files: web"),
        "{outcome}"
    );
    context.run(["remove", "web"]).success();
    let outcome = context.run(["doctor"]).success();
    assert!(!outcome.columns().contains("web"), "{outcome}");
}
