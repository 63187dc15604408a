//! `runs`, `logs`, `kill`, and `--log` and `--detach` of `run` and `exec`: what was run, what it wrote, what still runs.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    ops::Deref,
    process::Stdio,
    thread,
    time::Duration,
};

use ptest_testkit::{require, requirement};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::context::{Outcome, TestContext, wait_until};

/// A user who has an environment `web` that needs nothing of the machine, as long as this lives.
struct Web(TestContext);

impl Deref for Web {
    type Target = TestContext;

    fn deref(&self) -> &TestContext {
        &self.0
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _left = self.run(["remove", "--all"]);
    }
}

fn with_environment() -> Web {
    let web = Web(TestContext::new());
    let _made = web
        .run(["create", "web", "--profile", "none", "--no-pip"])
        .success();
    web
}

fn exec(context: &TestContext, options: &[&str], script: &str) -> Outcome {
    context.run([&["exec"], options, &["web", "sh", "-c", script]].concat())
}

fn runs(context: &TestContext, arguments: &[&str]) -> Vec<Value> {
    let words = [&["runs", "--format", "json"], arguments].concat();
    let report = context.run(words).success().json();
    report["runs"].as_array().unwrap().clone()
}

/// The state of the latest run.
fn last_state(context: &TestContext) -> String {
    let last = runs(context, &["-n", "1"]).pop().unwrap();
    last["state"].as_str().unwrap().to_owned()
}

#[test]
fn runs_are_listed_with_how_they_ended_and_status_shows_the_latest() {
    let context = with_environment();
    assert_eq!(exec(&context, &[], "exit 3").code(), Some(3));
    assert_eq!(context.run(["exec", "web", "no-such"]).code(), Some(127));
    assert_eq!(
        exec(&context, &["--timeout", "0.1s", "--grace", "0s"], "sleep 9").code(),
        Some(124)
    );
    let text = context.run(["runs", "web"]).success().columns();
    let outcomes: Vec<&str> = text
        .lines()
        .skip(1)
        .map(|line| line.split_once("Z ").unwrap().1)
        .collect();
    assert!(outcomes[0].starts_with("exit 3 "), "{text}");
    assert_eq!(outcomes[1], "not started no-such");
    assert!(outcomes[2].starts_with("timed out "), "{text}");
    let found = runs(&context, &["web"]);
    assert_eq!(found[0]["exit_code"], 3);
    assert_eq!(
        found[0]["command"],
        serde_json::json!(["sh", "-c", "exit 3"])
    );
    assert!(found[0]["usage"]["memory_peak_bytes"].as_u64().unwrap() > 0);
    assert!(found[1]["reason"].as_str().unwrap().contains("no-such"));
    assert_eq!(found[2]["timed_out"], true);
    assert_eq!(found[2]["timeout_seconds"], 0.1);
    let status = context.run(["status", "web"]).success().stdout();
    assert!(
        status.contains("run:       1 sh -c 'exit 3' (exit 3"),
        "{status}"
    );
    let status = context
        .run(["status", "web", "--format", "json"])
        .success()
        .json();
    assert_eq!(status["environment"]["runs"].as_array().unwrap(), &found);
    context.assert_refused(&["runs", "unknown"], 125, "unknown");
}

#[test]
fn what_a_command_writes_with_a_log_goes_where_it_went_and_can_be_shown() {
    let context = with_environment();
    let script = "printf 'out \\377\\n'; echo err >&2; exit 3";
    let outcome = exec(&context, &["--log"], script);
    assert_eq!(outcome.code(), Some(3));
    assert_eq!(
        (outcome.bytes(), &*outcome.stderr()),
        (&b"out \xff\n"[..], "err\n")
    );
    let shown = context.run(["logs", "web"]).success();
    assert_eq!(
        (shown.bytes(), &*shown.stderr()),
        (&b"out \xff\n"[..], "err\n")
    );
    let errors = context.run(["logs", "web", "1", "--stderr"]).success();
    assert_eq!((&*errors.stdout(), &*errors.stderr()), ("err\n", ""));
    let report = context
        .run(["logs", "web", "last", "--format", "json"])
        .success()
        .json();
    assert_eq!(report["run"]["log"], true);
    let texts: Vec<&str> = report["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|piece| piece["text"].as_str().unwrap())
        .filter(|text| !text.is_empty())
        .collect();
    assert_eq!(texts.len(), 2);
    assert!(texts.contains(&"out \u{fffd}\n"));
    let _seq = exec(&context, &["--log"], "seq 1 9").success();
    let tail = context.run(["logs", "web", "--tail", "2"]).success();
    assert_eq!(tail.stdout(), "8\n9\n");
    let _passed = exec(&context, &[], "true").success();
    context.assert_refused(&["logs", "web"], 125, "--log");
    context.assert_refused(&["logs", "web", "99"], 125, "no run 99");
    context.assert_refused(&["logs", "web", "--follow", "--head", "1"], 2, "--head");
}

#[test]
fn the_log_of_an_environment_that_is_gone_is_there() {
    let context = TestContext::new();
    let words = [
        "run",
        "--profile",
        "none",
        "--no-pip",
        "--log",
        "echo",
        "word",
    ];
    let outcome = context.run(words).success();
    assert_eq!(outcome.stdout(), "word\n");
    context.assert_nothing_is_left();
    let run = runs(&context, &[]).pop().unwrap();
    let environment = run["environment"].as_str().unwrap();
    assert_eq!(
        context.run(["logs", environment]).success().stdout(),
        "word\n"
    );
}

#[test]
fn much_output_with_a_log_takes_little_memory() {
    const MUCH: usize = 200_000_000;
    let context = with_environment();
    let mut child = context
        .command([
            "exec",
            "--log",
            "web",
            "head",
            "-c",
            &MUCH.to_string(),
            "/dev/zero",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // What is left does not fit into the pipes, so that it runs still.
    let most = (MUCH - (1 << 20)) as u64;
    let read = std::io::copy(&mut (&mut stdout).take(most), &mut std::io::sink()).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    let rest = std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(read + rest, MUCH as u64);
    assert!(peak < 64 << 10, "{peak} KiB");
    let run = runs(&context, &[]).pop().unwrap();
    assert_eq!(run["stdout"]["bytes"], MUCH);
    // It is bounded on the disk too.
    let log = context
        .path("store/runs")
        .join(format!("{}.log", run["id"].as_str().unwrap()));
    assert!(fs::metadata(log).unwrap().len() <= 16 << 20);
}

#[test]
fn who_reads_no_more_of_a_command_with_a_log_ends_it() {
    let context = with_environment();
    let mut child = context
        .command(["exec", "--log", "web", "yes"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert_eq!(runs(&context, &[]).pop().unwrap()["signal"], 13);
}

#[test]
fn a_command_that_is_left_running_is_followed_signalled_and_told_of() {
    let context = with_environment();
    let script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let outcome = exec(&context, &["--detach", "--env", "A=b"], script).success();
    assert_eq!((&*outcome.stdout(), &*outcome.stderr()), ("r1\n", ""));
    assert_eq!(runs(&context, &["--active"]).len(), 1);
    let mut follower = context
        .command(["logs", "web", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let _signalled = context.run(["kill", "web", "1"]).success();
    assert_eq!(lines.next().unwrap().unwrap(), "caught");
    assert!(lines.next().is_none());
    assert!(follower.wait().unwrap().success());
    let run = runs(&context, &[]).pop().unwrap();
    assert_eq!(
        (&run["state"], &run["exit_code"]),
        (&"ended".into(), &9.into())
    );
    context.assert_refused(&["kill", "web", "last"], 125, "has ended");
    context.assert_refused(&["kill", "web", "last", "--signal", "FOO"], 2, "FOO");
    let _gone = context.run(["remove", "web"]).success();
    context.assert_refused(&["kill", "web", "last"], 125, "has ended");
}

#[test]
fn what_cannot_be_left_running_says_so_and_ends_as_it_would() {
    let context = with_environment();
    let outcome = context.run(["exec", "--detach", "web", "no-such"]);
    assert_eq!(
        (outcome.code(), &*outcome.stdout()),
        (Some(127), ""),
        "{outcome}"
    );
    assert!(outcome.stderr().contains("no-such"), "{outcome}");
    context.assert_refused(&["exec", "--detach", "unknown", "true"], 125, "unknown");
    context.assert_refused(&["exec", "--detach"], 2, "COMMAND");
}

#[test]
fn a_run_that_is_left_takes_its_environment_away_when_it_ends() {
    require!(requirement::userns());
    let context = TestContext::new();
    // The second is the command's own.
    let words = [
        "run",
        "--no-pip",
        "--detach",
        "sh",
        "-c",
        "echo $1; read x",
        "sh",
        "--detach",
    ];
    let outcome = context.run(words).success();
    assert_eq!(outcome.stdout(), "r1\n");
    wait_until("it has ended", || last_state(&context) == "ended");
    let list = || context.run(["list", "--format", "json"]).success().json();
    wait_until("it is gone", || {
        list()["environments"] == serde_json::json!([])
    });
    let run = runs(&context, &[]).pop().unwrap();
    let environment = run["environment"].as_str().unwrap();
    assert_eq!(
        context.run(["logs", environment]).success().stdout(),
        "--detach\n"
    );
}

#[test]
fn whoever_follows_a_run_hears_of_the_end_of_a_ptest_that_was_killed() {
    let context = with_environment();
    let _left = exec(&context, &["--detach"], "echo ready; exec sleep 1000").success();
    let mut follower = context
        .command(["logs", "web", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let run = runs(&context, &["--active"]).pop().unwrap();
    let client = run["client"]["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(client as i32).unwrap(), Signal::KILL).unwrap();
    assert!(lines.next().is_none());
    assert!(follower.wait().unwrap().success());
    assert_eq!(last_state(&context), "lost");
    let usage = || {
        context
            .run(["status", "web", "--format", "json"])
            .success()
            .json()
    };
    wait_until("its command is gone", || {
        usage()["environment"]["usage"]["processes"] == 0
    });
}

#[test]
fn no_run_is_lost_or_doubled_however_a_ptest_is_killed() {
    const KILLS: u64 = 24;
    let context = with_environment();
    let marks = context.path("project/marks");
    fs::write(&marks, "").unwrap();
    for turn in 0..KILLS {
        let mark = format!("mark-{turn}");
        let script = format!("echo $1 >> '{}'; exec sleep 0.02", marks.display());
        let mut child = context
            .command(["exec", "web", "sh", "-c", &script, "sh", &mark])
            .spawn()
            .unwrap();
        // Somewhere between its start and its end.
        thread::sleep(Duration::from_millis(turn * 3));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let found = runs(&context, &["-n", "1000"]);
    let numbers: Vec<u64> = found
        .iter()
        .map(|run| run["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=found.len() as u64).collect::<Vec<_>>());
    let of_mark = |mark: &str| {
        let is_of = |run: &&Value| run["command"].as_array().unwrap().last().unwrap() == mark;
        found.iter().filter(is_of).count()
    };
    for mark in fs::read_to_string(&marks).unwrap().lines() {
        assert_eq!(of_mark(mark), 1, "{mark}");
    }
    for run in &found {
        assert!(
            matches!(run["state"].as_str(), Some("ended" | "lost")),
            "{run}"
        );
    }
}
