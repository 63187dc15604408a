//! `metrics`, and alerts as a user asks for them.

use std::fs;

use crate::context::TestContext;

#[test]
fn metrics_are_written_to_standard_output_or_to_a_file_in_one_step() {
    let context = TestContext::new();
    let _created = context.run(["create", "web", "--no-pip"]).success();
    let text = context.run(["metrics"]).success().stdout();
    assert!(text.contains("# TYPE ptest_environments gauge\n"), "{text}");
    assert!(
        text.contains("ptest_environment_active{environment=\"web\","),
        "{text}"
    );
    // Every line is a comment, or a name with labels and a number.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("ptest_"), "{line}");
        value.parse::<f64>().unwrap();
    }
    let _written = context.run(["metrics", "--output", "ptest.prom"]).success();
    let written = fs::read_to_string(context.project().join("ptest.prom")).unwrap();
    assert_eq!(written, text);
    let files = fs::read_dir(context.project()).unwrap().count();
    // Nothing else was left beside it.
    assert_eq!(files, 2);
    context.assert_refused(
        &["metrics", "--output", "none/ptest.prom"],
        125,
        "cannot write",
    );
    let _removed = context.run(["remove", "web"]).success();
}

#[test]
fn an_alert_is_an_event_that_events_shows() {
    let context = TestContext::new();
    let run = [
        "run",
        "--no-pip",
        "--profile",
        "none",
        "--alert",
        "memory>1K",
        "--",
        "true",
    ];
    let _done = context.run(run).success();
    let events = context.run(["events"]).success().stdout();
    assert!(events.contains("alert_raised"), "{events}");
    assert!(events.contains("memory>1K"), "{events}");
    context.assert_refused(
        &["run", "--alert", "speed>1", "true"],
        2,
        "there is no `speed`",
    );
    context.assert_nothing_is_left();
}
