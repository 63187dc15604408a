//! What is called when something happens: for each event, in order, and never at the cost of who does it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ptest::events::{Event, EventFilter, Recorded};
use ptest::hooks::{Action, Hook, Served};
use ptest::progress::Silent;
use ptest::{EnvironmentSpec, Ptest};
use serde_json::{Value, json};

use crate::context::{open, spec};

const LIMIT: Duration = Duration::from_mins(1);

/// A hook that runs a script of the shell.
fn script(events: &[&str], script: &str) -> Hook {
    Hook {
        events: events.iter().map(|kind| (*kind).to_owned()).collect(),
        environments: Vec::new(),
        action: Action::Command(["sh", "-c", script].map(str::to_owned).into()),
        timeout: LIMIT,
    }
}

/// One that writes the names of emitted events into a file.
fn writes_names(events: &[&str], file: &Path) -> Hook {
    let file = file.display();
    script(events, &format!("echo \"$PTEST_EVENT\" >> '{file}'"))
}

fn attend(ptest: &Ptest, hooks: &[Hook]) -> ptest::hooks::Attendance {
    ptest.attend_hooks(hooks).unwrap().unwrap()
}

fn emit(ptest: &Ptest, name: &str) -> i64 {
    ptest.emit(None, name, Value::Null).unwrap()
}

fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn failures(ptest: &Ptest) -> Vec<Recorded> {
    let filter = EventFilter {
        kinds: vec!["hook_failed".to_owned()],
        ..EventFilter::default()
    };
    ptest.events(&filter, usize::MAX).unwrap()
}

fn message(event: &Recorded) -> &str {
    match &event.event {
        Event::HookFailed { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_reads_each_event_that_it_is_for_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let file = directory.path().join("read");
    let hook = script(
        &["created", "removed", "deployed"],
        &format!(
            "cat >> '{0}'; echo \" $PTEST_EVENT $PTEST_ENVIRONMENT $PTEST_CAUSE $PTEST_HOME\" >> '{0}'",
            file.display()
        ),
    );
    emit(&ptest, "deployed");
    let attendance = attend(&ptest, std::slice::from_ref(&hook));
    let environment = ptest
        .create(
            &EnvironmentSpec {
                name: Some("web".parse().unwrap()),
                ..spec(directory.path())
            },
            &Silent,
        )
        .unwrap();
    ptest
        .emit(Some("web"), "deployed", json!({"to": "here"}))
        .unwrap();
    emit(&ptest, "other");
    environment.remove().unwrap();
    drop(attendance);
    let served = ptest.serve_hooks(std::slice::from_ref(&hook)).unwrap();
    assert_eq!(
        served,
        Served {
            called: 3,
            failed: 0
        }
    );
    let expected = ptest
        .events(
            &EventFilter {
                environments: vec!["web".to_owned()],
                kinds: ["created", "deployed", "removed"].map(str::to_owned).into(),
                ..EventFilter::default()
            },
            usize::MAX,
        )
        .unwrap();
    let read = lines(&file);
    assert_eq!(read.len(), 3);
    for (line, event) in read.iter().zip(&expected) {
        let (document, variables) = line.rsplit_once("} ").unwrap();
        let document: Value = serde_json::from_str(&format!("{document}}}")).unwrap();
        assert_eq!(document, serde_json::to_value(event).unwrap());
        let word = match &event.event {
            Event::Emitted { name, .. } => name,
            event => event.kind(),
        };
        let home = ptest.store().home().display();
        assert_eq!(variables, format!("{word} web {} {home}", event.sequence));
    }
    // All is dealt with.
    assert_eq!(ptest.serve_hooks(&[hook]).unwrap(), Served::default());
}

#[test]
fn a_url_gets_the_event() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = Hook {
        action: Action::Url(format!("http://{}/told", listener.local_addr().unwrap())),
        ..script(&["deployed"], "")
    };
    let answers = ["200 OK", "503 Busy"];
    let server = thread::spawn(move || {
        answers.map(|answer| {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let length = head
                .lines()
                .find_map(|line| {
                    let lower = line.to_ascii_lowercase();
                    lower
                        .strip_prefix("content-length:")
                        .map(|it| it.trim().parse().unwrap())
                })
                .unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer =
                format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            let first = head.lines().next().unwrap().to_owned();
            (first, serde_json::from_slice::<Value>(&body).unwrap())
        })
    });
    drop(attend(&ptest, std::slice::from_ref(&hook)));
    let first = emit(&ptest, "deployed");
    let second = emit(&ptest, "deployed");
    let served = ptest.serve_hooks(&[hook]).unwrap();
    assert_eq!(
        served,
        Served {
            called: 2,
            failed: 1
        }
    );
    let [told, refused] = server.join().unwrap();
    assert_eq!(told.0, "POST /told HTTP/1.1");
    assert_eq!(
        (&told.1["sequence"], &told.1["kind"]),
        (&json!(first), &json!("emitted"))
    );
    assert_eq!(refused.1["sequence"], second);
    let failures = failures(&ptest);
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].caused_by, Some(second));
    assert!(message(&failures[0]).contains("503"), "{failures:?}");
}

#[test]
fn a_hook_that_fails_is_told_of_and_called_again_for_the_next_event() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let fails = script(&["deployed"], "echo too bad >&2; exit 3");
    let is_missing = Hook {
        action: Action::Command(vec!["no-such-program".to_owned()]),
        ..fails.clone()
    };
    let hooks = [fails, is_missing];
    drop(attend(&ptest, &hooks));
    let first = emit(&ptest, "deployed");
    let second = emit(&ptest, "deployed");
    let served = ptest.serve_hooks(&hooks).unwrap();
    assert_eq!((served.called, served.failed), (4, 4));
    let failures = failures(&ptest);
    let of = |words: &str| -> Vec<Option<i64>> {
        let about = failures
            .iter()
            .filter(|event| message(event).contains(words));
        about.map(|event| event.caused_by).collect()
    };
    assert_eq!(of("exit status: 3): too bad"), [Some(first), Some(second)]);
    assert_eq!(of("no program `no-such-program` in PATH").len(), 2);
}

#[test]
fn a_hook_that_hangs_is_ended_with_all_that_it_started_and_keeps_no_other_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let (pids, other) = (
        directory.path().join("pids"),
        directory.path().join("other"),
    );
    let hangs = Hook {
        // Long enough that the other one is called meanwhile: it waits for that.
        timeout: Duration::from_millis(500),
        ..script(
            &["deployed"],
            &format!(
                "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >> \"{0}\"; sleep 1000' & \
                 echo $$ >> '{0}'; sleep 1000",
                pids.display()
            ),
        )
    };
    let hooks = [hangs, writes_names(&["deployed"], &other)];
    let attendance = attend(&ptest, &hooks);
    let sequence = emit(&ptest, "deployed");
    thread::scope(|scope| {
        let server = scope.spawn(|| ptest.serve_hooks(&hooks).unwrap());
        wait_until("the other one is called", || !lines(&other).is_empty());
        drop(attendance);
        assert_eq!(server.join().unwrap().failed, 1);
    });
    let failures = failures(&ptest);
    assert_eq!(failures[0].caused_by, Some(sequence));
    assert!(message(&failures[0]).contains("did not end within 500ms"));
    let started = lines(&pids);
    assert_eq!(started.len(), 2);
    for pid in started {
        // A dead one may wait to be reaped by whom it was left to.
        wait_until("what it started is gone", || {
            !Path::new("/proc").join(&pid).exists()
        });
    }
}

#[test]
fn as_long_as_somebody_attends_hooks_are_called_for_what_happens() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let file = directory.path().join("names");
    let hooks = [writes_names(&["*"], &file)];
    let attendance = attend(&ptest, &hooks);
    assert!(ptest.wants_hooks_served(&hooks).unwrap());
    thread::scope(|scope| {
        let server = scope.spawn(|| ptest.serve_hooks(&hooks).unwrap());
        for name in ["one", "two"] {
            emit(&ptest, name);
            wait_until(name, || {
                lines(&file).last().is_some_and(|last| last == name)
            });
        }
        assert!(!ptest.wants_hooks_served(&hooks).unwrap());
        drop(attendance);
        assert_eq!(server.join().unwrap().called, 2);
    });
    assert!(ptest.wants_hooks_served(&hooks).unwrap());
}

#[test]
fn however_many_serve_a_hook_is_called_once_for_each_event() {
    const EVENTS: usize = 40;
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let file = directory.path().join("names");
    let hooks = [writes_names(&["*"], &file)];
    let attendance = attend(&ptest, &hooks);
    let called: u64 = thread::scope(|scope| {
        let serve = || ptest.serve_hooks(&hooks).unwrap().called;
        let servers: Vec<_> = (0..4).map(|_| scope.spawn(serve)).collect();
        for number in 0..EVENTS {
            emit(&ptest, &format!("e{number}"));
        }
        drop(attendance);
        let called = servers.into_iter().map(|server| server.join().unwrap());
        called.sum()
    });
    // What was left when the last one ended is the next one's.
    let rest = ptest.serve_hooks(&hooks).unwrap().called;
    assert_eq!(called + rest, EVENTS as u64);
    let expected: Vec<String> = (0..EVENTS).map(|number| format!("e{number}")).collect();
    assert_eq!(lines(&file), expected);
}

#[test]
fn what_happened_before_a_hook_was_known_does_not_call_it_and_what_nobody_served_does() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let file = directory.path().join("names");
    let hooks = [writes_names(&["*"], &file)];
    let ptest = open(&home);
    emit(&ptest, "before");
    drop(attend(&ptest, &hooks));
    emit(&ptest, "between");
    let status = ptest.hooks(&hooks).unwrap();
    assert_eq!((status[0].waiting, &status[0].source), (1, &None));
    drop(ptest);
    // Another process, later.
    let ptest = open(&home);
    ptest.serve_hooks(&hooks).unwrap();
    assert_eq!(lines(&file), ["between"]);
    assert_eq!(ptest.hooks(&hooks).unwrap()[0].waiting, 0);
    // What no configuration names any more is not called.
    emit(&ptest, "after");
    assert_eq!(ptest.serve_hooks(&[]).unwrap(), Served::default());
    assert!(ptest.attend_hooks(&[]).unwrap().is_none());
    assert_eq!(lines(&file), ["between"]);
}

#[test]
fn a_hook_is_for_the_environments_that_it_names() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let file = directory.path().join("names");
    let hooks = [Hook {
        environments: vec!["web".to_owned()],
        ..writes_names(&["*"], &file)
    }];
    drop(attend(&ptest, &hooks));
    for name in ["web", "db"] {
        let spec = EnvironmentSpec {
            name: Some(name.parse().unwrap()),
            ..spec(directory.path())
        };
        ptest.create(&spec, &Silent).unwrap();
    }
    ptest.emit(Some("db"), "x", Value::Null).unwrap();
    ptest.serve_hooks(&hooks).unwrap();
    assert_eq!(lines(&file), ["creating", "created"]);
}
