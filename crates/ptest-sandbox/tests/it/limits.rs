//! Limits, usage and freezing.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use ptest_sandbox::{LaunchOptions, Sandbox, Shape, Status, Stdio, Strength, cgroup};

use crate::support::{
    eventually, is_root, lacks, lacks_namespaces, launcher, null, read_line, run, shell, standard,
    start_piped,
};

fn limited(id: &str, limit: u64) -> Option<Sandbox> {
    if lacks_namespaces() {
        return None;
    }
    let options = || LaunchOptions {
        id: id.into(),
        process_limit: Some(limit),
        ..LaunchOptions::default()
    };
    let plan = Shape::default().plan().unwrap();
    match launcher().launch(&plan, options()) {
        Ok(sandbox) => Some(sandbox),
        Err(error) => {
            assert!(lacks("cgroup", false, &format!("{error:?}")));
            None
        }
    }
}

fn groups() -> Vec<String> {
    let roots = [
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/pids",
        "/sys/fs/cgroup/unified",
    ];
    let entries = roots
        .iter()
        .filter_map(|root| fs::read_dir(root).ok())
        .flatten()
        .flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn more_processes_than_the_limit_cannot_be_started() {
    let id = format!("test-{}", crate::support::marker());
    let Some(sandbox) = limited(&id, 20) else {
        return;
    };
    assert_eq!(sandbox.process_limit(), Strength::Enforced);
    let attempt = |count: u32| {
        let script =
            format!("exec 2>/dev/null; for i in $(seq {count}); do sleep 100 & echo started; done");
        let mut command = shell(script);
        command.leftovers = ptest_sandbox::Leftovers::Kill;
        run(&sandbox, &command).stdout.lines().count()
    };
    assert_eq!(attempt(10), 10);
    assert!(attempt(40) < 20);
    let is_there = || groups().iter().any(|name| name.contains(&id));
    assert_eq!(is_there(), is_root());
    sandbox.stop(Duration::ZERO).unwrap();
    assert!(!is_there());
}

#[test]
fn a_group_that_nobody_uses_any_more_is_removed_by_its_id() {
    let pids = Path::new("/sys/fs/cgroup/pids");
    if lacks("root", is_root(), "only root has groups")
        || lacks("cgroup", pids.exists(), "no v1 pids group")
    {
        return;
    }
    let id = format!("test-{}", crate::support::marker());
    let Some(sandbox) = limited(&format!("{id}-used"), 20) else {
        return;
    };
    let name = |what: &str| format!("ptest-{id}-{what}");
    for what in ["kept", "left"] {
        fs::create_dir(pids.join(name(what))).unwrap();
    }
    for what in ["left", "used", "absent"] {
        cgroup::remove(&format!("{id}-{what}"));
    }
    cgroup::remove(&format!("../{id}-kept"));
    assert!(!groups().contains(&name("left")));
    assert!(groups().contains(&name("used")));
    fs::remove_dir(pids.join(name("kept"))).unwrap();
    drop(sandbox);
}

#[test]
fn usage_counts_commands_and_their_time_and_memory() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    assert_eq!(sandbox.usage().unwrap().processes, 0);
    let (working, mut output) = start_piped(
        &sandbox,
        &shell("sleep 1000 & echo ready; while :; do :; done"),
    );
    read_line(&mut output);
    let usage = sandbox.usage().unwrap();
    assert_eq!(usage.processes, 2, "{usage:?}");
    assert!(usage.memory_bytes > 100_000, "{usage:?}");
    eventually("time passes", || {
        sandbox.usage().unwrap().cpu_time > usage.cpu_time
    });
    drop(working);
    eventually("all are gone", || sandbox.usage().unwrap().processes == 0);
    let after = sandbox.usage().unwrap();
    assert!(
        after.cpu_time > usage.cpu_time && after.peak_memory_bytes >= usage.memory_bytes,
        "{after:?}"
    );
}

#[test]
fn when_a_command_has_ended_nothing_of_it_counts() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    for _ in 0..300 {
        run(&sandbox, &shell("exit 0"));
        assert_eq!(sandbox.usage().unwrap().processes, 0);
    }
}

#[test]
fn frozen_processes_do_nothing_until_they_are_thawed() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    // One that starts others all the time.
    let script = "echo ready; while :; do /bin/true; done";
    let (run, mut output) = start_piped(&sandbox, &shell(script));
    read_line(&mut output);
    let frozen = sandbox.freeze().unwrap();
    let before = sandbox.usage().unwrap();
    for _ in 0..50 {
        assert_eq!(sandbox.usage().unwrap().cpu_time, before.cpu_time);
    }
    drop(frozen);
    eventually("it goes on", || {
        sandbox.usage().unwrap().cpu_time > before.cpu_time
    });
    assert_eq!(run.event(Some(Duration::ZERO)).unwrap(), None);
}

#[test]
fn what_was_stopped_before_stays_so_when_the_rest_goes_on() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    let script = "sleep 1000 & kill -STOP $!; until grep -q 'State:.T' /proc/$!/status; do :; done; echo; \
                  read line; grep State /proc/$!/status; kill -KILL $!";
    let (stdin, mut input) = std::io::pipe().unwrap();
    let (mut output, stdout) = std::io::pipe().unwrap();
    let null = null();
    let stdio = Stdio::Descriptors([stdin.as_fd(), stdout.as_fd(), null.as_fd()]);
    let run = sandbox.spawn(&shell(script), stdio).unwrap();
    read_line(&mut output);
    drop(sandbox.freeze().unwrap());
    input.write_all(b"go\n").unwrap();
    assert_eq!(read_line(&mut output), "State:\tT (stopped)");
    run.wait().unwrap();
}

#[test]
fn a_command_that_is_started_while_all_is_frozen_begins_when_it_is_not() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    let (first, second) = (sandbox.freeze().unwrap(), sandbox.freeze().unwrap());
    std::thread::scope(|scope| {
        let started = scope.spawn(|| run(&sandbox, &shell("exit 7")));
        drop(first);
        eventually("it is asked for", || sandbox.usage().is_ok());
        assert!(!started.is_finished());
        drop(second);
        assert_eq!(started.join().unwrap().exit.status, Status::Code(7));
    });
}
