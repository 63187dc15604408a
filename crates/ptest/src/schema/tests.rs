//! What every older version left in the database, opened by this one.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::MIGRATIONS;
use crate::engine::ExitStatus;
use crate::environment::table::Record;
use crate::environment::{Name, State};
use crate::error::Result;
use crate::events::{Event, EventFilter};
use crate::labels::Selector;
use crate::progress::Silent;
use crate::ptest::Ptest;
use crate::run::Run;
use crate::settings::Profile;
use crate::test_support::{open, spec};
use crate::{apply, environment, events, failure, hooks, improve, labels, monitor, ports};
use crate::{recipe, runs, snapshot};

/// What was written right after a step, in the form that it had then; a form that came later stands beside it, after the
/// step that was the last one then. `{…}` stands for what is another in each store.
///
/// A row here never changes: it is what somebody's store has.
const ROWS: &[(&str, &str)] = &[
    (
        environment::table::SCHEMA,
        r#"
        INSERT INTO environments (id, name, engine, state, owner, process_owned, stack, recipe, python, requirements,
            settings, achieved, created_at, activated_at, deactivated_at)
        VALUES ('{id}', 'old', 'virtualenv', 'inactive', '{"kind":"detached"}', 0, '{stack}', '{recipe}',
            '{"implementation":"cpython","version":"{version}","executable":"{executable}","roots":["{root}"]}',
            '{"specifiers":["requests==2.28.1"],"files":["/r.txt"],"pip":false}',
            '{"profile":"none","write":["/tmp"],"pass":["TERM"],"variables":{"A":"b"},"limits":{"pids":1000},
              "project":{"root":"{project}"},"git_identity":{"name":"A","email":null}}',
            '{"profile":"none","pids":"watched","degraded":["a reason"]}', 1700000000000, 1700000001000, 1700000002000);
        "#,
    ),
    (
        recipe::SCHEMA,
        r#"
        INSERT INTO recipes (key, stack, exact, resolved_at) VALUES ('{recipe}', '{stack}', 1, 1700000000000);
        INSERT INTO pins (stack, pins) VALUES ('{stack}', '[]'), ('{other}', '[{"name":"six","version":"1.17.0",
            "layer":"{other}","file":"six-1.17.0-py2.py3-none-any.whl","sha256":"{other}","requested":true,
            "editable":null,"dist_info":"six-1.17.0.dist-info","direct_url":null}]');
        INSERT INTO known_layers (key, layer, content) VALUES ('a key', '{other}',
            '{"name":"six","version":"1.17.0","dist_info":"six-1.17.0.dist-info","file":"six.whl","sha256":"{other}"}');
        INSERT INTO interpreters (key, answer) VALUES ('a key', 'what an older one asked');
        "#,
    ),
    (
        environment::table::GENERATIONS,
        "INSERT INTO swaps (environment) VALUES ('{id}');",
    ),
    (
        snapshot::table::SCHEMA,
        r#"
        INSERT INTO snapshots (name, environment, label, engine, stack, recipe, python, requirements, settings, author,
            created_at)
        VALUES ('kept', '{id}', 'old', 'virtualenv', '{stack}', '{recipe}',
            '{"implementation":"cpython","version":"{version}","executable":"{executable}","roots":["{root}"]}',
            '{"pip":false}', '{"profile":"none","project":{"root":"{project}"}}', 'somebody', 1700000003000);
        "#,
    ),
    (
        improve::table::SCHEMA,
        r#"
        INSERT INTO uses (stack, python, layers, uses, used_at) VALUES ('{stack}',
            '{"implementation":"cpython","version":"{version}","executable":"{executable}","roots":["{root}"]}',
            1, 1, 1700000004000);
        INSERT INTO companions (layer, magic) VALUES ('{other}', '3495');
        "#,
    ),
    (
        environment::table::HANDED_OVER,
        "INSERT OR IGNORE INTO swaps (environment) VALUES ('{id}');",
    ),
    (
        events::table::SCHEMA,
        r#"
        INSERT INTO events (time, environment, label, operation, kind, body)
        VALUES (1700000000000, '{id}', 'old', 'an operation', 'created', '{"event":"created","payload":{}}');
        "#,
    ),
    (
        ports::table::SCHEMA,
        "INSERT INTO ports (port, protocol, address, name, environment, acquired_at, next_is_free)
         VALUES (31234, 'both', '127.0.0.1', 'http', '{id}', 1700000000000, 1);
         UPDATE last_port SET port = 31234;",
    ),
    (
        runs::table::SCHEMA,
        r#"
        INSERT INTO runs (environment, number, label, client, arguments, directory, conditions, started_at, ended_at,
            outcome, streams, stdout_head)
        VALUES ('{id}', 1, 'old', '{"boot_id":"another","pid":17,"start_time":4}', x'7472756500', x'2f',
            '{"profile":"none","network":"host","limits_asked":{"pids":1000}}', 1700000005000, 1700000006000,
            '{"kind":"ended","status":{"code":3},"timed_out":false,"struck":null,"leaked":0,"usage":{
              "elapsed":{"secs":1,"nanos":0},"user":{"secs":0,"nanos":1},"system":{"secs":0,"nanos":1},
              "memory_peak":4096,"read":0,"written":0}}',
            '{"stdout":{"destination":{"kind":"taken"},"total":1},"stderr":{"destination":{"kind":"null"}}}', x'61');
        "#,
    ),
    (
        labels::SCHEMA,
        "INSERT INTO labels (key, value, environment) VALUES ('team', 'a', '{id}');
         UPDATE environments SET settings = json_set(settings, '$.labels', json('{\"team\":\"a\"}'));",
    ),
    (
        failure::SCHEMA,
        r#"
        UPDATE environments SET failure = '{"operation":"install","id":"x","time":"2023-11-14T22:13:20Z",
            "message":"no versions satisfy the requirements"}';
        "#,
    ),
    (
        apply::table::SCHEMA,
        "INSERT INTO managed (environment, source, asked) VALUES ('{id}', '/ptest.toml', 'a hash');",
    ),
    (
        monitor::history::SCHEMA,
        r#"
        INSERT INTO usage_history VALUES ('{id}', 3600, 1700000000, 60000, 5000, 1024.0, 2048, 1.0, 2, 0, 0, NULL, NULL,
            NULL);
        INSERT INTO usage_folded VALUES ('{id}', '{"series":7,"last":{"sequence":3,"time":"2023-11-14T22:13:20Z",
            "cpu":{"secs":5,"nanos":0},"memory":1024,"memory_peak":2048,"processes":1,"read":0,"written":0,
            "traffic":null,"disk":null},"totals":{"cpu":{"secs":5,"nanos":0},"memory_peak":2048,"read":0,"written":0,
            "traffic":null}}');
        "#,
    ),
    (
        hooks::table::SCHEMA,
        r#"
        INSERT INTO hooks (source, hook, sequence) VALUES ('/ptest.toml',
            '{"events":["created"],"action":{"command":["true"]},"timeout":{"secs":10,"nanos":0}}', 1000000);
        "#,
    ),
];

/// A line for each event, in the form in which it was first recorded. Lines are only ever added.
const EVENTS: &str = include_str!("events.jsonl");

/// An id of a layer or a stack that no store has.
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// The tables that are not in [`MIGRATIONS`].
const OTHERS: &[&str] = &["components", "layers", "stacks", "served", "probes"];

fn old_spec(project: &Path) -> crate::spec::EnvironmentSpec {
    let mut spec = spec(project);
    spec.name = Some("old".parse::<Name>().unwrap());
    spec.settings.profile = Some(Profile::None);
    spec
}

fn tables(connection: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid DESC";
    let mut statement = connection.prepare(sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

/// Lets the database be what one of a version that had so many steps is; its rows are about an environment that is there.
fn set_back(connection: &Connection, steps: usize, record: &Record) {
    let executable = record.python.executable.to_str().unwrap();
    let values = [
        ("{id}", record.id.as_str()),
        ("{stack}", &record.stack.to_string()),
        ("{recipe}", &record.recipe),
        ("{version}", &record.python.version),
        ("{executable}", executable),
        ("{root}", record.python.roots[0].to_str().unwrap()),
        ("{project}", record.settings.project.root.to_str().unwrap()),
        ("{other}", OTHER),
    ];
    for table in tables(connection) {
        if !OTHERS.contains(&&*table) {
            connection
                .execute_batch(&format!("DROP TABLE {table}"))
                .unwrap();
        }
    }
    for step in &MIGRATIONS[..steps] {
        connection.execute_batch(step).unwrap();
        for (_, rows) in ROWS.iter().filter(|(of, _)| of == step) {
            let rows = values
                .iter()
                .fold((*rows).to_owned(), |rows, (name, value)| {
                    rows.replace(name, value)
                });
            connection.execute_batch(&rows).unwrap();
        }
        if *step == events::table::SCHEMA {
            for body in EVENTS.lines() {
                let sql = "INSERT INTO events (time, environment, label, kind, body) \
                           VALUES (1700000000000, ?1, 'old', json_extract(?2, '$.event'), ?2)";
                connection.execute(sql, (record.id.as_str(), body)).unwrap();
            }
        }
    }
    let sql = "UPDATE components SET version = ?1 WHERE name = 'ptest'";
    connection.execute(sql, [steps as u32]).unwrap();
}

/// A store whose database a version with so many steps left.
fn store(home: &Path, steps: usize) -> Record {
    let ptest = open(home);
    let environment = ptest
        .create(&old_spec(home.parent().unwrap()), &Silent)
        .unwrap();
    let record = environment.record().unwrap();
    let database = ptest.store().database();
    let connection = Connection::open(database.path()).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    set_back(&connection, steps, &record);
    record
}

/// Which of the steps are in this version.
struct Had<'a>(&'a [&'static str]);

impl Had<'_> {
    fn has(&self, step: &str) -> bool {
        self.0.contains(&step)
    }
}

fn assert_rows_are_there(ptest: &Ptest, had: &Had<'_>, old: &Record) {
    let database = ptest.store().database();
    let environment = ptest.find("old").unwrap();
    let record = environment.record().unwrap();
    assert_eq!(
        (&record.id, record.stack, record.state),
        (&old.id, old.stack, State::Inactive)
    );
    assert_eq!(record.requirements.specifiers, ["requests==2.28.1"]);
    assert_eq!(record.settings.limits.pids, Some(1000));
    assert_eq!(record.settings.variables["A"], "b");
    assert_eq!(record.achieved.as_ref().unwrap().degraded, ["a reason"]);
    assert_eq!(ptest.statuses(&Selector::default()).unwrap().len(), 1);
    if had.has(recipe::SCHEMA) {
        assert!(recipe::find(database, &old.recipe).unwrap().unwrap().exact);
        let pins = recipe::pins(database, &OTHER.parse().unwrap()).unwrap();
        assert_eq!(pins[0].name, "six");
        assert_eq!(
            recipe::known_layer(database, "a key")
                .unwrap()
                .unwrap()
                .1
                .name,
            "six"
        );
    }
    if had.has(snapshot::table::SCHEMA) {
        let snapshots = ptest.snapshots().unwrap();
        assert_eq!(snapshots[0].name.as_str(), "kept");
        assert_eq!(snapshots[0].of.label, "old");
    }
    if had.has(ports::table::SCHEMA) {
        assert_eq!(environment.ports().unwrap()[0].port, 31234);
    }
    if had.has(runs::table::SCHEMA) {
        let runs = environment.runs(9).unwrap();
        let exit = runs[0].outcome.as_ref().unwrap().exit().unwrap();
        assert_eq!(exit.status, ExitStatus::Code(3));
        assert_eq!(runs[0].streams.stdout.head, b"a");
    }
    if had.has(labels::SCHEMA) {
        let selected = ptest.select(&"team=a".parse().unwrap()).unwrap();
        assert_eq!(selected.len(), 1);
    }
    let failure = environment.failure().unwrap();
    assert_eq!(failure.is_some(), had.has(failure::SCHEMA));
    assert_eq!(
        apply::table::all(database).unwrap().len(),
        usize::from(had.has(apply::table::SCHEMA))
    );
    let totals = environment.totals().unwrap();
    assert_eq!(totals.memory_peak > 0, had.has(monitor::history::SCHEMA));
    environment.stats(Duration::from_hours(24)).unwrap();
    let known = database.read(hooks::table::all).unwrap();
    assert_eq!(known.len(), usize::from(had.has(hooks::table::SCHEMA)));
}

fn assert_events_are_there(ptest: &Ptest, had: &Had<'_>) {
    let events = ptest.events(&EventFilter::default(), usize::MAX).unwrap();
    let old = events
        .iter()
        .filter(|event| event.time.as_millisecond() == 1_700_000_000_000);
    let expected = usize::from(had.has(events::table::SCHEMA)) * (EVENTS.lines().count() + 1);
    assert_eq!(old.count(), expected);
}

/// All that is done to environments, old ones too.
fn assert_everything_works(ptest: &Ptest, project: &Path) {
    let mut another = old_spec(project);
    another.name = Some("new".parse().unwrap());
    ptest.create(&another, &Silent).unwrap();
    for name in ["old", "new"] {
        let environment = ptest.find(name).unwrap();
        let done = environment.run(Run::new(["sh", "-c", "exit 7"])).unwrap();
        assert_eq!(done.ended.unwrap().status, ExitStatus::Code(7), "{name}");
        let list = ptest.records().unwrap();
        assert!(list.iter().any(|record| record.label() == name));
    }
    let old = ptest.find("old").unwrap();
    let taken = old.snapshot(None).unwrap().snapshot;
    old.restore(taken.name.as_str()).unwrap();
    for environment in ptest.environments().unwrap() {
        environment.remove().unwrap();
    }
    for snapshot in ptest.snapshots().unwrap() {
        ptest.remove_snapshot(snapshot.name.as_str()).unwrap();
    }
    ptest.tidy(Duration::from_mins(1)).unwrap();
    assert!(ptest.records().unwrap().is_empty());
    assert_eq!(ptest.database_damage().unwrap(), None);
}

#[test]
fn what_any_older_version_left_is_there_and_can_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    for steps in 1..=MIGRATIONS.len() {
        eprintln!("the first {steps} steps");
        let old = store(&home, steps);
        let ptest = open(&home);
        let had = Had(&MIGRATIONS[..steps]);
        assert_rows_are_there(&ptest, &had, &old);
        assert_events_are_there(&ptest, &had);
        assert_everything_works(&ptest, directory.path());
    }
}

#[test]
fn every_table_and_every_event_is_kept_as_it_was_first_written() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    store(&home, MIGRATIONS.len());
    let connection = Connection::open(home.join("ptest.db")).unwrap();
    for table in tables(&connection) {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: u32 = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        let is_other = OTHERS.contains(&&*table);
        assert!(
            rows > 0 || is_other,
            "ROWS has none of {table}: add one as it is written now"
        );
    }
    let kept: BTreeSet<&str> = EVENTS
        .lines()
        .map(|line| serde_json::from_str::<Event>(line).unwrap().kind())
        .collect();
    let new: String = Event::samples()
        .iter()
        .filter(|event| !kept.contains(event.kind()))
        .map(|event| serde_json::to_string(event).unwrap() + "\n")
        .collect();
    assert_eq!(new, "", "events.jsonl has none of these: add them");
}
