//! The database of a store in trouble: what commands say and end with, and that all is there when the trouble is gone.

use std::{fs, process::Command, thread};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    context::{Outcome, PTEST, TestContext},
    disk::{SmallDisk, in_mount_namespace},
    reference::assert_conforms,
};

/// What a trouble makes of commands.
struct Trouble<'a> {
    /// The kind of the error, in JSON.
    kind: &'a str,
    /// What is said of why it is.
    why: &'a str,
    /// What is said of what to do.
    hint: &'a str,
    /// Whether what is there can be listed all the same.
    can_list: bool,
    /// Whether an environment can be removed all the same.
    can_remove: bool,
    /// What doctor finds missing.
    finding: &'a str,
}

const DAMAGED: Trouble<'_> = Trouble {
    kind: "corrupt",
    why: "",
    hint: "`ptest recover --rebuild`",
    can_list: false,
    can_remove: false,
    finding: "store",
};

impl Trouble<'_> {
    /// Fails the test unless each command ends in time and says what is wrong, or does what can be done all the same.
    fn assert_told(&self, context: &TestContext) {
        let create = ["create", "new", "--profile", "none", "--no-pip"];
        let json = ["--format", "json"];
        // Side by side: some of them wait.
        thread::scope(|scope| {
            scope.spawn(|| self.assert_refused(&run(context, &create)));
            scope.spawn(|| self.assert_reported(&run(context, &[&create[..], &json].concat())));
            scope.spawn(|| self.assert_refused(&run(context, &["exec", "web", "true"])));
            scope.spawn(|| self.assert_listed(&run(context, &["list", "--format", "json"])));
            scope.spawn(|| self.assert_diagnosed(&run(context, &["doctor", "--format", "json"])));
            scope.spawn(|| assert_eq!(run(context, &["doctor"]).code(), Some(1)));
            if !self.can_remove {
                scope.spawn(|| self.assert_refused(&run(context, &["remove", "web"])));
                scope.spawn(|| {
                    let outcome = run(context, &["remove", "other", "--format", "json"]);
                    // Told of each that could not be removed, if the store could be opened.
                    match outcome.json()["failed"].get(0) {
                        Some(failed) => self.assert_described(&failed["error"]),
                        None => self.assert_reported(&outcome),
                    }
                });
            }
        });
    }

    fn assert_refused(&self, outcome: &Outcome) {
        assert_eq!(outcome.code(), Some(125), "{outcome}");
        let stderr = outcome.stderr();
        let (said, hint) = stderr
            .split_once("hint: ")
            .unwrap_or_else(|| panic!("{outcome}"));
        assert!(
            said.starts_with("error: ") && said.contains(self.why),
            "{outcome}"
        );
        assert!(hint.contains(self.hint), "{outcome}");
    }

    fn assert_reported(&self, outcome: &Outcome) {
        self.assert_refused(outcome);
        let report = outcome.json();
        assert_conforms("ptest.error", &report);
        self.assert_described(&report["error"]);
    }

    fn assert_described(&self, error: &Value) {
        assert_eq!(error["kind"], json!(self.kind), "{error:#}");
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains(self.hint), "{error:#}");
    }

    fn assert_listed(&self, outcome: &Outcome) {
        if !self.can_list {
            return self.assert_reported(outcome);
        }
        assert_eq!(outcome.code(), Some(0), "{outcome}");
        assert_eq!(names(&outcome.json()), ["web", "other"]);
    }

    fn assert_diagnosed(&self, outcome: &Outcome) {
        assert_eq!(outcome.code(), Some(1), "{outcome}");
        let report = outcome.json();
        assert_conforms("ptest.doctor", &report);
        let mut findings = report["findings"].as_array().unwrap().iter();
        let finding = findings.find(|it| it["name"] == self.finding).unwrap();
        assert_eq!(finding["state"], json!("missing"), "{finding:#}");
        let (detail, hint) = (
            finding["detail"].as_str().unwrap(),
            finding["hint"].as_str().unwrap(),
        );
        assert!(
            detail.contains(self.why) && hint.contains(self.hint),
            "{finding:#}"
        );
    }
}

/// A command that is ended, with another code, if it takes longer than anything may.
fn run(context: &TestContext, arguments: &[&str]) -> Outcome {
    let mut command = Command::new("timeout");
    command.args(["60", PTEST]).args(arguments);
    context.run_other(&mut command)
}

fn names(report: &Value) -> Vec<&str> {
    let environments = report["environments"].as_array().unwrap();
    environments
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect()
}

fn assert_listed(context: &TestContext) {
    let list = context.run(["list", "--format", "json"]).success().json();
    assert_eq!(names(&list), ["web", "other"]);
}

/// Makes the environments `web`, in which something is written, and `other`, both at rest, and leases a port to a process
/// that is dead, which the next opening would release.
fn make(context: &TestContext) {
    for name in ["web", "other"] {
        let create = ["create", name, "--profile", "none", "--no-pip"];
        context.run(create).success();
    }
    let write = "echo mine > \"$VIRTUAL_ENV/written\"";
    context.run(["exec", "web", "sh", "-c", write]).success();
    context.run(["deactivate", "web"]).success();
    let mut short = Command::new("sh");
    short.args(["-c", "\"$0\" port acquire; true", PTEST]);
    let port = context.run_other(&mut short).success().stdout();
    assert!(port.trim().parse::<u16>().is_ok(), "{port}");
}

/// Fails the test unless everything is as it was made, and works.
fn assert_unharmed(context: &TestContext) {
    assert_listed(context);
    let doctor = context.run(["doctor", "--format", "json"]).success().json();
    assert_eq!(doctor["findings"][0]["state"], json!("ok"), "{doctor:#}");
    let read = "cat \"$VIRTUAL_ENV/written\"";
    let written = context.run(["exec", "web", "sh", "-c", read]).success();
    assert_eq!(written.stdout(), "mine\n");
    context.run(["exec", "other", "python", "-V"]).success();
    let create = ["create", "new", "--profile", "none", "--no-pip"];
    context.run(create).success();
    context.run(["remove", "web", "other", "new"]).success();
}

/// The database, as another program has it open.
fn open(context: &TestContext) -> Connection {
    Connection::open(context.path("store/ptest.db")).unwrap()
}

/// Lets all of the database be in its file.
fn move_log(context: &TestContext) {
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let is_busy: bool = open(context)
        .query_row(checkpoint, [], |row| row.get(0))
        .unwrap();
    assert!(!is_busy);
}

/// A store with environments, on a disk of its own.
fn on_a_disk() -> (TestContext, SmallDisk) {
    let mut context = TestContext::new();
    let disk = SmallDisk::new(context.path("disk"), "40m");
    context.set("PTEST_HOME", disk.path().join("store"));
    make(&context);
    (context, disk)
}

fn damage(why: &str, bytes: &mut Vec<u8>) {
    match why {
        "malformed" => bytes[4096..].fill(0xa5),
        "is malformed" => bytes.truncate(20_000),
        "not a database" => bytes[..100].fill(0xa5),
        _ => bytes.clear(),
    }
}

#[test]
fn a_damaged_database_is_told_by_every_command_and_left_as_it_is() {
    let context = TestContext::new();
    make(&context);
    move_log(&context);
    let file = context.path("store/ptest.db");
    let sound = fs::read(&file).unwrap();
    for why in ["malformed", "is malformed", "not a database", "is gone"] {
        let mut damaged = sound.clone();
        damage(why, &mut damaged);
        fs::write(&file, &damaged).unwrap();
        Trouble { why, ..DAMAGED }.assert_told(&context);
        assert!(fs::read(&file).unwrap() == damaged, "{why}: it was written");
        fs::write(&file, &sound).unwrap();
        assert_listed(&context);
    }
    assert_unharmed(&context);
}

#[test]
fn a_damage_that_few_commands_come_upon_is_found_by_doctor() {
    let context = TestContext::new();
    make(&context);
    move_log(&context);
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'runs'";
    let page: u32 = open(&context)
        .query_row(root, [], |row| row.get(0))
        .unwrap();
    let page = page as usize;
    let file = context.path("store/ptest.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[(page - 1) * 4096..page * 4096].fill(0);
    fs::write(&file, bytes).unwrap();
    assert_listed(&context);
    let trouble = Trouble {
        why: "is damaged: ",
        ..DAMAGED
    };
    trouble.assert_diagnosed(&run(&context, &["doctor", "--format", "json"]));
    trouble.assert_diagnosed(&run(&context, &["doctor", "--format", "json"]));

    context.run(["recover", "--rebuild"]).success();
    assert_unharmed(&context);
}

#[test]
fn a_database_of_a_newer_version_is_refused_by_every_command() {
    let context = TestContext::new();
    make(&context);
    let change = |by: i32| {
        let sql = format!("UPDATE components SET version = version + {by} WHERE name = 'ptest'");
        open(&context).execute_batch(&sql).unwrap();
    };
    change(1);
    let trouble = Trouble {
        kind: "unsupported",
        why: "this program knows up to",
        hint: "update ptest",
        ..DAMAGED
    };
    trouble.assert_told(&context);
    change(-1);
    assert_unharmed(&context);
}

#[test]
fn a_database_that_another_process_holds_stops_what_writes_and_nothing_else() {
    let context = TestContext::new();
    make(&context);
    let holder = open(&context);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let trouble = Trouble {
        kind: "busy",
        why: "database is locked",
        hint: "try again",
        can_list: true,
        can_remove: false,
        finding: "store",
    };
    trouble.assert_told(&context);
    holder.execute_batch("ROLLBACK").unwrap();
    assert_unharmed(&context);
}

#[test]
fn a_database_that_is_held_is_waited_for_once_however_much_is_to_be_done() {
    let context = TestContext::new();
    let many = [
        "create",
        "one",
        "--count",
        "8",
        "--profile",
        "none",
        "--no-pip",
    ];
    context.run(many).success();
    let holder = open(&context);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcome = run(&context, &["remove", "--all", "--format", "json"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert_eq!(outcome.json()["failed"].as_array().unwrap().len(), 8);
    holder.execute_batch("ROLLBACK").unwrap();
    context.run(["remove", "--all"]).success();
}

#[test]
fn a_full_disk_stops_what_takes_room_and_can_be_emptied() {
    in_mount_namespace!();
    let (context, disk) = on_a_disk();
    disk.fill();
    let trouble = Trouble {
        kind: "storage",
        why: "",
        hint: "free some space",
        can_list: true,
        can_remove: true,
        finding: "disk",
    };
    trouble.assert_told(&context);
    disk.empty();
    assert_unharmed(&context);

    make(&context);
    disk.fill();
    context.run(["remove", "other"]).success();
    context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn a_read_only_store_can_be_looked_at() {
    in_mount_namespace!();
    let (context, disk) = on_a_disk();
    disk.set_read_only(true);
    let trouble = Trouble {
        kind: "storage",
        why: "ead-only",
        hint: "on a writable one",
        can_list: true,
        can_remove: false,
        finding: "disk",
    };
    trouble.assert_told(&context);
    disk.set_read_only(false);
    assert_unharmed(&context);
}

#[test]
fn a_damaged_database_is_made_anew_and_what_became_of_it_is_said() {
    let context = TestContext::new();
    let sound = context.run(["recover", "--rebuild", "--format", "json"]);
    assert_eq!(sound.code(), Some(125), "{sound}");
    assert_eq!(sound.json()["error"]["kind"], json!("illegal_state"));
    assert!(sound.stderr().contains("hint: "), "{sound}");
    let _made = context
        .run(["create", "web", "--profile", "none", "--no-pip"])
        .success();
    move_log(&context);
    fs::write(context.path("store/ptest.db"), "garbage").unwrap();
    context.assert_refused(&["list"], 125, "`ptest recover --rebuild`");

    let rebuilt = context.run(["recover", "--rebuild"]).success();
    assert!(
        rebuilt.columns().contains("environments 0 in part"),
        "{rebuilt}"
    );
    let stderr = rebuilt.stderr();
    for said in [
        "file is not a database",
        "Found 1 layer\n",
        "[ROOT]/store/ptest.db-damaged-1",
        "is lost; what was written in it: [ROOT]/store/lost/e",
    ] {
        assert!(stderr.contains(said), "{said}: {rebuilt}");
    }
    context.assert_nothing_is_left();

    move_log(&context);
    fs::write(context.path("store/ptest.db"), "").unwrap();
    let report = context
        .run(["recover", "--rebuild", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.rebuilt", &report);
    assert_eq!(report["layers"], json!(1));
    assert_eq!(report["lost"], json!([]));
    let aside = report["aside"].as_str().unwrap();
    assert!(aside.ends_with("ptest.db-damaged-2"), "{aside}");
    let _made = context.run(["create", "web", "--no-pip"]).success();
    let _removed = context.run(["remove", "web"]).success();
}
