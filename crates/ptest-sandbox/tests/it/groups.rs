//! Control groups: where this process may make some, and what becomes of the limits where it may not.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ptest_sandbox::{
    Error, LaunchOptions, Leftovers, Limits, Meter, Sandbox, Shape, Strength, cgroup,
};

use crate::support::{
    is_root, lacks, lacks_namespaces, launcher, marker, run, sh, shell, start_piped,
};

fn launch(id: &str, limits: Limits, allow_weaker_limits: bool) -> Result<Sandbox, Error> {
    let options = LaunchOptions {
        id: id.into(),
        limits,
        allow_weaker_limits,
        ..LaunchOptions::default()
    };
    launcher().launch(&Shape::default().plan().unwrap(), options)
}

fn all() -> Limits {
    Limits {
        memory: Some(256 << 20),
        cpus: Some(1000),
        processes: Some(100),
        ..Limits::default()
    }
}

/// A sandbox with every limit that a group holds, and the group's places; none where one of them needs a group that cannot
/// be had.
fn grouped() -> Option<(Sandbox, Vec<PathBuf>)> {
    if lacks_namespaces() {
        return None;
    }
    let id = format!("test-{}", marker());
    match launch(&id, all(), false) {
        Ok(sandbox) => {
            let mut places = cgroup::places(&id);
            places.retain(|place| place.exists());
            Some((sandbox, places))
        }
        Err(error) => {
            assert!(lacks("cgroup", false, &format!("{error:?}")));
            None
        }
    }
}

#[test]
fn in_a_group_every_limit_is_enforced_and_it_goes_with_the_sandbox() {
    let Some((sandbox, places)) = grouped() else {
        return;
    };
    let weak = |kept: &&ptest_sandbox::Kept| kept.strength != Strength::Enforced;
    let weak = sandbox.limits().iter().find(weak);
    if lacks("cgroup", weak.is_none(), &format!("{weak:?}")) {
        return;
    }
    assert!(!places.is_empty());
    assert_eq!(sandbox.usage().unwrap().memory_source, Meter::ControlGroup);
    sandbox.stop(Duration::ZERO).unwrap();
    let left: Vec<_> = places.iter().filter(|place| place.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Some controllers can be handed down beside processes, which makes what is below unfit for processes.
#[test]
fn each_limit_alone_can_be_had_wherever_this_process_is() {
    if lacks_namespaces() {
        return;
    }
    let alone = [
        Limits {
            memory: all().memory,
            ..Limits::default()
        },
        Limits {
            cpus: all().cpus,
            ..Limits::default()
        },
        Limits {
            processes: all().processes,
            ..Limits::default()
        },
    ];
    for limits in alone {
        let sandbox = launch(&format!("test-{}", marker()), limits, true).unwrap();
        assert_eq!(sh(&sandbox, "echo on"), "on");
    }
}

/// As systemd does, with all that is below its groups, when none of its own needs a controller any more.
#[test]
fn a_controller_that_a_limit_needs_cannot_be_taken_away() {
    if lacks("root", is_root(), "the groups around are root's") {
        return;
    }
    let Some((sandbox, places)) = grouped() else {
        return;
    };
    let second = |place: &&PathBuf| place.join("cgroup.type").exists();
    let Some(place) = places.iter().find(second) else {
        assert!(lacks("cgroup-v2", false, "there is no group of version 2"));
        return;
    };
    for controller in ["-cpu", "-memory", "-pids"] {
        let around = place.parent().unwrap().join("cgroup.subtree_control");
        let refused = fs::write(around, controller).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
    }
    drop(sandbox);
}

#[test]
fn without_a_group_memory_is_watched_and_what_only_a_group_holds_is_refused_with_a_hint() {
    if lacks_namespaces() {
        return;
    }
    let memory = Limits {
        memory: Some(64 << 20),
        ..Limits::default()
    };
    let sandbox = launch(&format!("test-{}", marker()), memory, false).unwrap();
    let is_watched = sandbox.limits()[0].strength == Strength::Watched;
    if lacks("no-cgroup", is_watched, "there are groups") {
        return;
    }
    assert_eq!(sandbox.usage().unwrap().memory_source, Meter::Processes);
    let refused = launch(&format!("test-{}", marker()), all(), false).unwrap_err();
    assert!(matches!(refused, Error::Limit { .. }), "{refused:?}");
    assert!(refused.hint().unwrap().contains("Delegate=yes"));
}

#[test]
fn a_group_that_nobody_uses_any_more_is_removed_by_its_id() {
    if lacks("root", is_root(), "only root has groups everywhere") {
        return;
    }
    let id = format!("test-{}", marker());
    let used = format!("{id}-used");
    let sandbox = launch(&used, all(), true).unwrap();
    let Some(place) = cgroup::places(&used)
        .into_iter()
        .find(|place| place.exists())
    else {
        assert!(lacks("cgroup", false, "there are no groups"));
        return;
    };
    let around = place.parent().unwrap();
    let group = |what: &str| around.join(format!("ptest-{id}-{what}"));
    for what in ["kept", "left", "left/inside"] {
        fs::create_dir(group(what)).unwrap();
    }
    for what in ["left", "used", "absent"] {
        cgroup::remove(&cgroup::places(&format!("{id}-{what}")));
    }
    assert_eq!(
        cgroup::places(&format!("../{id}-kept")),
        [""; 0].map(PathBuf::from)
    );
    let strange = around.join(format!("{id}-strange"));
    fs::create_dir(&strange).unwrap();
    cgroup::remove(std::slice::from_ref(&strange));
    fs::remove_dir(strange).unwrap();
    assert!(!group("left").exists());
    assert!(group("used").exists());
    fs::remove_dir(group("kept")).unwrap();
    drop(sandbox);
}

/// What is refused is counted where the process is that asked, in older kernels, and not where the limit is.
#[test]
fn a_refused_process_is_told() {
    let Some((sandbox, _)) = grouped() else {
        return;
    };
    let (bystander, mut output) = start_piped(&sandbox, &shell("echo ready; exec sleep 1000"));
    crate::support::read_line(&mut output);
    let mut command = shell("exec 2>/dev/null; for i in $(seq 150); do sleep 1000 & done; exit 3");
    command.leftovers = Leftovers::Kill;
    let output = run(&sandbox, &command);
    let struck = output.exit.struck.map(|struck| struck.limit);
    let is_told = struck == Some(ptest_sandbox::Limit::Pids);
    // An ordinary user's limit is one of the user namespace, which tells nobody.
    assert_eq!(is_told, is_root(), "{output:?}");
    drop(bystander);
}
