//! The limit of a disk, held by the kernel: directories in a project with a quota.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use ptest_sandbox::profile::{ENVIRONMENT, HOME, Home, Stack};
use ptest_sandbox::{
    Disk, LaunchOptions, Limit, Limits, Sandbox, Shape, Strength, Struck, Upper, quota,
};

use crate::support::{is_root, lacks, lacks_overlays, launcher, run, sh, shell, tempdir};

const LIMIT: u64 = 8 << 20;

/// An environment's directories: a layer, an upper and a home.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempdir();
        for name in ["layer/lib", "upper", "work", "home"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join("layer/lib/file"), "old").unwrap();
        fs::write(root.path().join("home/.config"), "seed").unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn launch(&self, bytes: u64) -> Sandbox {
        let shape = Shape {
            environment: Some(Stack {
                lowers: vec![self.path("layer")],
                upper: Some(Upper {
                    directory: self.path("upper"),
                    work: self.path("work"),
                }),
            }),
            home: Home::Directory(self.path("home")),
            ..Shape::default()
        };
        let options = LaunchOptions {
            limits: Limits {
                disk: Some(Disk {
                    bytes,
                    directories: ["upper", "work", "home"].map(|name| self.path(name)).into(),
                    project: Some(self.path("project")),
                }),
                ..Limits::default()
            },
            ..LaunchOptions::default()
        };
        launcher().launch(&shape.plan().unwrap(), options).unwrap()
    }
}

/// Whether the kernel can hold such a limit on the disk of temporary files, as the table of mounts says.
fn has_quotas() -> bool {
    let device = fs::metadata(std::env::temp_dir()).unwrap().dev();
    let device = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let counts = mounts.lines().any(|line| {
        let mut options = line.rsplit(' ').next().unwrap_or_default().split(',');
        line.split(' ').nth(2) == Some(&device)
            && options.any(|one| ["prjquota", "pquota"].contains(&one))
    });
    let users = fs::read_to_string("/proc/self/uid_map").unwrap();
    let is_machines = users.split_whitespace().eq(["0", "0", "4294967295"]);
    counts && is_root() && is_machines
}

fn lacks_quotas() -> bool {
    let reason = "no project quotas can be set on the disk of temporary files";
    lacks("quota", has_quotas(), reason) || lacks_overlays()
}

fn strength(sandbox: &Sandbox) -> Strength {
    sandbox.limits()[0].strength
}

#[test]
fn what_is_written_beyond_the_quota_is_refused_and_the_limit_named() {
    if lacks_quotas() {
        return;
    }
    let place = Place::new();
    let sandbox = place.launch(LIMIT);
    assert_eq!(strength(&sandbox), Strength::Enforced);
    let within = run(
        &sandbox,
        &shell(format!("head -c 3000000 /dev/zero > {ENVIRONMENT}/some")),
    );
    assert_eq!((within.code(), within.exit.struck), (0, None), "{within:?}");

    // The home and the environment have one limit together.
    let beyond = run(
        &sandbox,
        &shell(format!("LC_ALL=C head -c 20000000 /dev/zero > {HOME}/much")),
    );
    assert_ne!(beyond.code(), 0, "{beyond:?}");
    let struck = Struck {
        limit: Limit::Disk,
        configured: LIMIT,
        reached: LIMIT,
        ended: false,
    };
    assert_eq!(beyond.exit.struck, Some(struck), "{beyond:?}");
    let written = fs::metadata(place.path("home/much")).unwrap().blocks() * 512
        + fs::metadata(place.path("upper/some")).unwrap().blocks() * 512;
    assert!((LIMIT - 100_000..=LIMIT).contains(&written), "{written}");

    // Nobody is told of it who does not want more.
    let reader = run(&sandbox, &shell(format!("ls {HOME}; sleep 0.2")));
    assert_eq!(reader.exit.struck, None, "{reader:?}");
    let writer = run(&sandbox, &shell(format!("echo more > {HOME}/more")));
    assert_eq!(writer.exit.struck, Some(struck), "{writer:?}");

    let freed = run(
        &sandbox,
        &shell(format!(
            "rm {HOME}/much; head -c 3000000 /dev/zero > {HOME}/some"
        )),
    );
    assert_eq!((freed.code(), freed.exit.struck), (0, None), "{freed:?}");
}

#[test]
fn files_are_moved_and_replaced_as_without_a_quota() {
    if lacks_quotas() {
        return;
    }
    let place = Place::new();
    let sandbox = place.launch(LIMIT);
    assert_eq!(strength(&sandbox), Strength::Enforced);
    let script = format!(
        "set -e; cd {ENVIRONMENT}; echo more >> lib/file; mv lib/file lib/moved; ln lib/moved lib/second
         mkdir -p new/deep; mv lib/moved new/deep; mv new/deep .; ln -s deep link; mv -T link other
         rm -r lib; mkdir lib; echo again > lib/file; cat deep/moved
         cd {HOME}; mv .config renamed; mkdir d; mv renamed d; cat d/renamed"
    );
    assert_eq!(sh(&sandbox, &script), "oldmore\nseed");
    sandbox.stop(Duration::ZERO).unwrap();
    // And again, now that there is something.
    let sandbox = place.launch(LIMIT);
    assert_eq!(strength(&sandbox), Strength::Enforced);
    let script =
        format!("cd {ENVIRONMENT}; mv other link; mv deep lib; cat lib/file lib/deep/moved");
    assert_eq!(sh(&sandbox, &script), "again\noldmore");
}

#[test]
fn a_limit_is_changed_and_lifted() {
    if lacks_quotas() {
        return;
    }
    let place = Place::new();
    let file = place.path("home/file");
    // By who is exempt: the limit is then too small for what is there.
    place.launch(LIMIT).stop(Duration::ZERO).unwrap();
    fs::write(&file, vec![1; 4 << 20]).unwrap();
    let append = shell(format!("head -c 1000000 /dev/zero >> {HOME}/file"));
    let code = |sandbox: &Sandbox| run(sandbox, &append).code();
    let sandbox = place.launch(4 << 20);
    assert_ne!(code(&sandbox), 0);
    assert_eq!(strength(&sandbox), Strength::Enforced);
    sandbox.stop(Duration::ZERO).unwrap();
    assert_eq!(code(&place.launch(LIMIT)), 0);
    let sandbox = place.launch(4 << 20);
    assert_ne!(code(&sandbox), 0);
    quota::lift(&place.path("project")).unwrap();
    assert_eq!(code(&sandbox), 0);
}

#[test]
fn a_tree_that_is_let_go_counts_no_more() {
    if lacks_quotas() {
        return;
    }
    let place = Place::new();
    let fill = |sandbox: &Sandbox| {
        let script = format!(
            "cd {ENVIRONMENT}; mkdir -p a/b; ln -s a link; head -c 6000000 /dev/zero > a/b/file"
        );
        run(sandbox, &shell(script)).code()
    };
    let sandbox = place.launch(LIMIT);
    assert_eq!(fill(&sandbox), 0);
    sandbox.stop(Duration::ZERO).unwrap();
    for name in ["upper", "work"] {
        fs::rename(place.path(name), place.path(&format!("{name}.old"))).unwrap();
        fs::create_dir(place.path(name)).unwrap();
    }
    let sandbox = place.launch(LIMIT);
    assert_ne!(fill(&sandbox), 0, "what is elsewhere still counts");
    sandbox.stop(Duration::ZERO).unwrap();
    quota::let_go(&place.path("upper.old"));
    quota::let_go(&place.path("work.old"));
    let sandbox = place.launch(LIMIT);
    assert_eq!(fill(&sandbox), 0);
    assert_eq!(strength(&sandbox), Strength::Enforced);
    // And it is of no project: it can be moved anywhere.
    fs::create_dir(place.path("other")).unwrap();
    fs::rename(place.path("upper.old/a/b"), place.path("other/b")).unwrap();
}

#[test]
fn what_was_used_without_a_project_is_watched_and_so_is_what_is_in_anothers() {
    if lacks_quotas() {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.path("upper/directory")).unwrap();
    assert_eq!(strength(&place.launch(LIMIT)), Strength::Watched);
    assert!(!place.path("project").exists());

    let outer = Place::new();
    outer.launch(LIMIT).stop(Duration::ZERO).unwrap();
    let inner = outer.path("home/inner");
    fs::create_dir(&inner).unwrap();
    let inner = Place {
        root: tempfile::tempdir_in(inner).unwrap(),
    };
    for name in ["layer", "upper", "work", "home"] {
        fs::create_dir(inner.path(name)).unwrap();
    }
    assert_eq!(strength(&inner.launch(LIMIT)), Strength::Watched);
    // As is what is larger than its disk.
    assert_eq!(strength(&Place::new().launch(1 << 60)), Strength::Watched);
}

#[test]
fn no_two_projects_share_what_they_may_hold() {
    if lacks_quotas() {
        return;
    }
    let (one, other) = (Place::new(), Place::new());
    let fill = |place: &Place| {
        let sandbox = place.launch(LIMIT);
        assert_eq!(strength(&sandbox), Strength::Enforced);
        let script = format!("head -c 6000000 /dev/zero > {HOME}/file");
        run(&sandbox, &shell(script)).code()
    };
    assert_eq!((fill(&one), fill(&other)), (0, 0));
    // A copy of all files is no claim on what they had.
    let copy = Place::new();
    fs::copy(one.path("project"), copy.path("project")).unwrap();
    assert_eq!(fill(&copy), 0);
}

#[test]
fn where_there_are_no_quotas_for_this_user_a_limit_is_watched_and_nothing_left() {
    if lacks("no-quota", !has_quotas(), "quotas can be set here") || lacks_overlays() {
        return;
    }
    let place = Place::new();
    assert_eq!(strength(&place.launch(LIMIT)), Strength::Watched);
    assert!(!place.path("project").exists());
}
