//! A process killed between any two effects: what the next one finds.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use ptest_store::{CommitOptions, Error, Stack, Store, faults};

use crate::support::{again, assert_consistent, commit, names, tree};

fn sample(root: &Path) {
    fs::create_dir(root.join("d")).unwrap();
    for name in ["d/f", "g"] {
        fs::write(root.join(name), "x").unwrap();
        let file = fs::File::options()
            .write(true)
            .open(root.join(name))
            .unwrap();
        file.set_modified(tree::time(1_000)).unwrap();
    }
}

/// Every operation that writes, one after the other.
fn work(home: &Path) {
    let store = Store::open(home).unwrap();
    let layer = commit(&store, CommitOptions::default(), sample);
    commit(&store, CommitOptions::default(), |root| {
        fs::write(root.join("h"), "y").unwrap();
    });
    let stack = Stack::new([layer.id]);
    store.put_stack(&stack).unwrap();
    let env = store.dir("envs").unwrap().join("one");
    store.clone_tree(&stack, &env, None).unwrap();
    store.quarantine(&layer.id).unwrap();
    store.collect::<Error>(|_, _| Ok(false)).unwrap();
    store.trash(&env).unwrap();
}

/// Once with the store still to be made, once with the layer that the work makes already there.
#[test]
fn a_process_killed_at_any_step_leaves_nothing_that_is_served_wrong() {
    let name = "faults::a_process_killed_at_any_step_leaves_nothing_that_is_served_wrong";
    if let Some(argument) = again::argument() {
        let (step, home) = argument.split_once(' ').unwrap();
        faults::abort_at(step);
        return work(home.as_ref());
    }
    let expected = {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        commit(&store, CommitOptions::default(), sample).id
    };
    for step in faults::STEPS {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("störe");
        let output = again::test(name, &format!("{step} {}", home.display()))
            .output()
            .unwrap();
        // Each step is reached: a list that names one too many would test nothing there.
        assert_eq!(output.status.signal(), Some(6), "{step}: {output:?}");

        let store = Store::open(&home).unwrap();
        for layer in store.layers().unwrap() {
            // Served or refused, but never wrong.
            if let Ok(Some(_)) = store.layer(&layer.id) {
                let path = store.layer_path(&layer.id);
                let whole = names(&path) == ["d", "g"] || names(&path) == ["h"];
                assert!(whole, "{step}: {:?}", names(&path));
            }
        }
        // Before any recovery, the work can be done again.
        assert_eq!(
            commit(&store, CommitOptions::default(), sample).id,
            expected,
            "{step}"
        );
        assert!(store.stack_paths(&Stack::new([expected])).is_ok());

        store.recover().unwrap();
        assert_consistent(&store);
        let envs = store.dir("envs").unwrap();
        assert!(names(&envs).iter().all(|name| name == "one"), "{step}");
        if envs.join("one").exists() {
            assert_eq!(names(envs.join("one")), ["d", "g"], "{step}");
        }
        let emptied = store.empty_trash().unwrap();
        assert!(emptied.failed.is_empty());
        assert_eq!(names(home.join("trash")), Vec::<String>::new());
        let left: Vec<String> = names(&home)
            .into_iter()
            .filter(|name| name.contains("store.") || name.contains(".new-"))
            .collect();
        assert_eq!(left, Vec::<String>::new(), "{step}");
    }
}

#[test]
fn a_process_killed_before_recovery_is_finished_by_recovery_alone() {
    let name = "faults::a_process_killed_before_recovery_is_finished_by_recovery_alone";
    if let Some(argument) = again::argument() {
        let (step, home) = argument.split_once(' ').unwrap();
        let store = Store::open(home.as_ref()).unwrap();
        faults::abort_at(step);
        commit(&store, CommitOptions::default(), sample);
        return;
    }
    for (step, adopted, abandoned) in [
        ("stage.wrapper", 0, 1),
        ("commit.scanned", 0, 1),
        ("commit.applied", 0, 1),
        ("commit.manifest-staged", 0, 1),
        ("commit.tree-renamed", 1, 1),
        ("commit.manifest-renamed", 1, 1),
        ("commit.row", 0, 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let output = again::test(name, &format!("{step} {}", dir.path().display()))
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(6), "{step}: {output:?}");
        let recovered = store.recover().unwrap();
        assert_eq!(recovered.adopted.len(), adopted, "{step}");
        assert_eq!(recovered.abandoned, abandoned, "{step}");
        assert_consistent(&store);
    }
}

#[test]
fn an_upper_is_either_in_its_place_or_a_layer() {
    let name = "faults::an_upper_is_either_in_its_place_or_a_layer";
    if let Some(argument) = again::argument() {
        let (step, home) = argument.split_once(' ').unwrap();
        let store = Store::open(home.as_ref()).unwrap();
        let upper = store.dir("envs").unwrap().join("upper");
        fs::create_dir(&upper).unwrap();
        sample(&upper);
        // A file with a second name, which a commit gives contents of its own.
        fs::hard_link(upper.join("g"), upper.join("h")).unwrap();
        let staging = store.stage_existing(&upper).unwrap();
        faults::abort_at(step);
        store.commit(staging, CommitOptions::default()).unwrap();
        return;
    }
    for step in faults::STEPS
        .iter()
        .filter(|step| step.starts_with("commit."))
    {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let output = again::test(name, &format!("{step} {}", dir.path().display()))
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(6), "{step}: {output:?}");
        store.recover().unwrap();
        assert_consistent(&store);
        let upper = store.home().join("envs/upper");
        let layers = store.layers().unwrap();
        let place = match layers.as_slice() {
            [] => upper,
            [layer] => {
                assert!(!upper.exists(), "{step}");
                store.layer_path(&layer.id)
            }
            more => panic!("{more:?}"),
        };
        assert_eq!(names(place), ["d", "g", "h"], "{step}");
    }
}
