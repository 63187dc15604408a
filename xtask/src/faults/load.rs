//! The load: workers that run one ptest after the other, and know what must be there when they are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::index;
use super::random::Random;
use crate::process::{self, Result};

/// How many work at the same time.
const WORKERS: usize = 8;

/// The program under test, and where it works.
pub(crate) struct Program {
    executable: PathBuf,
    uv: PathBuf,
    pub(crate) home: PathBuf,
    work: PathBuf,
}

impl Program {
    /// Works with a copy of the program: another build may replace it meanwhile.
    pub(crate) fn new(built: &Path, uv: PathBuf, scratch: &Path) -> Result<Self> {
        let executable = scratch.join("ptest");
        std::fs::copy(built, &executable)?;
        index::make(&scratch.join("index"))?;
        let work = scratch.join("work");
        std::fs::create_dir(&work)?;
        Ok(Self {
            executable,
            uv,
            home: scratch.canonicalize()?.join("store"),
            work,
        })
    }

    /// The program with these words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        let parent = self.work.with_file_name("index");
        command
            .args(words)
            .current_dir(&self.work)
            .env("PTEST_HOME", &self.home)
            .env("HOME", &self.work)
            .env("PTEST_UV", &self.uv)
            .env("PTEST_IMPROVE", "false")
            .env("PIP_NO_INDEX", "1")
            .env("PIP_FIND_LINKS", parent)
            .stdin(Stdio::null());
        command
    }
}

/// What is installed in an environment; `None` while there is none.
pub(crate) type Content = Option<BTreeSet<String>>;

/// One who makes, changes and removes environments and a snapshot that nobody else touches.
pub(crate) struct Worker {
    random: Random,
    /// What each of them must be: one of these, where a command was cut off.
    pub(crate) things: BTreeMap<String, Vec<Content>>,
}

/// Whether a thing is a snapshot, and not an environment.
pub(crate) fn is_snapshot(name: &str) -> bool {
    name.starts_with('s')
}

/// The workers.
pub(crate) struct Load<'a> {
    program: &'a Program,
    workers: Vec<Worker>,
    cut_off: usize,
}

/// One load that ended by a kill.
pub(crate) struct Round {
    /// How many commands came to their end.
    pub(crate) finished: usize,
    /// What was running when it was killed.
    pub(crate) killed: Vec<String>,
}

impl<'a> Load<'a> {
    pub(crate) fn new(program: &'a Program, random: &mut Random) -> Self {
        let worker = |number| Worker {
            random: random.branch(),
            things: ["a", "b", "s"]
                .map(|name| (format!("{name}{number}"), vec![None]))
                .into(),
        };
        Self {
            program,
            workers: (0..WORKERS).map(worker).collect(),
            cut_off: 0,
        }
    }

    /// Makes everything known once, so that a load does something in the time that it has.
    pub(crate) fn warm_up(&self) -> Result<()> {
        for package in index::NAMES {
            process::output(
                &mut self
                    .program
                    .command(&["run", "--no-pip", "--with", package, "true"]),
            )?;
        }
        Ok(())
    }

    pub(crate) fn workers_mut(&mut self) -> &mut [Worker] {
        &mut self.workers
    }

    /// How many commands were cut off so far.
    pub(crate) fn cut_off(&self) -> usize {
        self.cut_off
    }

    /// Lets all of them work until `moment`, and kills what runs then.
    pub(crate) fn run_and_kill(&mut self, moment: Duration) -> Result<Round> {
        let end = AtomicBool::new(false);
        let program = self.program;
        let ended: Vec<Result<(usize, Option<String>)>> = thread::scope(|scope| {
            let running: Vec<_> = self
                .workers
                .iter_mut()
                .map(|worker| scope.spawn(|| worker.work(program, &end)))
                .collect();
            thread::sleep(moment);
            end.store(true, Ordering::SeqCst);
            let joined = running.into_iter().map(|worker| match worker.join() {
                Ok(ended) => ended,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect()
        });
        let mut round = Round {
            finished: 0,
            killed: Vec::new(),
        };
        for ended in ended {
            let (finished, killed) = ended?;
            round.finished += finished;
            round.killed.extend(killed);
        }
        self.cut_off += round.killed.len();
        Ok(round)
    }
}

impl Worker {
    /// Runs commands until the end; gives how many ended by themselves, and the one that was killed.
    fn work(&mut self, program: &Program, end: &AtomicBool) -> Result<(usize, Option<String>)> {
        let mut finished = 0;
        while !end.load(Ordering::SeqCst) {
            let (words, name, after) = self.choose();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let mut command = program.command(&words);
            let child = command
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            // Until it says how it ended, both may be true.
            let known = self.things.entry(name).or_default();
            known.push(after);
            let Some((status, output)) = until(child, end)? else {
                return Ok((finished, Some(process::line(&command))));
            };
            if !status.success() {
                return Err(format!("{}: {status}\n{output}", process::line(&command)).into());
            }
            known.drain(..known.len() - 1);
            finished += 1;
        }
        Ok((finished, None))
    }

    /// A command, the thing that it changes, and what that is when the command has succeeded.
    fn choose(&mut self) -> (Vec<String>, String, Content) {
        let names: Vec<String> = self.things.keys().cloned().collect();
        let name = self.random.one_of(&names).clone();
        let now = self.things[&name].last().cloned().flatten();
        if is_snapshot(&name)
            && let Some(chosen) = self.choose_with_snapshot(&name, now.as_ref())
        {
            return chosen;
        }
        let environments: Vec<String> = names.into_iter().filter(|it| !is_snapshot(it)).collect();
        let name = self.random.one_of(&environments).clone();
        let now = self.things[&name].last().cloned().flatten();
        let package = (*self.random.one_of(&index::NAMES)).to_owned();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match (self.random.below(8), now) {
            // Mostly what is young stays: making things from what is known is quick, and is where a kill finds most.
            (0, now) if self.random.below(8) > 0 => (words(&["gc"]), name, now),
            (0, now) => (words(&["gc", "--older-than", "0s"]), name, now),
            (1, now) => {
                let run = ["run", "--no-pip", "--with", &package, "python", "-c"];
                let mut run: Vec<String> = words(&run);
                run.push(format!("import {package}"));
                (run, name, now)
            }
            (choice, None) => {
                let profile = if choice == 2 { "none" } else { "standard" };
                let create = [
                    "create",
                    &name,
                    "--no-pip",
                    "--profile",
                    profile,
                    "--with",
                    &package,
                ];
                let after = Some(BTreeSet::from([package.clone()]));
                (words(&create), name, after)
            }
            (2 | 3, Some(mut packages)) => {
                packages.insert(package.clone());
                (words(&["install", &name, &package]), name, Some(packages))
            }
            (4, Some(mut packages)) if packages.len() > 1 && packages.contains(&package) => {
                packages.remove(&package);
                (words(&["uninstall", &name, &package]), name, Some(packages))
            }
            (5, Some(_)) => (words(&["remove", &name]), name, None),
            (6, now) if self.random.below(3) == 0 => (words(&["improve"]), name, now),
            (6, now) => (words(&["deactivate", &name]), name, now),
            (7, now) if self.random.below(2) > 0 => (words(&["path", &name]), name, now),
            (_, now) => {
                let one = now.iter().flatten().next().cloned().unwrap_or_default();
                let mut exec: Vec<String> = words(&["exec", &name, "python", "-c"]);
                exec.push(format!("import {one}"));
                (exec, name, now)
            }
        }
    }
}

impl Worker {
    /// A command that takes, uses or removes a snapshot; `None` when there is nothing to take one of.
    fn choose_with_snapshot(
        &mut self,
        snapshot: &str,
        now: Option<&BTreeSet<String>>,
    ) -> Option<(Vec<String>, String, Content)> {
        let environments: Vec<(String, Content)> = self
            .things
            .iter()
            .filter(|(name, _)| !is_snapshot(name))
            .map(|(name, known)| (name.clone(), known.last().cloned().flatten()))
            .collect();
        let (environment, content) = self.random.one_of(&environments).clone();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let Some(kept) = now else {
            content.as_ref()?;
            let create = words(&["snapshot", "create", &environment, snapshot]);
            return Some((create, snapshot.to_owned(), content));
        };
        Some(match (self.random.below(4), content) {
            (0, _) => {
                let remove = words(&["snapshot", "remove", snapshot]);
                (remove, snapshot.to_owned(), None)
            }
            (_, Some(_)) => {
                let restore = words(&["snapshot", "restore", &environment, snapshot]);
                (restore, environment, Some(kept.clone()))
            }
            (_, None) => {
                let fork = words(&["fork", snapshot, &environment]);
                (fork, environment, Some(kept.clone()))
            }
        })
    }
}

/// How a child ended and what it said, or `None` when it was killed because the end had come.
fn until(mut child: Child, end: &AtomicBool) -> Result<Option<(ExitStatus, String)>> {
    // What cannot end holds everybody up: better to say so.
    let deadline = Instant::now() + Duration::from_mins(5);
    loop {
        if let Some(status) = child.try_wait()? {
            let output = child.wait_with_output()?;
            return Ok(Some((
                status,
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )));
        }
        if end.load(Ordering::SeqCst) {
            child.kill()?;
            let status = child.wait()?;
            // It may have been faster.
            return Ok(status.success().then(|| (status, String::new())));
        }
        if Instant::now() > deadline {
            child.kill()?;
            return Err("a command did not end within five minutes".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}
