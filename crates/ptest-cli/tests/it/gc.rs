//! `gc`, and what `status` says of the disk.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use ptest_testkit::{require, requirement};
use serde_json::json;

use crate::{
    context::TestContext,
    disk::{SmallDisk, in_mount_namespace},
    reference::assert_conforms,
};

/// Without what is told of things that were thrown away before, which nobody waits for.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap().to_owned()
}

#[test]
fn gc_frees_what_no_environment_uses() {
    let context = TestContext::new();
    let create = ["create", "web", "--profile", "none"];
    context.run(create).success();
    let kept = context.run(["gc", "--older-than", "0s"]).success();
    assert_eq!(
        (kept.stdout(), kept.stderr()),
        (String::new(), "Freed 0 B\n".to_owned())
    );
    context.run(["exec", "web", "python", "-V"]).success();
    context.run(["remove", "web"]).success();
    let young = context.run(["gc"]).success();
    assert_eq!(first_line(&young.stderr()), "Freed 0 B");

    let gc = |more: &[&str]| {
        let outcome = context
            .run(["gc", "--older-than", "0s"].iter().chain(more))
            .success();
        first_line(&outcome.stderr())
    };
    let said = gc(&["--dry-run"]);
    assert!(said.starts_with("Would free "), "{said}");
    assert!(said.ends_with(": 2 layers, 1 recipe, 1 cache"), "{said}");
    assert_eq!(gc(&[]), said.replace("Would free", "Freed"));
    assert_eq!(
        fs::read_dir(context.path("store/layers")).unwrap().count(),
        0
    );
    context.run(create).success();
    context.run(["remove", "web"]).success();
}

#[test]
fn what_was_thrown_away_and_is_not_deleted_yet_is_told() {
    let context = TestContext::new();
    context
        .run(["create", "web", "--profile", "none", "--no-pip"])
        .success();
    // Whatever a command says, it deletes some of it when it has said so.
    let run = |arguments: &[&str]| {
        context.write("store/trash/tree/file", &"1".repeat(1 << 20));
        context.run(arguments).success()
    };
    let told = " MiB that was thrown away before\n";
    let dry = run(&["gc", "--dry-run"]).stderr();
    assert!(
        dry.contains("Would delete 1.0") && dry.ends_with(told),
        "{dry}"
    );
    let gone = run(&["gc"]).stderr();
    assert!(
        gone.contains("Deleted 1.0") && gone.ends_with(told),
        "{gone}"
    );
    let recover = run(&["recover"]).stderr();
    assert!(recover.contains("MiB that was thrown away"), "{recover}");
    let doctor = run(&["doctor"]).stdout();
    assert!(doctor.contains("MiB that was thrown away"), "{doctor}");

    let collected = &run(&["gc", "--format", "json"]).json()["collected"];
    let recovered = &run(&["recover", "--format", "json"]).json();
    for report in [collected, recovered] {
        assert_eq!(report["thrown_away"], json!(1), "{report}");
        assert!(
            report["thrown_away_bytes"].as_u64() >= Some(1 << 20),
            "{report}"
        );
    }
    assert_eq!(collected["bytes"], json!(0));
    assert_conforms("ptest.recovered", recovered);
    context.run(["remove", "web"]).success();
}

#[test]
fn gc_reports_what_it_took_and_what_is_left() {
    let context = TestContext::new();
    context
        .run(["create", "web", "--profile", "none", "--no-pip"])
        .success();
    let report = context
        .run(["gc", "--keep-size", "1k", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.collected", &report);
    assert_eq!(report["dry_run"], json!(false));
    assert_eq!(report["collected"]["layers"], json!(0));
    assert_eq!(report["store"]["layers"], json!(1));
    assert!(report["store"]["environment_bytes"].as_u64().unwrap() > 0);
    context.run(["remove", "web"]).success();
    let report = context
        .run(["gc", "--keep-size", "1k", "--format", "json"])
        .success()
        .json();
    assert_eq!(report["collected"]["layers"], json!(1));
    assert_eq!(report["store"]["layer_bytes"], json!(0));
}

#[test]
fn gc_refuses_what_is_no_time_and_no_size() {
    let context = TestContext::new();
    for arguments in [["--older-than", "yesterday"], ["--keep-size", "much"]] {
        let outcome = context.run(["gc"].iter().chain(&arguments));
        assert_eq!(outcome.code(), Some(2), "{outcome}");
    }
    assert!(!context.path("store").exists());
}

#[test]
fn gc_running_all_the_time_takes_nothing_from_other_processes() {
    let context = TestContext::new();
    let end = Instant::now() + Duration::from_secs(4);
    thread::scope(|scope| {
        let collector = scope.spawn(|| {
            while Instant::now() < end {
                context.run(["gc", "--older-than", "0s"]).success();
                context.run(["verify", "--store"]).success();
            }
        });
        for maker in ["a", "b"] {
            let context = &context;
            scope.spawn(move || {
                while Instant::now() < end {
                    context
                        .run(["create", maker, "--profile", "none"])
                        .success();
                    context.run(["verify", maker]).success();
                    context.run(["exec", maker, "pip", "--version"]).success();
                    context.run(["remove", maker]).success();
                }
            });
        }
        collector.join().unwrap();
    });
    context.assert_nothing_is_left();
}

#[test]
fn status_says_what_an_environment_alone_takes_and_what_it_shares() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    context.run(["create", "web"]).success();
    let usage = || {
        let report = context
            .run(["status", "web", "--format", "json"])
            .success()
            .json();
        assert_conforms("ptest.environment", &report);
        let usage = &report["environment"]["usage"];
        (
            usage["disk_bytes"].as_u64().unwrap(),
            usage["shared_bytes"].as_u64().unwrap(),
        )
    };
    let (private, shared) = usage();
    // An upper with nothing in it; pip alone is megabytes.
    assert!(private < 100_000, "{private}");
    assert!(shared > 1_000_000, "{shared}");
    let write = "head -c 1000000 /dev/urandom > $VIRTUAL_ENV/mine";
    context.run(["exec", "web", "sh", "-c", write]).success();
    let (more, same) = usage();
    assert!(more >= private + 1_000_000, "{private} {more}");
    assert_eq!(same, shared);
    let text = context.run(["status", "web"]).success().stdout();
    assert!(text.contains("of its own, "), "{text}");
    let list = context.run(["list", "--format", "json"]).success().json();
    assert_eq!(list["environments"][0]["usage"]["disk_bytes"], json!(null));
    context.run(["remove", "web"]).success();
}

#[test]
fn gc_makes_room_on_a_full_disk() {
    in_mount_namespace!();
    let mut context = TestContext::new();
    let disk = SmallDisk::new(context.path("disk"), "100m");
    context.set("PTEST_HOME", disk.path().join("store"));
    context
        .run(["create", "web", "--profile", "none"])
        .success();
    context.run(["remove", "web"]).success();
    context
        .run(["run", "--profile", "none", "--no-pip", "true"])
        .success();
    disk.fill();
    assert_eq!(context.run(["create", "web"]).code(), Some(125));
    context.run(["gc", "--older-than", "0s"]).success();
    context
        .run(["create", "web", "--profile", "none", "--no-pip"])
        .success();
    context.run(["remove", "web"]).success();
}
