//! `port acquire`, `release` and `list`, and environments with ports.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    context::{PTEST, TestContext},
    reference::assert_conforms,
};

fn list(context: &TestContext) -> Vec<Value> {
    let report = context.run(["port", "list", "--format", "json"]);
    let report = report.success().json();
    assert_conforms("ptest.ports", &report);
    report["ports"].as_array().unwrap().clone()
}

#[test]
fn acquire_writes_numbers_that_stay_leased_until_they_are_released() {
    let context = TestContext::new();
    let empty = context.run(["port", "list"]).success();
    assert_eq!(
        (empty.stdout(), empty.stderr()),
        (String::new(), "no port is leased\n".to_owned())
    );
    let said = context.run(["port", "acquire", "--count", "3", "--tcp"]);
    let said = said.success();
    assert_eq!(said.stderr(), "");
    let ports: BTreeSet<u16> = said
        .stdout()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(ports.len(), 3);
    let me = std::process::id().to_string();
    let columns = context.run(["port", "list"]).success().columns();
    let lines: Vec<&str> = columns.lines().collect();
    assert_eq!(lines[0], "PORT PROTOCOL ADDRESS NAME OWNER ACQUIRED");
    for (line, port) in lines[1..].iter().zip(&ports) {
        assert!(
            line.starts_with(&format!("{port} tcp any - process {me} ")),
            "{columns}"
        );
    }
    let release: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let released = context.run(
        ["port", "release"]
            .into_iter()
            .chain(release.iter().map(String::as_str)),
    );
    let said: String = ports
        .iter()
        .map(|port| format!("Released {port}\n"))
        .collect();
    assert_eq!(released.success().stderr(), said);
    assert_eq!(list(&context), [] as [Value; 0]);
}

#[test]
fn acquire_reports_what_a_program_wants_to_know() {
    let context = TestContext::new();
    let acquire = |more: &[&str]| {
        let words = ["port", "acquire", "--format", "json"];
        let report = context.run(words.iter().chain(more)).success().json();
        assert_conforms("ptest.ports", &report);
        report["ports"][0].clone()
    };
    let usual = acquire(&[]);
    assert_eq!(usual["owner"], json!("process"));
    assert_eq!(usual["process"], json!(std::process::id()));
    assert_eq!(usual["protocol"], json!("both"));
    let more = [
        "--udp",
        "--address",
        "127.0.0.1",
        "--name",
        "dns",
        "--ttl",
        "1h",
    ];
    let other = acquire(&more);
    assert_eq!(
        [
            &other["protocol"],
            &other["address"],
            &other["name"],
            &other["owner"]
        ],
        [
            &json!("udp"),
            &json!("127.0.0.1"),
            &json!("dns"),
            &json!("detached")
        ]
    );
    assert!(
        other["until"].as_str() > other["acquired_at"].as_str(),
        "{other}"
    );
    let mut both = vec![usual, other.clone()];
    both.sort_by_key(|lease| lease["port"].as_u64());
    assert_eq!(list(&context), both);

    let port = other["port"].to_string();
    let release = ["port", "release", &port, "1", "--format", "json"];
    let outcome = context.run(release);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    let report = outcome.json();
    assert_conforms("ptest.released_ports", &report);
    assert_eq!(report["released"], json!([other["port"]]));
    assert_eq!(report["failed"][0]["port"], json!(1));
    assert_eq!(report["failed"][0]["error"]["kind"], json!("not_found"));
}

#[test]
fn a_lease_is_the_scripts_that_asked_however_it_asked() {
    let context = TestContext::new();
    let script = r#"
        direct=$("$1" port acquire)
        piped=$("$1" port acquire | head -1)
        "$1" port list --format json | cat
    "#;
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh", PTEST]);
    let report = context.run_other(&mut command).success().json();
    let [one, other] = &report["ports"].as_array().unwrap()[..] else {
        panic!("{report:#}");
    };
    assert_eq!(one["process"], other["process"]);
    assert_ne!(one["process"], json!(std::process::id()));
    // It has ended.
    assert_eq!(list(&context), [] as [Value; 0]);
}

#[test]
fn an_environment_has_ports_of_its_own_until_it_is_removed() {
    let context = TestContext::new();
    let quick = ["--profile", "none", "--no-pip"];
    let json = |arguments: &[&str]| {
        let arguments = arguments.iter().chain(&["--format", "json"]);
        context.run(arguments).success().json()
    };
    let create = ["create", "web", "--port", "http", "--port", "my-db"];
    let created = json(&[&create[..], &quick].concat());
    assert_conforms("ptest.environment", &created);
    let of = |report: &Value, name: &str| {
        let ports = report["environment"]["ports"].as_array().unwrap().clone();
        let port = ports.iter().find(|port| port["name"] == json!(name));
        port.unwrap()["port"].to_string()
    };
    let status = json(&["status", "web"]);
    assert_eq!(
        status["environment"]["ports"],
        created["environment"]["ports"]
    );
    let (http, db) = (of(&status, "http"), of(&status, "my-db"));
    let echo = "echo $PTEST_PORT_HTTP $PTEST_PORT_MY_DB $PTEST_PORT_LATE";
    let seen = || {
        context
            .run(["exec", "web", "sh", "-c", echo])
            .success()
            .stdout()
    };
    assert_eq!(seen(), format!("{http} {db}\n"));
    let late = context.run(["port", "acquire", "--for", "web", "--name", "late"]);
    let late = late.success().stdout();
    assert_eq!(seen(), format!("{http} {db} {late}"));
    let text = context.run(["status", "web"]).success().columns();
    assert!(
        text.contains(&format!("port: http {http} (tcp,udp)\n")),
        "{text}"
    );
    let text = context.run(["list"]).success().columns();
    assert!(text.contains(&format!("my-db={db}")), "{text}");
    let text = context.run(["port", "list"]).success().columns();
    assert!(
        text.contains(&format!("{http} tcp,udp any http environment web ")),
        "{text}"
    );

    let forked = json(&["fork", "web", "copy"]);
    let ports = forked["environments"][0]["ports"].as_array().unwrap();
    let names: BTreeSet<&str> = ports
        .iter()
        .map(|port| port["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, BTreeSet::from(["http", "late", "my-db"]));
    assert!(
        ports
            .iter()
            .all(|port| port["port"].as_u64() != http.parse().ok()),
        "{ports:?}"
    );
    assert_eq!(list(&context).len(), 6);
    let released = json(&["port", "release", "--for", "copy"]);
    assert_eq!(released["released"].as_array().unwrap().len(), 3);
    context.run(["remove", "--all"]).success();
    assert_eq!(list(&context), [] as [Value; 0]);
}

#[test]
fn a_run_has_its_port_and_leaves_none() {
    let context = TestContext::new();
    let words = ["run", "--profile", "none", "--no-pip", "--port", "http"];
    let outcome = context.run(words.iter().chain(&["sh", "-c", "echo $PTEST_PORT_HTTP"]));
    let port: u16 = outcome.success().stdout().trim().parse().unwrap();
    assert!(port > 1023);
    assert_eq!(list(&context), [] as [Value; 0]);
}

#[test]
fn the_range_is_configured_and_a_full_one_says_so() {
    let mut context = TestContext::new();
    context.set("PTEST_PORT_RANGE", "24000-24001");
    let count = ["port", "acquire", "--count", "3"];
    context.assert_refused(&count, 125, "of 3 ports only ");
    context.assert_refused(&count, 125, "hint: `ptest port list` shows");
    let report = context
        .run(count.iter().chain(&["--format", "json"]))
        .json();
    assert_conforms("ptest.error", &report);
    assert_eq!(report["error"]["kind"], json!("busy"));
    // An option is stronger.
    let one = context
        .run(["port", "acquire", "--range", "25000-25099"])
        .success();
    let one: u16 = one.stdout().trim().parse().unwrap();
    assert!((25_000..25_100).contains(&one), "{one}");
    // Whoever is inside of an environment sees its ports, which are no settings.
    context.set("PTEST_PORT_RANGES", "24000");
    assert_eq!(
        context
            .run(["port", "list", "--format", "json"])
            .success()
            .stderr(),
        ""
    );
    context.set("PTEST_PORT_RANGE", "many");
    context.assert_refused(&["port", "list"], 125, "a range of ports such as");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let context = TestContext::new();
    for arguments in [
        &["acquire", "--count", "0"][..],
        &["acquire", "--range", "5-4"],
        &["acquire", "--range", "0-4"],
        &["acquire", "--ttl", "0"],
        &["acquire", "--address", "localhost"],
        &["acquire", "--name", "HTTP"],
        &["acquire", "--for", "web", "--ttl", "1h"],
        &["release"],
        &["release", "0"],
        &["release", "1", "--for", "web"],
    ] {
        let outcome = context.run(["port"].iter().chain(arguments));
        assert_eq!(outcome.code(), Some(2), "{arguments:?}\n{outcome}");
    }
    context.assert_refused(
        &["port", "acquire", "--for", "web"],
        125,
        "no environment `web`",
    );
    let address = ["port", "acquire", "--address", "192.0.2.1"];
    context.assert_refused(&address, 125, "192.0.2.1 is no address of this machine");
    let several = ["port", "acquire", "--count", "2", "--name", "http"];
    context.assert_refused(&several, 125, "several ports cannot have one name");
    assert_eq!(list(&context), [] as [Value; 0]);
}
