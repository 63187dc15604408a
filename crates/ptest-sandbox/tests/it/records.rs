//! What a sandbox records of itself in a ring, and the list of its processes.

use std::fs::File;
use std::time::Duration;

use ptest_sandbox::ring::{self, Reader, Sample};
use ptest_sandbox::{LaunchOptions, Listed, Plan, Sandbox, Shape};

use crate::support::{
    eventually, lacks_namespaces, launcher, read_line, run, sh, shell, start, start_piped, tempdir,
};

/// A sandbox that records, and what reads it.
fn recorded(plan: &Plan) -> (Sandbox, Reader) {
    let directory = tempdir();
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    let path = directory.path().join("ring");
    let ring = ring::begin(options.open(&path).unwrap()).unwrap();
    let reader = Reader::new(File::open(&path).unwrap()).unwrap().unwrap();
    let options = LaunchOptions {
        ring: Some(ring),
        ..LaunchOptions::default()
    };
    (launcher().launch(plan, options).unwrap(), reader)
}

fn plans() -> Vec<Plan> {
    let mut plans = vec![Plan::bare()];
    if !lacks_namespaces() {
        plans.push(Shape::default().plan().unwrap());
    }
    plans
}

fn last(reader: &Reader) -> Option<Sample> {
    reader.after(0).unwrap().pop()
}

#[test]
fn what_a_command_uses_is_recorded_while_it_runs_and_when_nothing_runs_any_more() {
    for plan in plans() {
        let (sandbox, reader) = recorded(&plan);
        let (busy, mut output) = start_piped(&sandbox, &shell("echo; while :; do :; done"));
        read_line(&mut output);
        eventually("two samples of a busy command", || {
            reader.after(0).unwrap().len() > 1
        });
        let samples = reader.after(0).unwrap();
        assert!(samples[0].processes >= 1, "{samples:?}");
        assert!(samples[0].memory_bytes > 0, "{samples:?}");
        assert!(samples[1].cpu_time > samples[0].cpu_time, "{samples:?}");
        let apart = samples[1].time.saturating_sub(samples[0].time);
        assert!(apart >= Duration::from_millis(990), "{apart:?}");
        drop(busy);
        eventually("the last sample", || {
            last(&reader).is_some_and(|last| last.processes == 0 && last.memory_bytes == 0)
        });
        let before = last(&reader).unwrap();
        assert!(before.cpu_time >= samples[1].cpu_time);
        // Nobody wakes any more: nothing is added until something is done again.
        sandbox.stop(Duration::ZERO).unwrap();
        assert_eq!(last(&reader), Some(before));
    }
}

#[test]
fn what_a_short_command_has_used_is_recorded_when_the_sandbox_ends() {
    for plan in plans() {
        let (sandbox, reader) = recorded(&plan);
        let burn = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        assert_eq!(run(&sandbox, &shell(burn)).code(), 0);
        sandbox.stop(Duration::ZERO).unwrap();
        let last = last(&reader).unwrap();
        assert!(last.cpu_time > Duration::ZERO, "{last:?}");
        assert!(last.peak_memory_bytes > 0, "{last:?}");
        assert_eq!((last.processes, last.memory_bytes), (0, 0));
    }
}

#[test]
fn init_sleeps_where_nothing_runs_and_where_what_runs_does_nothing() {
    if lacks_namespaces() {
        return;
    }
    let (sandbox, reader) = recorded(&Shape::default().plan().unwrap());
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u32>().unwrap()
    };
    sh(&sandbox, "true");
    eventually("the record of a command that has ended", || {
        last(&reader).is_some_and(|last| last.processes == 0)
    });
    let at_rest = switches();
    // Another sandbox is the clock: while it records twice, this one would wake twice.
    let (clock, ticks) = recorded(&Plan::bare());
    let _busy = start(&clock, &shell("while :; do :; done"));
    eventually("two seconds", || ticks.after(0).unwrap().len() > 1);
    assert_eq!(switches(), at_rest);

    let _idle = start(&sandbox, &shell("exec sleep 1000"));
    eventually("the record of a sleeping command", || {
        last(&reader).is_some_and(|last| last.processes == 1)
    });
    let recorded = last(&reader).unwrap().sequence;
    let seen = ticks.after(0).unwrap().len();
    eventually("four seconds", || ticks.after(0).unwrap().len() > seen + 3);
    // One more at most, of what it did after it was seen first.
    assert!(last(&reader).unwrap().sequence <= recorded + 1);
}

#[test]
fn processes_are_listed_after_their_parents_and_can_be_signalled() {
    for plan in plans() {
        let sandbox = launcher().launch(&plan, LaunchOptions::default()).unwrap();
        assert_eq!(sandbox.processes().unwrap().processes, []);
        let script = "sleep 1000 & echo; wait; echo gone; sleep 1000";
        let (_run, mut output) = start_piped(&sandbox, &shell(script));
        read_line(&mut output);
        let list = || sandbox.processes().unwrap().processes;
        let is = |process: &Listed, words: &str| process.command == words;
        eventually("the sleeping child", || {
            list().iter().any(|process| is(process, "sleep 1000"))
        });
        let found = list();
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].command, format!("/bin/sh -c {script}"));
        assert_eq!(found[0].parent, None);
        assert_eq!(found[1].parent, Some(found[0].pid));
        assert!(found[1].memory_bytes > 0);
        // An id that has come again is another process.
        let other = Listed {
            started: found[1].started + 1,
            ..found[1].clone()
        };
        assert!(!sandbox.signal(&other, 9).unwrap());
        assert!(sandbox.signal(&found[1], 9).unwrap());
        assert_eq!(read_line(&mut output), "gone");
        assert!(!sandbox.signal(&found[1], 9).unwrap());
    }
}

#[test]
fn what_cannot_be_listed_is_counted() {
    if lacks_namespaces() {
        return;
    }
    let _alone = crate::support::crowd();
    let sandbox = launcher()
        .launch(&Shape::default().plan().unwrap(), LaunchOptions::default())
        .unwrap();
    let script = "i=0; while [ $i -lt 1010 ]; do sleep 1000 & i=$((i+1)); done; echo; wait";
    let (_run, mut output) = start_piped(&sandbox, &shell(script));
    read_line(&mut output);
    let listing = sandbox.processes().unwrap();
    assert_eq!((listing.processes.len(), listing.left_out), (1000, 11));
}
