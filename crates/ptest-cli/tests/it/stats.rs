//! `stats`, and what `status` shows of what an environment does.

use std::process::Stdio;

use crate::context::{TestContext, wait_until};
use crate::reference::assert_conforms;

const BURN: &str = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";

/// A context with an environment `web` that has done something.
fn worked() -> TestContext {
    let context = TestContext::new();
    let create = ["create", "web", "--no-pip", "--profile", "none"];
    let _created = context.run(create).success();
    let _done = context
        .run(["exec", "web", "--", "sh", "-c", BURN])
        .success();
    context
}

fn end(context: &TestContext) {
    let _removed = context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn what_was_used_is_drawn_over_time() {
    let context = worked();
    let _rests = context.run(["deactivate", "web"]).success();
    let drawn = context.run(["stats", "web", "--since", "2m"]).success();
    let text = drawn.stdout();
    for said in [
        "web, the last 2m by 1s",
        "cpu  ",
        "memory  ",
        "processes  ",
        "█",
    ] {
        assert!(text.contains(said), "{drawn}");
    }
    assert!(!text.contains('\u{1b}'), "{drawn}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{drawn}"
    );
    end(&context);
}

#[test]
fn what_was_used_is_reported_as_json_and_as_comma_separated_values() {
    let context = worked();
    let _rests = context.run(["deactivate", "web"]).success();
    let report = context
        .run(["stats", "web", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.stats", &report);
    let points = report["points"].as_array().unwrap();
    assert!(!points.is_empty(), "{report:#}");
    assert!(
        report["totals"]["cpu_seconds"].as_f64().unwrap() > 0.0,
        "{report:#}"
    );
    let table = context
        .run(["stats", "web", "--format", "csv"])
        .success()
        .stdout();
    assert!(table.starts_with("time,cpus,memory_bytes,"), "{table}");
    assert_eq!(table.lines().count(), points.len() + 1);
    end(&context);
}

#[test]
fn an_environment_that_has_done_nothing_has_no_statistics() {
    let context = TestContext::new();
    let _created = context.run(["create", "web", "--no-pip"]).success();
    let outcome = context.run(["stats", "web"]).success();
    assert_eq!(outcome.stdout(), "");
    assert!(
        outcome.stderr().contains("nothing was done in web for 10m"),
        "{outcome}"
    );
    context.assert_refused(&["stats", "other"], 125, "other");
    context.assert_refused(&["stats", "web", "--since", "soon"], 2, "soon");
    end(&context);
}

#[test]
fn status_shows_processes_as_a_tree_and_what_was_used_in_all() {
    let context = worked();
    let script = "sleep 1000; true";
    let mut busy = context
        .command(["exec", "web", "--", "sh", "-c", script])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut report = serde_json::Value::Null;
    wait_until("both processes are there", || {
        let status = context.run(["status", "web", "--format", "json"]);
        report = status.success().json();
        report["environment"]["processes"].as_array().unwrap().len() == 2
    });
    assert_conforms("ptest.environment", &report);
    let environment = &report["environment"];
    let processes = environment["processes"].as_array().unwrap();
    assert_eq!(processes[0]["command"], format!("sh -c {script}"));
    assert_eq!(processes[1]["parent"], processes[0]["pid"]);
    assert!(
        environment["totals"]["cpu_seconds"].as_f64().unwrap() > 0.0,
        "{report:#}"
    );
    let text = context.run(["status", "web"]).success().columns();
    assert!(text.contains("\nPID STATE CPU MEMORY COMMAND\n"), "{text}");
    assert!(text.contains(&format!(" sh -c {script}\n")), "{text}");
    assert!(text.contains(" of memory at most, "), "{text}");
    end(&context);
    busy.wait().unwrap();
}
