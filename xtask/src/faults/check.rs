//! What must hold after a kill, seen by fresh ptest processes and by a look at the store's files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ptest_testkit::leftovers::{Leftovers, Scope};
use serde_json::Value;

use super::load::{Content, Program, Worker, is_snapshot};
use super::random::Random;
use crate::process::{self, Result};

/// How long killed processes may take to take theirs with them.
const SETTLING: Duration = Duration::from_secs(20);

/// States in which no operation is under way.
const AT_REST: [&str; 3] = ["created", "active", "inactive"];

/// Looks at one store.
pub(crate) struct Check<'a> {
    program: &'a Program,
    scope: Scope,
    /// What was there before.
    before: Leftovers,
}

/// An environment, as `list` has it.
struct Listed {
    id: String,
    name: String,
    state: String,
}

impl<'a> Check<'a> {
    pub(crate) fn new(program: &'a Program) -> Result<Self> {
        let scope = Scope {
            roots: vec![program.home.clone()],
            run: None,
        };
        let before = Leftovers::find(&scope)?;
        Ok(Self {
            program,
            scope,
            before,
        })
    }

    /// Fails for the first thing that is not as it must be.
    pub(crate) fn everything(&self, workers: &mut [Worker]) -> Result<()> {
        if !self.program.home.join("ptest.db").exists() {
            return Ok(());
        }
        // The first to open the store puts it right.
        let listed = self.settled()?;
        let damaged = self.json(&["verify", "--store"])?;
        for layer in damaged["damaged"].as_array().into_iter().flatten() {
            if layer["outcome"] == "failed" {
                return Err(format!("a layer could not be made again: {layer}").into());
            }
        }
        for worker in workers {
            for (name, possible) in &mut worker.things {
                let found = if is_snapshot(name) {
                    self.kept(name)?
                } else {
                    self.content(&listed, name)?
                };
                if !possible.contains(&found) {
                    return Err(format!("{name} is {found:?}, and not {possible:?}").into());
                }
                *possible = vec![found];
            }
        }
        self.nothing_is_left(&listed)
    }

    /// Takes everything away, after which there must be nothing.
    pub(crate) fn empty(&self, workers: &mut [Worker]) -> Result<()> {
        process::output(&mut self.program.command(&["remove", "--all"]))?;
        for worker in workers {
            for possible in worker.things.values_mut() {
                *possible = vec![None];
            }
        }
        for snapshot in self.snapshots()? {
            let name = snapshot["name"].as_str().unwrap_or_default();
            process::output(&mut self.program.command(&["snapshot", "remove", name]))?;
        }
        process::output(&mut self.program.command(&["gc", "--older-than", "0s"]))?;
        for directory in ["layers", "manifests", "caches", "envs"] {
            let left = names(&self.program.home.join(directory))?;
            if !left.is_empty() {
                return Err(format!("{directory} still holds {left:?}").into());
            }
        }
        self.nothing_is_left(&[])
    }

    /// Does to the layers that are not synced what a loss of power may do: a file of theirs is empty. Gives how many layers
    /// it did that to. Those of the last seconds count as not synced, as on a disk slower than this machine's.
    pub(crate) fn lose_power(&self, random: &mut Random) -> Result<usize> {
        const SCRIPT: &str = r#"
import os, random, sqlite3, sys
home, seed = sys.argv[1:]
random.seed(int(seed))
if not os.path.exists(f"{home}/ptest.db"):
    print(0)
    sys.exit()
database = sqlite3.connect(f"{home}/ptest.db")
# Not of what commands wrote: a snapshot waits for the disk.
written = "SELECT value FROM pins, json_each(pins.written)"
database.execute(
    f"UPDATE layers SET synced = 0 WHERE created_at >= unixepoch() - 3 AND lower(hex(id)) NOT IN ({written})"
)
lost = 0
for (layer,) in database.execute("SELECT id FROM layers WHERE NOT synced").fetchall():
    if random.random() < 0.5:
        continue
    files = [f"{home}/manifests/{layer.hex()}"]
    for directory, _, names in os.walk(f"{home}/layers/{layer.hex()}"):
        files += [f"{directory}/{name}" for name in names]
    files = [name for name in files if not os.path.islink(name) and os.path.getsize(name)]
    os.truncate(random.choice(files), 0)
    lost += 1
database.execute("UPDATE layers SET boot = 'before the loss'")
database.commit()
print(lost)
"#;
        let seed = random.below(1 << 30).to_string();
        let lost = process::output(
            Command::new("python3")
                .args(["-I", "-c", SCRIPT])
                .arg(&self.program.home)
                .arg(seed),
        )?;
        Ok(lost.parse()?)
    }

    /// Waits for a moment: what a killed ptest was just starting holds its locks until it is executed, and whoever opens
    /// the store meanwhile must take the operation for one that goes on.
    fn settled(&self) -> Result<Vec<Listed>> {
        let deadline = Instant::now() + SETTLING;
        loop {
            match self.listed() {
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                listed => return listed,
            }
        }
    }

    fn listed(&self) -> Result<Vec<Listed>> {
        let list = self.json(&["list"])?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut listed = Vec::new();
        for environment in list["environments"].as_array().into_iter().flatten() {
            let state = text(&environment["state"]);
            if !AT_REST.contains(&state.as_str()) {
                return Err(format!("half done: {environment}").into());
            }
            // What `run` makes has no name, and its owner is dead.
            if environment["name"].is_null() {
                return Err(format!("left over: {environment}").into());
            }
            listed.push(Listed {
                id: text(&environment["id"]),
                name: text(&environment["name"]),
                state,
            });
        }
        Ok(listed)
    }

    /// What an environment is, whole as it must be.
    fn content(&self, listed: &[Listed], name: &str) -> Result<Content> {
        if listed.iter().all(|one| one.name != name) {
            return Ok(None);
        }
        let verification = self.json(&["verify", name])?;
        if verification["whole"] != true {
            return Err(format!("{name} is not whole: {verification}").into());
        }
        let packages = self.json(&["packages", name])?;
        let names = packages["packages"].as_array().into_iter().flatten();
        let names = names.filter_map(|package| package["name"].as_str());
        Ok(Some(names.map(str::to_owned).collect()))
    }

    /// What a snapshot keeps.
    fn kept(&self, name: &str) -> Result<Content> {
        let snapshots = self.snapshots()?;
        let Some(snapshot) = snapshots.iter().find(|one| one["name"] == name) else {
            return Ok(None);
        };
        let distributions = snapshot["distributions"].as_array().into_iter().flatten();
        let names = distributions.filter_map(|one| one["name"].as_str());
        Ok(Some(names.map(str::to_owned).collect()))
    }

    fn snapshots(&self) -> Result<Vec<Value>> {
        let list = self.json(&["snapshot", "list"])?;
        Ok(list["snapshots"].as_array().cloned().unwrap_or_default())
    }

    fn nothing_is_left(&self, listed: &[Listed]) -> Result<()> {
        for one in listed.iter().filter(|one| one.state == "active") {
            process::output(&mut self.program.command(&["deactivate", &one.name]))?;
        }
        // Recovers and tidies, and leaves what is young.
        process::output(&mut self.program.command(&["gc"]))?;
        let home = &self.program.home;
        let ids: BTreeSet<String> = listed.iter().map(|one| one.id.clone()).collect();
        let expected = [
            ("envs", ids.clone()),
            ("staging", BTreeSet::new()),
            ("trash", BTreeSet::new()),
            ("manifests", names(&home.join("layers"))?),
        ];
        for (directory, expected) in expected {
            let found = names(&home.join(directory))?;
            if found != expected {
                return Err(format!("{directory} holds {found:?}, not {expected:?}").into());
            }
        }
        let views = names(&home.join("views"))?;
        for view in &views {
            if listed.iter().all(|one| one.name != *view) {
                return Err(format!("the view {view} is of no environment").into());
            }
            let broken = process::output(
                Command::new("find")
                    .arg("-L")
                    .arg(home.join("views").join(view))
                    .args(["-type", "l"]),
            )?;
            if !broken.is_empty() {
                return Err(format!("the view {view} leads to what is gone: {broken}").into());
            }
        }
        let deadline = Instant::now() + SETTLING;
        loop {
            let left = Leftovers::find(&self.scope)?.since(&self.before);
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("left over:\n{left}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The report of a command that may have findings.
    fn json(&self, words: &[&str]) -> Result<Value> {
        let mut command = self.program.command(words);
        command.args(["--format", "json"]);
        let output = command.output()?;
        if !matches!(output.status.code(), Some(0 | 1)) {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {}\n{said}", process::line(&command), output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// The names in a directory, which may not be there yet.
fn names(directory: &Path) -> Result<BTreeSet<String>> {
    if !directory.exists() {
        return Ok(BTreeSet::new());
    }
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}
