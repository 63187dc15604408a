//! What comes and goes thousands of times, and many at once: nothing stays, and nobody is harmed by another.
//!
//! `PTEST_TEST_CYCLES` and `PTEST_TEST_CROWD` make the tests longer: docs/reliability.md says how long they were once.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use ptest::engine::{Command, Exit, ExitStatus, Stdio};
use ptest::progress::Silent;
use ptest::settings::{Limit, Limits, Profile};
use ptest::variables::Variables;
use ptest::{Environment, EnvironmentSpec, Lifetime, Ptest};
use ptest_testkit::{require, requirement};

use crate::context::{open, spec};

fn how_many(variable: &str, usual: usize) -> usize {
    let asked = std::env::var(variable).ok();
    asked.map_or(usual, |text| text.parse().unwrap())
}

fn null() -> OwnedFd {
    let opened = File::options().read(true).write(true).open("/dev/null");
    opened.unwrap().into()
}

fn run(environment: &Environment, script: &str) -> Exit {
    let command = Command {
        arguments: ["sh", "-c", script].map(Into::into).to_vec(),
        working_directory: None,
        caller: [("PATH".into(), "/usr/bin:/bin".into())].into(),
        variables: Variables::new(),
        stdio: Stdio::Descriptors {
            stdin: null(),
            stdout: null(),
            stderr: null(),
        },
        timeout: Some(Duration::from_mins(2)),
        grace: Duration::ZERO,
    };
    let process = environment.spawn(command).unwrap();
    environment.wait(&process).unwrap()
}

/// What this process and its store hold of the machine.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: usize,
    mounts: usize,
    children: usize,
    environments: usize,
}

impl Held {
    /// Once the threads that were joined are gone: the kernel shows one for a moment longer.
    fn at_rest(store: &Path) -> Self {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let held = Self::now(store);
            // Those of a test program that runs one test: its own and the test's.
            if held.threads <= 2 || Instant::now() > deadline {
                return held;
            }
            std::thread::yield_now();
        }
    }

    fn now(store: &Path) -> Self {
        let count = |path: &str| fs::read_dir(path).unwrap().count();
        let own = std::process::id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        Self {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            mounts: mounts.lines().count(),
            children: children.unwrap_or_default().split_whitespace().count(),
            environments: fs::read_dir(store.join("envs")).map_or(0, Iterator::count),
        }
    }
}

/// The names of the control groups that there are, whatever group they are in.
fn groups() -> Vec<String> {
    let all = walkdir::WalkDir::new("/sys/fs/cgroup").into_iter();
    all.filter_map(|entry| {
        let entry = entry.ok().filter(|entry| entry.file_type().is_dir())?;
        Some(entry.file_name().to_string_lossy().into_owned())
    })
    .collect()
}

/// Bytes that this process has of its own.
fn own_memory() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Private_Dirty:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .unwrap()
        << 10
}

fn limited(ptest: &Ptest, project: &Path, profile: Profile, limits: Limits) -> Environment {
    let mut spec: EnvironmentSpec = spec(project);
    // A test that fails leaves none behind.
    spec.lifetime = Lifetime::Process;
    spec.settings.profile = Some(profile);
    spec.settings.limits = limits;
    ptest.create(&spec, &Silent).unwrap()
}

/// In a process of its own: what other tests hold meanwhile would count.
#[test]
#[ignore = "run by the test beside it"]
fn cycles() {
    let cycles = how_many("PTEST_TEST_CYCLES", 150);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = directory.path().join("store");
    let ptest = open(&store);
    let limits = Limits {
        memory: Some(1 << 30),
        pids: Some(100),
        ..Limits::default()
    };
    let profiles = [Profile::Standard, Profile::Strict];
    let ids = std::cell::RefCell::new(Vec::new());
    let cycle = |number: usize| {
        let environment = limited(&ptest, directory.path(), profiles[number % 2], limits);
        assert_eq!(run(&environment, "exit 7").status, ExitStatus::Code(7));
        ids.borrow_mut().push(format!("ptest-{}", environment.id()));
        environment.remove().unwrap();
    };
    // What is made once is made by these, the first move of the database's log among it: SQLite keeps a descriptor of it for
    // the next.
    for number in 0..50 {
        cycle(number);
    }
    ptest.tidy(Duration::MAX).unwrap();
    let (before, memory) = (Held::at_rest(&store), own_memory());
    for number in 0..cycles {
        cycle(number);
    }
    ptest.tidy(Duration::MAX).unwrap();
    assert_eq!(Held::at_rest(&store), before);
    let grown = own_memory().saturating_sub(memory);
    assert!(grown < 4 << 20, "{grown} bytes more after {cycles} cycles");
    let trash = fs::read_dir(store.join("trash")).map_or(0, Iterator::count);
    assert_eq!(trash, 0);
    let groups = groups();
    let left = ids.borrow().iter().find(|id| groups.contains(id)).cloned();
    assert_eq!(left, None);
    println!("{cycles} cycles, {grown} bytes more");
}

#[test]
fn after_many_environments_the_process_and_the_machine_are_as_before() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "endurance::cycles", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("cycles, "),
        "{text}\n{words}"
    );
}

#[test]
fn one_that_takes_all_it_can_harms_no_other() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let crowd = how_many("PTEST_TEST_CROWD", 24);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ptest = open(&directory.path().join("store"));
    let limits = Limits {
        memory: Some(96 << 20),
        pids: Some(64),
        ..Limits::default()
    };
    let make = || {
        let environment = limited(&ptest, directory.path(), Profile::Standard, limits);
        environment.activate().unwrap();
        environment
    };
    let (bomber, others): (Environment, Vec<Environment>) =
        (make(), (1..crowd).map(|_| make()).collect());
    std::thread::scope(|scope| {
        let bombing = scope.spawn(|| {
            let memory = run(&bomber, "x=$(head -c 400000000 /dev/zero | tr '\\0' x)");
            let forks = run(
                &bomber,
                "bomb() { bomb | bomb & }; (bomb) 2>/dev/null; exec sleep 1",
            );
            (forks, memory)
        });
        // All of them, and again and again, for as long as it bombs.
        loop {
            for other in &others {
                assert_eq!(run(other, "exit 5").status, ExitStatus::Code(5));
            }
            if bombing.is_finished() {
                break;
            }
        }
        let (forks, memory) = bombing.join().unwrap();
        assert_eq!(forks.status, ExitStatus::Code(0), "{forks:?}");
        let struck = memory.struck.unwrap();
        assert_eq!((struck.limit, struck.ended), (Limit::Memory, true));
    });
    // It goes on too, once what is left of the bomb has been ended.
    bomber.deactivate(Duration::ZERO).unwrap();
    assert_eq!(run(&bomber, "exit 5").status, ExitStatus::Code(5));
    for environment in others.into_iter().chain([bomber]) {
        environment.remove().unwrap();
    }
}
