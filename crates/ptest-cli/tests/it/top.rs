//! `top` on a terminal and off it. How it looks is tested beside its code.

use std::process::{Child, Command, Stdio};

use ptest_testkit::{require, requirement};

use crate::context::{PTEST, TestContext, wait_until};
use crate::reference::assert_conforms;
use crate::terminal::{Terminal, child};

/// What leaves the screen that it fills.
const LEAVES: &str = "\u{1b}[?1049l";

/// A context with an environment `web` in which a command sleeps.
fn busy() -> (TestContext, Child) {
    let context = TestContext::new();
    let create = ["create", "web", "--no-pip", "--profile", "none"];
    let _created = context.run(create).success();
    let sleeper = context
        .command(["exec", "web", "--", "sleep", "1000"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the command runs", || {
        let report = context.run(["status", "web", "--format", "json"]);
        report.success().json()["environment"]["usage"]["processes"] == 1
    });
    (context, sleeper)
}

/// `top` on a terminal of this size, in a shell that then says how it ended and whether keys make lines again.
fn on_a_terminal(context: &TestContext) -> Terminal {
    let job = format!(
        "stty rows 40 cols 120; '{PTEST}' top; echo ended $?; stty -a | grep -q ' icanon' && echo restored"
    );
    let mut terminal = Terminal::new(context, &job);
    terminal.until("web");
    terminal
}

fn has_ended(terminal: &mut Terminal, code: i32) {
    terminal.until(LEAVES);
    terminal.until(&format!("ended {code}\r\n"));
    terminal.until("restored\r\n");
}

#[test]
fn keys_signal_and_remove_and_the_terminal_is_as_it_was_afterwards() {
    require!(requirement::program("script"));
    let (context, mut sleeper) = busy();
    let mut terminal = on_a_terminal(&context);
    // The second signal that is offered, for the selected process.
    terminal.until("1000");
    terminal.types("x");
    terminal.types("j\r");
    let ended = sleeper.wait().unwrap();
    assert_eq!(ended.code(), Some(128 + 9));
    terminal.types("ry");
    wait_until("the environment is removed", || {
        let report = context.run(["list", "--format", "json"]).success().json();
        report["environments"] == serde_json::json!([])
    });
    terminal.types("q");
    has_ended(&mut terminal, 0);
    drop(terminal);
    context.assert_nothing_is_left();
}

#[test]
fn a_signal_that_ends_it_leaves_the_terminal_as_it_was() {
    require!(requirement::program("script"));
    let (context, mut sleeper) = busy();
    let mut terminal = on_a_terminal(&context);
    // Of `timeout`, `script` and the shell that runs the job the only child is the next.
    let top = child(child(child(terminal.script.id())));
    let sent = Command::new("kill").arg(top.to_string()).status();
    assert!(sent.unwrap().success());
    has_ended(&mut terminal, 128 + 15);
    drop(terminal);
    let _removed = context.run(["remove", "web"]).success();
    sleeper.wait().unwrap();
    context.assert_nothing_is_left();
}

#[test]
fn off_a_terminal_it_writes_what_there_is_once() {
    let (context, mut sleeper) = busy();
    let text = context.run(["top"]).success().columns();
    assert!(
        text.starts_with("NAME STATE CPU MEMORY PEAK PROCESSES READ WRITTEN AGE\nweb active "),
        "{text}"
    );
    let report = context.run(["top", "--format", "json"]).success().json();
    assert_conforms("ptest.environments", &report);
    assert!(
        report["environments"][0]["usage"]["cpus"].is_f64(),
        "{report:#}"
    );
    let _removed = context.run(["remove", "web"]).success();
    sleeper.wait().unwrap();
    let none = context.run(["top", "--once"]).success();
    assert!(none.stderr().contains("there is no environment"), "{none}");
    context.assert_nothing_is_left();
}
