//! `--allow`: the hosts that an environment with a network of its own reaches, and what is said of the others.
//!
//! The outside world is a listener of the test itself, which a rule for its address allows.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::Stdio,
    thread,
};

use insta::{allow_duplicates, assert_snapshot};
use ptest_testkit::{require, requirement};
use serde_json::json;

use crate::{
    context::{TestContext, wait_until},
    reference::assert_conforms,
    wheel,
};

/// Asks the proxy that the variables name for a tunnel to each target, and prints the status of its answer.
const TUNNELS: &str = "
import os, socket, sys
place = os.environ['HTTPS_PROXY'].removeprefix('http://').split(':')
for target in sys.argv[1:]:
    with socket.create_connection((place[0], int(place[1])), 30) as s:
        s.sendall(f'CONNECT {target} HTTP/1.1\\r\\n\\r\\n'.encode())
        print(target.split(':')[0], s.recv(4096).split()[1].decode())
";

/// Answers each connection with what `serve` makes of its first line.
fn outside(serve: impl Fn(&str) -> Vec<u8> + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, &serve);
        }
    });
    port
}

fn answer(mut stream: TcpStream, serve: impl Fn(&str) -> Vec<u8>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    let _gone = lines.read_line(&mut first);
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|count| count > 2) {
        line.clear();
    }
    let _gone = stream.write_all(&serve(&first));
}

fn nothing(_: &str) -> Vec<u8> {
    Vec::new()
}

/// The processes of the machine that were started from a directory.
fn processes_of(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    let start = directory.to_str().unwrap();
    lines.filter(|line| line.starts_with(start)).collect()
}

#[test]
fn a_run_reaches_what_is_allowed_and_is_told_once_what_was_refused() {
    require!(requirement::overlay());
    let context = TestContext::new();
    let target = format!("127.0.0.1:{}", outside(nothing));
    for profile in ["standard", "strict"] {
        let outcome = context.run([
            "run",
            "--profile",
            profile,
            "--allow",
            &target,
            "--allow",
            "localhost:443",
            "--",
            "python",
            "-c",
            TUNNELS,
            &target,
            "a.example:443",
            "b.example:8080",
            "a.example:443",
            "localhost:443",
        ]);
        allow_duplicates! { assert_snapshot!(outcome, @r"
        exit: 0
        ----- stdout -----
        127.0.0.1 200
        a.example 403
        b.example 403
        a.example 403
        localhost 403
        ----- stderr -----
        warning: the command was refused a.example:443 (2 times), b.example:8080, localhost:443, which is at 127.0.0.1
        hint: `--allow a.example --allow b.example:8080 --allow 127.0.0.1` would allow it, when the environment is made
        ") }
    }
    context.assert_nothing_is_left();
}

#[test]
fn pip_and_what_else_obeys_the_variables_works_without_being_told() {
    require!(requirement::overlay());
    let context = TestContext::new();
    let wheels = context.path("wheels");
    fs::create_dir(&wheels).unwrap();
    let wheel = fs::read(wheel::make(&wheels, "alpha", "1.0", "")).unwrap();
    let port = outside(move |request| {
        let (kind, body) = if request.contains(" /simple/alpha/ ") {
            let page = "<a href=\"/alpha-1.0-py3-none-any.whl\">alpha-1.0-py3-none-any.whl</a>";
            ("text/html", page.as_bytes())
        } else {
            ("application/octet-stream", wheel.as_slice())
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    });
    let index = format!("http://127.0.0.1:{port}/simple/");
    // The machine's own loopback is asked for like another host only when nothing is said to be reached directly.
    let script =
        format!("pip install --quiet --isolated --no-cache-dir --index-url {index} alpha && alpha");
    let outcome = context
        .run([
            "run",
            "--profile=strict",
            "--allow",
            &format!("127.0.0.1:{port}"),
            "--env",
            "NO_PROXY=nothing.example",
            "--",
            "sh",
            "-c",
            &script,
        ])
        .success();
    assert_eq!(outcome.stdout(), "alpha 1.0\n", "{outcome}");
}

#[test]
fn status_and_later_commands_tell_what_was_refused_to_a_kept_environment() {
    require!(requirement::overlay());
    let context = TestContext::new();
    let created = context
        .run(["create", "web", "--allow=*.a.example", "--format=json"])
        .success()
        .json();
    assert_conforms("ptest.environment", &created);
    assert_eq!(created["environment"]["allow"], json!(["*.a.example"]));
    assert_eq!(created["environment"]["refusals"], json!(null));

    let tunnel = |target| context.run(["exec", "web", "--", "python", "-c", TUNNELS, target]);
    assert!(
        tunnel("a.example:443")
            .success()
            .stderr()
            .contains("a.example:443")
    );
    context.run(["deactivate", "web"]).success();
    let second = tunnel("b.example:443").success().stderr();
    assert!(
        second.contains("b.example:443") && !second.contains("a.example"),
        "{second}"
    );
    let quiet = context.run(["exec", "web", "true"]).success();
    assert_eq!(quiet.stderr(), "");

    let report = context
        .run(["status", "web", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.environment", &report);
    let refusals = &report["environment"]["refusals"];
    assert_eq!(refusals["total"], 2);
    assert_eq!(refusals["latest"][0]["host"], "a.example");
    assert_eq!(refusals["latest"][1]["host"], "b.example");
    assert_eq!(refusals["latest"][1]["port"], 443);
    assert_eq!(refusals["latest"][1]["reason"], "not_allowed");
    let text = context.run(["status", "web"]).success().columns();
    assert!(
        text.contains("\nallowed: *.a.example\nrefused: 2\n"),
        "{text}"
    );
    assert!(text.contains("Z b.example:443\n"), "{text}");

    // Each is one event, told when the command ended or the environment was deactivated.
    let events = || {
        let kinds = [
            "events",
            "web",
            "--kind",
            "host_refused",
            "--kind",
            "deactivated",
        ];
        let report = context.run(kinds.iter().chain(&["--format", "json"]));
        let report = report.success().json();
        assert_conforms("ptest.events", &report);
        let words = |event: &serde_json::Value| match event["payload"]["host"].as_str() {
            Some(host) => host.to_owned(),
            None => event["kind"].as_str().unwrap().to_owned(),
        };
        let events = report["events"].as_array().unwrap();
        events.iter().map(words).collect::<Vec<_>>()
    };
    assert_eq!(events(), ["a.example", "deactivated", "b.example"]);
    context.run(["remove", "web"]).success();
    assert_eq!(events(), ["a.example", "deactivated", "b.example"]);
    assert_eq!(processes_of(&context.path("store")), Vec::<String>::new());
    context.assert_nothing_is_left();
}

#[test]
fn what_cannot_be_allowed_is_refused_before_anything_is_made() {
    let context = TestContext::new();
    for (arguments, code, said) in [
        (
            ["--allow=https://a.example/x", "--"],
            2,
            "its host alone is `a.example`",
        ),
        (["--allow=a.example:99999", "--"], 2, "`99999` is no port"),
        (
            ["--allow=a.example", "--network=host"],
            125,
            "with the network `host`",
        ),
        (
            ["--allow=a.example", "--network=none"],
            125,
            "with the network `none`",
        ),
        (
            ["--allow=a.example", "--profile=none"],
            125,
            "with the profile `none`",
        ),
    ] {
        let [first, second] = arguments;
        context.assert_refused(&["run", first, second, "true"], code, said);
    }
    context.assert_nothing_is_left();
}

#[test]
fn the_configuration_allows_hosts_to_every_environment_and_options_add_to_them() {
    let mut context = TestContext::new();
    context.write(
        "project/ptest.toml",
        "allow = ['A.example', '10.0.0.0/8:5432']\n",
    );
    let created = context.run(["create", "web", "--allow=b.example", "--format=json"]);
    let allow = &created.success().json()["environment"]["allow"];
    assert_eq!(allow, &json!(["a.example", "10.0.0.0/8:5432", "b.example"]));
    context.set("PTEST_ALLOW", "c.example, *.d.example");
    let row = context.run(["config", "get", "allow"]).success();
    assert_eq!(row.stdout(), "[\"c.example\", \"*.d.example\"]\n");
    context.set("PTEST_ALLOW", "c.example,e e");
    context.assert_refused(&["list"], 125, "a name has no ` `");
}

#[test]
fn an_environment_without_allowed_hosts_has_no_proxy_and_names_none() {
    require!(requirement::overlay());
    let context = TestContext::new();
    context.run(["create", "web", "--profile=strict"]).success();
    let variables = context.run(["exec", "web", "env"]).success().stdout();
    assert!(!variables.to_lowercase().contains("_proxy="), "{variables}");
    let started = processes_of(&context.path("store"));
    assert!(!started.is_empty());
    assert!(
        !started.iter().any(|line| line.contains("\0proxy")),
        "{started:?}"
    );
    context.run(["remove", "web"]).success();
}

#[test]
fn a_killed_ptest_leaves_no_proxy() {
    require!(requirement::overlay());
    let context = TestContext::new();
    let mut child = context
        .command([
            "run",
            "--allow=a.example",
            "sh",
            "-c",
            "echo there; exec cat",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut word = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut word)
        .unwrap();
    let store = context.path("store");
    assert!(
        processes_of(&store)
            .iter()
            .any(|line| line.contains("\0proxy"))
    );
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("init and proxy are gone", || {
        processes_of(&store).is_empty()
    });
    context.assert_nothing_is_left();
}
