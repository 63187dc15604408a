//! The order of writes, renames and syncs by which a store survives a loss of power, looked at in traces of what a process
//! really did (strace).
//!
//! A loss of power may take everything back that was not synced, each thing or not, in whatever order it was done. So what
//! must never be lost is never named by less than is on the disk: each check below is one such rule, and
//! docs/reliability.md says what they are for. Not for what is found after a loss: that is `cargo xtask faults`.

mod database;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ptest::engine::ExitStatus;
use ptest::progress::Silent;
use ptest::settings::Profile;
use ptest::{Collection, EnvironmentSpec, Ptest, Requirements};
use ptest_testkit::{require, requirement};

use self::database::{Database, Seen};
use self::trace::Event;
use crate::context::{open, spec};
use crate::python::wheels::Builder;
use crate::run::shell;

/// What a traced process does, and where.
const WORK: &str = "PTEST_TEST_POWER";
const PLACE: &str = "PTEST_TEST_POWER_PLACE";
const PROFILE: &str = "PTEST_TEST_POWER_PROFILE";

#[test]
#[ignore = "traced by the tests beside it"]
fn one_work() {
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let profile = std::env::var(PROFILE).unwrap();
    let ptest = open(&place.join("store"));
    let web = || ptest.find("web").unwrap();
    match std::env::var(WORK).unwrap().as_str() {
        "create" => {
            let mut spec = EnvironmentSpec {
                name: Some("web".parse().unwrap()),
                ..spec(&place.join("project"))
            };
            spec.settings.profile = (profile == "none").then_some(Profile::None);
            ptest.create(&spec, &Silent).unwrap();
        }
        "snapshot while it runs" => {
            web().snapshot(Some("running".parse().unwrap())).unwrap();
        }
        "snapshot at rest" => {
            web().snapshot(Some("rest".parse().unwrap())).unwrap();
        }
        "install" => {
            let wheel = place.join("one-1.5-py3-none-any.whl");
            let wanted = Requirements {
                specifiers: vec![wheel.to_str().unwrap().to_owned()],
                ..Requirements::default()
            };
            web().install(&wanted, &Silent).unwrap();
        }
        "restore" => {
            web().restore("running").unwrap();
        }
        "remove" => {
            web().remove().unwrap();
            ptest.tidy(Duration::MAX).unwrap();
        }
        "collect" => {
            let everything = Collection {
                older_than: Duration::ZERO,
                keep_size: None,
                dry_run: false,
            };
            ptest.collect(&everything).unwrap();
            ptest.tidy(Duration::MAX).unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_loss_of_power_at_any_moment_takes_nothing_that_is_needed_from_an_isolated_environment() {
    require!(requirement::userns());
    require!(requirement::overlay());
    life("standard");
}

#[test]
fn a_loss_of_power_at_any_moment_takes_nothing_that_is_needed_from_a_copied_environment() {
    life("none");
}

/// Traces each work of an environment's life.
fn life(profile: &'static str) {
    require!(requirement::strace());
    let place = Place::new(profile);
    place.traced("create");
    place.write("one", false);
    let taken = place.traced("snapshot while it runs");
    taken.is_durable("running");
    place.write("two", true);
    let taken = place.traced("snapshot at rest");
    taken.is_durable("rest");
    place.write("three", true);
    place.traced("install");
    place.traced("restore");
    place.traced("remove");
    for snapshot in ["running", "rest"] {
        place.ptest.remove_snapshot(snapshot).unwrap();
    }
    let collected = place.traced("collect");
    assert!(collected.layers_at(collected.events.len()).is_empty());
}

struct Place {
    directory: tempfile::TempDir,
    ptest: Ptest,
    profile: &'static str,
}

impl Place {
    fn new(profile: &'static str) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(directory.path().join("project")).unwrap();
        Builder::new("one", "1.5")
            .file("one.py", "")
            .write(directory.path());
        let ptest = open(&directory.path().join("store"));
        Self {
            directory,
            ptest,
            profile,
        }
    }

    /// Writes in the environment, and brings it to rest then if it is to be.
    fn write(&self, word: &str, rests: bool) {
        let web = self.ptest.find("web").unwrap();
        let done = web.run(shell(&format!("echo {word} > \"$VIRTUAL_ENV/{word}\"")));
        assert_eq!(done.unwrap().ended.unwrap().status, ExitStatus::Code(0));
        if rests {
            web.deactivate(Duration::ZERO).unwrap();
        }
    }

    /// What a process that does this work did to the disk, which is in order.
    fn traced(&self, work: &'static str) -> Trace {
        // What was before is not what is looked at.
        self.ptest.store().flush().unwrap();
        let home = self.directory.path().join("store");
        let database = Database::now(&home);
        let layers = names(&home.join("layers"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "power::one_work", "--ignored", "--nocapture"])
            .env(WORK, work)
            .env(PLACE, self.directory.path())
            .env(PROFILE, self.profile);
        let events = trace::of(&command, &self.directory.path().join("trace"));
        let trace = Trace {
            work,
            home,
            database,
            layers,
            events,
        };
        trace.is_in_order();
        trace
    }
}

impl Drop for Place {
    /// Of a test that failed no environment stays.
    fn drop(&mut self) {
        for environment in self.ptest.environments().into_iter().flatten() {
            let _ = environment.remove();
        }
    }
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// What was done, and what was there before.
struct Trace {
    work: &'static str,
    home: PathBuf,
    database: Database,
    layers: BTreeSet<String>,
    events: Vec<Event>,
}

impl Trace {
    fn is_in_order(&self) {
        self.database.assert_one_file_is_whole(&self.events);
        for (number, event) in self.events.iter().enumerate() {
            match event {
                Event::Write { path, .. }
                | Event::Truncate { path, .. }
                | Event::Make { path }
                | Event::Unlink { path } => self.is_no_layer(number, path),
                Event::Rename { from, to } => self.is_let_go_of(number, from, to),
                Event::Sync { .. } | Event::SyncAll { .. } => {}
            }
            if let Event::Unlink { path } = event {
                self.was_thrown_away(number, path);
            }
            if self.database.is_commit(event) {
                self.rows_are_true(self.end_of_commit(number));
            }
        }
    }

    /// A layer never changes where it is.
    fn is_no_layer(&self, number: usize, path: &Path) {
        for directory in ["layers", "manifests"] {
            let is_one = self.below(path, directory).is_some();
            let shown = path.display();
            assert!(!is_one, "{}, {number}: {shown} is changed", self.work);
        }
    }

    /// What is deleted was renamed before, or never was anything that a row names.
    fn was_thrown_away(&self, number: usize, path: &Path) {
        if let Ok(below) = path.strip_prefix(&self.home) {
            let place = below.components().next().unwrap();
            let place = place.as_os_str().to_str().unwrap();
            let passes = ["trash", "staging", "leases"].contains(&place);
            let is_probe = place.starts_with(".ptest-probe-");
            let shown = path.display();
            assert!(passes || is_probe, "{}, {number}: {shown}", self.work);
        }
    }

    /// What is moved away is named by nothing any more: neither as it is seen, nor as it would be after a loss of power.
    fn is_let_go_of(&self, number: usize, from: &Path, to: &Path) {
        let before = &self.events[..number];
        if let Some([layer]) = self.below(from, "layers").as_deref() {
            let known = self.database.after(before, Seen::Synced);
            let known: Vec<String> = known.column("SELECT lower(hex(id)) FROM layers");
            assert!(
                !known.contains(layer),
                "{}, {number}: {layer} is known",
                self.work
            );
        }
        match self.below(from, "envs").as_deref() {
            // It is found to have lost its files then: docs/reliability.md.
            Some([environment]) => {
                let state = format!("SELECT state FROM environments WHERE id = '{environment}'");
                let states: Vec<String> = self.database.after(before, Seen::All).column(&state);
                assert_eq!(states, ["removing"], "{}, {number}", self.work);
            }
            Some([environment, part]) => {
                self.is_of_another_generation(number, environment, part, to);
            }
            _ => {}
        }
    }

    /// Of what makes up an environment only that is thrown away which its row does not name, and only when what it names is on
    /// the disk; what it names is moved only when a note says so, and where to.
    fn is_of_another_generation(&self, number: usize, environment: &str, part: &str, to: &Path) {
        let before = &self.events[..number];
        let durable = self.database.after(before, Seen::Synced);
        let Some(("upper" | "tree" | "taken", generation)) = part.split_once('-') else {
            return;
        };
        let of = format!("SELECT generation FROM environments WHERE id = '{environment}'");
        let [named] = durable.column::<i64>(&of)[..] else {
            panic!("{}, {number}: {environment} is not known", self.work);
        };
        if generation != named.to_string() {
            let tree = format!("envs/{environment}/tree-{named}");
            let written = self.last_write(number, &self.home.join(tree));
            let is_synced = written.is_none_or(|it| it < database::synced(before, &self.home));
            assert!(
                is_synced,
                "{}, {number}: tree-{named} is not synced",
                self.work
            );
            return;
        }
        let notes = format!("SELECT layer FROM swaps WHERE environment = '{environment}'");
        let notes: Vec<Option<String>> = durable.column(&notes);
        let is_noted = match self.below(to, "layers").as_deref() {
            Some([layer]) => notes == [Some(layer.clone())],
            _ => notes.len() == 1 && to.starts_with(self.home.join("envs")),
        };
        assert!(is_noted, "{}, {number}: {part} is needed", self.work);
    }

    /// Every row of a layer has its tree and its manifest, and what is said to be synced is.
    fn rows_are_true(&self, end: usize) {
        let events = &self.events[..end];
        let seen = self.database.after(events, Seen::All);
        let trees = self.layers_at(end);
        let rows = seen.rows("SELECT lower(hex(id)), synced FROM layers", |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
        });
        let synced = database::synced(events, &self.home);
        for (layer, is_synced) in rows {
            let made = trees.get(&layer);
            let made = made.unwrap_or_else(|| panic!("{}, {end}: no {layer}", self.work));
            let is_true = !is_synced || made.is_none_or(|written| written < synced);
            assert!(is_true, "{}, {end}: {layer} is not synced", self.work);
        }
    }

    /// The layers that have a tree and a manifest before an event; of those that were made meanwhile, which event was the
    /// last that wrote in one.
    fn layers_at(&self, end: usize) -> BTreeMap<String, Option<usize>> {
        let mut layers: BTreeMap<_, _> = self.layers.iter().map(|id| (id.clone(), None)).collect();
        let mut trees = BTreeMap::new();
        for (number, event) in self.events[..end].iter().enumerate() {
            let Event::Rename { from, to } = event else {
                continue;
            };
            if let Some([layer]) = self.below(from, "layers").as_deref() {
                layers.remove(layer);
            }
            if let Some([layer]) = self.below(to, "layers").as_deref() {
                trees.insert(layer.clone(), self.last_write(number, from));
            }
            if let Some([layer]) = self.below(to, "manifests").as_deref()
                && let Some(written) = trees.remove(layer)
            {
                layers.insert(layer.clone(), written.max(self.last_write(number, from)));
            }
        }
        layers
    }

    fn last_write(&self, before: usize, below: &Path) -> Option<usize> {
        let mut events = self.events[..before].iter();
        events.rposition(|event| match event {
            Event::Write { path, .. } | Event::Truncate { path, .. } | Event::Make { path } => {
                path.starts_with(below)
            }
            _ => false,
        })
    }

    /// A snapshot that was reported is there after a loss of power, with all its layers.
    fn is_durable(&self, snapshot: &str) {
        let durable = self.database.after(&self.events, Seen::Synced);
        let layers = format!(
            "SELECT lower(hex(layers)) FROM stacks \
             JOIN snapshots ON lower(hex(stacks.id)) = snapshots.stack WHERE name = '{snapshot}'"
        );
        let layers: Vec<String> = durable.column(&layers);
        let [layers] = &layers[..] else {
            panic!("{}: {snapshot} may be lost", self.work);
        };
        let synced: Vec<String> = durable.column("SELECT lower(hex(id)) FROM layers WHERE synced");
        let all_synced = database::synced(&self.events, &self.home);
        let placed = |layer: &str| {
            let place = self.home.join("layers").join(layer);
            let moved = |event: &Event| matches!(event, Event::Rename { to, .. } if *to == place);
            self.events.iter().rposition(moved)
        };
        for layer in layers.as_bytes().chunks(64) {
            let layer = std::str::from_utf8(layer).unwrap();
            assert!(synced.iter().any(|it| it == layer), "{layer} is not synced");
            let is_placed = placed(layer).is_none_or(|moved| moved < all_synced);
            assert!(is_placed, "{}: {layer} may be where it was", self.work);
        }
    }

    /// After which event a commit is whole whose last frame begins here: the page is written next.
    fn end_of_commit(&self, number: usize) -> usize {
        let is_page = |event: &Event| matches!(event, Event::Write { path, .. } if path == self.database.log());
        let page = self.events[number + 1..].iter().position(is_page).unwrap();
        number + 1 + page + 1
    }

    /// The names of a path below one of the store's directories.
    fn below(&self, path: &Path, directory: &str) -> Option<Vec<String>> {
        let below = path.strip_prefix(self.home.join(directory)).ok()?;
        let names = below.iter().map(|name| name.to_string_lossy().into_owned());
        Some(names.collect::<Vec<_>>()).filter(|names| !names.is_empty())
    }
}
