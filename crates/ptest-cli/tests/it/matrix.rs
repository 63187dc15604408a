//! `ptest matrix`: one command in each cell of a matrix.

use std::{fs, process::Stdio};

use ptest_testkit::{require, requirement};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    context::{TestContext, wait_until},
    reference::assert_conforms,
};

/// A project whose matrix runs this in a shell, once for each mode.
fn project(modes: &[&str], command: &str) -> TestContext {
    let context = TestContext::new();
    let file = format!(
        "[tool.ptest.matrix]\ninstall = 'none'\nenv = {{ MODE = {modes:?} }}\ncommand = '''{command}'''\n"
    );
    context.write("project/pyproject.toml", &file);
    context
}

fn outcomes(report: &Value) -> Vec<(&str, &str)> {
    let cells = report["cells"].as_array().unwrap().iter();
    cells
        .map(|cell| {
            let outcome = cell["result"]["outcome"].as_str().unwrap();
            (cell["name"].as_str().unwrap(), outcome)
        })
        .collect()
}

#[test]
fn each_cell_runs_in_an_environment_of_its_own_and_the_worst_code_counts() {
    require!(requirement::userns());
    let context = project(
        &["a", "b"],
        "test ! -e $VIRTUAL_ENV/mine && touch $VIRTUAL_ENV/mine && echo of $PTEST_CELL && test $MODE = a || exit 7",
    );
    let outcome = context.run(["matrix", "--format", "json"]);
    assert_eq!(outcome.code(), Some(7), "{outcome}");
    let report = outcome.json();
    assert_conforms("ptest.matrix", &report);
    assert_eq!(report["passed"], json!(false));
    assert_eq!(outcomes(&report), [("a", "passed"), ("b", "failed")]);
    assert_eq!(report["cells"][1]["result"]["exit_code"], json!(7));
    for name in ["a", "b"] {
        let cells = report["cells"].as_array().unwrap();
        let cell = cells
            .iter()
            .find(|cell| cell["name"] == json!(name))
            .unwrap();
        let output = fs::read_to_string(cell["result"]["output"].as_str().unwrap()).unwrap();
        assert_eq!(output, format!("of {name}\n"));
    }
    // What the one that failed wrote is shown, of the other only that it passed.
    assert!(outcome.stderr().contains("\nof b\n"), "{outcome}");
    assert!(!outcome.stderr().contains("of a\n"), "{outcome}");
    context.assert_nothing_is_left();
}

#[test]
fn a_matrix_of_the_command_line_needs_no_file() {
    require!(requirement::userns());
    let context = TestContext::new();
    let options = [
        "matrix",
        "--install",
        "none",
        "--with-set",
        "one=",
        "--with-set",
        "two=",
    ];
    let outcome = context
        .run(options.iter().chain(&["--", "sh", "-c", "exit 0"]))
        .success();
    let columns = outcome.columns();
    assert!(
        columns.starts_with("CELL RESULT PREPARED RAN\none passed "),
        "{columns}"
    );
    assert!(
        outcome.stderr().ends_with("Passed all 2 cells\n"),
        "{outcome}"
    );
    let list = context.run(options.iter().chain(&["--list"])).success();
    assert_eq!(
        list.columns(),
        "CELL PYTHON REQUIREMENTS VARIABLES\none\ntwo\n"
    );
    let one = context.run(
        options
            .iter()
            .chain(&["--cell", "two", "--list", "--format", "json"]),
    );
    let report = one.success().json();
    assert_conforms("ptest.matrix", &report);
    assert_eq!(report["cells"].as_array().unwrap().len(), 1);
    context.assert_nothing_is_left();
}

#[test]
fn the_test_results_of_all_cells_are_one_file() {
    require!(requirement::userns());
    let context = project(
        &["own", "none", "bad"],
        r#"case $MODE in
        own) echo "<testsuite name='pytest' tests='1'><testcase name='t'/></testsuite>" > $PTEST_JUNIT_XML;;
        bad) echo "<odd & broken>"; ln -s /etc/passwd $PTEST_JUNIT_XML; exit 1;;
        esac"#,
    );
    let outcome = context.run(["matrix", "--junit-xml", "results.xml"]);
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let text = fs::read_to_string(context.path("project/results.xml")).unwrap();
    for part in [
        "<testsuite name=\"own\" tests=\"1\">",
        "<testcase name='t'/>",
        "<testsuite name=\"none\" tests=\"1\" failures=\"0\"",
        "<testsuite name=\"bad\" tests=\"1\" failures=\"1\"",
        "<failure message=\"ended with 1\">&lt;odd &amp; broken&gt;",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("root:"), "{text}");
}

#[test]
fn with_fail_fast_the_others_are_ended_and_none_begins() {
    require!(requirement::userns());
    let context = project(
        &["waits", "fails", "late"],
        "case $MODE in
        waits) touch waits; exec sleep 600;;
        fails) until test -e waits; do sleep 0.01; done; exit 3;;
        late) touch late;;
        esac",
    );
    let outcome = context.run([
        "matrix",
        "--fail-fast",
        "--jobs",
        "2",
        "--grace",
        "1s",
        "--format",
        "json",
    ]);
    assert_eq!(outcome.code(), Some(3), "{outcome}");
    assert_eq!(
        outcomes(&outcome.json()),
        [
            ("waits", "stopped"),
            ("fails", "failed"),
            ("late", "stopped")
        ]
    );
    assert!(!context.path("project/late").exists());
    context.assert_nothing_is_left();
}

#[test]
fn a_signal_ends_every_cell_and_nothing_is_left() {
    require!(requirement::userns());
    let context = project(
        &["a", "b", "c"],
        "touch $MODE; trap '' TERM; while :; do sleep 600; done",
    );
    let child = context
        .command(["matrix", "--jobs", "2", "--grace", "0s"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("two cells run", || {
        ["a", "b"]
            .iter()
            .all(|name| context.path("project").join(name).exists())
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let outcome = context.outcome(child.wait_with_output().unwrap());
    assert_eq!(outcome.code(), Some(130), "{outcome}");
    assert!(!context.path("project/c").exists());
    context.assert_nothing_is_left();
}

#[test]
fn one_that_cannot_be_made_is_told_and_the_others_run() {
    require!(requirement::userns());
    let context = TestContext::new();
    let outcome = context.run([
        "matrix",
        "--install",
        "none",
        "--python",
        "9.99",
        "--python",
        ">=3.9",
        "--format",
        "json",
        "true",
    ]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    let report = outcome.json();
    assert_conforms("ptest.matrix", &report);
    assert_eq!(outcomes(&report), [("9.99", "error"), ("3.9", "passed")]);
    assert_eq!(
        report["cells"][0]["result"]["error"]["kind"],
        json!("not_found")
    );
}

#[test]
fn what_is_wrong_is_said_before_anything_is_made() {
    let context = project(&["a"], "true");
    context.assert_refused(&["matrix", "--cell", "b"], 2, "there is no cell `b`");
    context.assert_refused(
        &["matrix", "--with-set", "click==8"],
        2,
        "write NAME=REQUIREMENT",
    );
    context.assert_refused(
        &["matrix", "--with-set", "x=not a requirement"],
        125,
        "not a requirement",
    );
    context.write(
        "project/pyproject.toml",
        "[tool.ptest.matrix]\npythons = ['3.12']\n",
    );
    context.assert_refused(
        &["matrix"],
        125,
        "pyproject.toml:2:1: there is no key `pythons` here",
    );
    context.write(
        "project/pyproject.toml",
        "[tool.ptest.matrix]\npython = ['3.12']\n",
    );
    context.assert_refused(&["matrix"], 125, "nothing is to be run");
    assert!(!context.path("store").exists());
}
