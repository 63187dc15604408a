//! Layers that are not what was committed: seen, never served, made again.

use std::fs;
use std::path::Path;
use std::process::Command;

use ptest_store::{Depth, Error, ErrorKind, Layer, Recovered, Stack, Store, Verdict};

use crate::support::{TestStore, assert_consistent, tree};

fn sample(root: &Path) {
    fs::create_dir(root.join("d")).unwrap();
    for name in ["d/a", "d/b", "c"] {
        fs::write(root.join(name), name).unwrap();
        let file = fs::File::options()
            .write(true)
            .open(root.join(name))
            .unwrap();
        file.set_modified(tree::time(1_000)).unwrap();
    }
}

fn assert_corrupt(store: &Store, layer: &Layer, depth: Depth, about: &str) {
    match store.verify(&layer.id, depth).unwrap() {
        Verdict::Corrupt { detail } => assert!(detail.contains(about), "{detail}"),
        Verdict::Sound => panic!("sound, though {about}"),
    }
}

#[test]
fn every_sort_of_damage_is_seen_and_named() {
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 8] = [
        ("a was added", |root| {
            fs::write(root.join("a"), "").unwrap();
        }),
        ("d/a is missing", |root| {
            fs::remove_file(root.join("d/a")).unwrap();
        }),
        ("e was added", |root| fs::write(root.join("e"), "").unwrap()),
        ("d/x was added", |root| {
            fs::write(root.join("d/x"), "").unwrap();
        }),
        ("c has another size", |root| {
            fs::write(root.join("c"), "longer").unwrap();
        }),
        ("c has another time", |root| {
            fs::write(root.join("c"), "c").unwrap();
        }),
        ("d has another mode", |root| {
            tree::chmod(&root.join("d"), 0o700);
        }),
        ("c is of another type", |root| {
            fs::remove_file(root.join("c")).unwrap();
            fs::create_dir(root.join("c")).unwrap();
        }),
    ];
    for (about, damage) in damages {
        let test = TestStore::new();
        let layer = test.commit(sample);
        damage(&test.store.layer_path(&layer.id));
        assert_corrupt(&test.store, &layer, Depth::Sampled, about);
        assert_corrupt(&test.store, &layer, Depth::Full, about);
    }
}

#[test]
fn contents_that_changed_behind_the_time_are_seen() {
    let test = TestStore::new();
    let layer = test.commit(sample);
    let path = test.store.layer_path(&layer.id).join("d/a");
    fs::write(&path, "d/X").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(tree::time(1_000)).unwrap();
    assert_corrupt(&test.store, &layer, Depth::Full, "d/a has other contents");
    // All of so few files are in the sample.
    assert_corrupt(
        &test.store,
        &layer,
        Depth::Sampled,
        "d/a has other contents",
    );
}

#[test]
fn a_damaged_or_swapped_manifest_is_seen() {
    let test = TestStore::new();
    let (one, two) = (test.commit(sample), test.commit(|_| {}));
    let path = |layer: &Layer| {
        test.store
            .home()
            .join("manifests")
            .join(layer.id.to_string())
    };
    fs::copy(path(&one), path(&two)).unwrap();
    assert_corrupt(&test.store, &two, Depth::Full, "it is the manifest of");
    assert_eq!(
        test.store.manifest(&two.id).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    fs::remove_file(path(&one)).unwrap();
    assert_corrupt(&test.store, &one, Depth::Full, "missing");
}

#[test]
fn a_row_without_its_directory_is_never_served() {
    let test = TestStore::new();
    let layer = test.commit(sample);
    fs::remove_dir_all(test.store.layer_path(&layer.id)).unwrap();
    let error = test.store.layer(&layer.id).unwrap_err();
    assert_eq!(error.layer(), Some(layer.id));
    let stack = Stack::new([layer.id]);
    assert!(test.store.stack_paths(&stack).is_err());
    assert!(
        test.store
            .clone_tree(&stack, &test.outside("x"), None)
            .is_err()
    );

    // It heals itself when the same tree is committed again.
    test.commit(sample);
    assert!(test.store.layer(&layer.id).unwrap().is_some());
    assert_consistent(&test.store);
}

#[test]
fn a_stack_with_an_unknown_layer_names_it() {
    let test = TestStore::new();
    let layer = test.commit(sample);
    let unknown = ptest_store::LayerId::from_bytes([9; 32]);
    let error = test
        .store
        .stack_paths(&Stack::new([layer.id, unknown]))
        .unwrap_err();
    assert!(matches!(error, Error::LayerMissing { id } if id == unknown));
}

#[test]
fn a_quarantined_layer_is_gone_and_can_be_made_again() {
    let test = TestStore::new();
    let layer = test.commit(sample);
    assert!(test.store.quarantine(&layer.id).unwrap());
    assert!(!test.store.quarantine(&layer.id).unwrap());
    assert_eq!(test.store.layer(&layer.id).unwrap(), None);
    assert_consistent(&test.store);
    assert_eq!(test.commit(sample).id, layer.id);
    assert_consistent(&test.store);
}

/// Makes the store believe that the machine has started again since everything was committed.
fn restart_machine(store: &Store) {
    store
        .database()
        .write::<_, Error>(|transaction| {
            transaction.execute("UPDATE layers SET boot = 'another'", [])?;
            Ok(())
        })
        .unwrap();
}

#[test]
fn after_a_restart_an_unsynced_layer_is_read_before_it_is_served() {
    let test = TestStore::new();
    let (good, bad) = (
        test.commit(sample),
        test.commit(|root| {
            fs::write(root.join("f"), "whole").unwrap();
        }),
    );
    // What a loss of power leaves of a file that was never synced.
    fs::write(test.store.layer_path(&bad.id).join("f"), "").unwrap();
    restart_machine(&test.store);

    let served = test.store.layer(&good.id).unwrap().unwrap();
    assert!(served.synced);
    assert!(
        test.store
            .layers()
            .unwrap()
            .iter()
            .any(|l| l.id == good.id && l.synced)
    );
    let error = test.store.layer(&bad.id).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let error = test
        .store
        .stack_paths(&Stack::new([good.id, bad.id]))
        .unwrap_err();
    assert_eq!(error.layer(), Some(bad.id));

    let again = test.commit(|root| fs::write(root.join("f"), "").unwrap());
    assert_ne!(again.id, bad.id);
    test.store.quarantine(&bad.id).unwrap();
    assert_consistent(&test.store);
}

#[test]
fn a_synced_layer_is_served_after_a_restart_as_it_is() {
    let test = TestStore::new();
    let layer = test.commit(sample);
    assert!(!layer.synced);
    assert_eq!(test.store.sync().unwrap(), 1);
    assert_eq!(test.store.sync().unwrap(), 0);
    restart_machine(&test.store);
    assert!(test.store.layer(&layer.id).unwrap().unwrap().synced);
}

#[test]
fn recovery_settles_what_was_left_in_between() {
    let test = TestStore::new();
    let layers = [0, 1, 2, 3, 4].map(|n: u8| {
        test.commit(|root| {
            sample(root);
            fs::write(root.join("n"), [n]).unwrap();
        })
    });
    let home = test.store.home().to_owned();
    let manifest = |n: usize| home.join("manifests").join(layers[n].id.to_string());
    let place = |n: usize| test.store.layer_path(&layers[n].id);
    let forget = |n: usize| {
        test.store
            .database()
            .write::<_, Error>(|transaction| {
                transaction.execute("DELETE FROM layers WHERE id = ?1", [layers[n].id])?;
                Ok(())
            })
            .unwrap();
    };
    // A sound tree that was not recorded yet, without and with its manifest.
    forget(0);
    fs::remove_file(manifest(0)).unwrap();
    forget(1);
    // A damaged tree that was not recorded yet.
    forget(2);
    fs::write(place(2).join("c"), "damage").unwrap();
    // A row without its tree, and one whose manifest can be made again.
    fs::remove_dir_all(place(3)).unwrap();
    fs::remove_file(manifest(4)).unwrap();
    // What a killed process was making.
    fs::create_dir_all(home.join("staging/abandoned/tree")).unwrap();
    // What is not the store's.
    fs::write(home.join("layers/notes.txt"), "mine").unwrap();
    let living = test.store.stage().unwrap();

    let recovered = test.reopened().recover().unwrap();
    let mut adopted = recovered.adopted.clone();
    adopted.sort_unstable();
    let mut expected = [0, 1, 4].map(|n| layers[n].id);
    expected.sort_unstable();
    assert_eq!(adopted, expected);
    assert_eq!(recovered.lost, [layers[3].id]);
    assert_eq!(recovered.strays, 1);
    assert_eq!(recovered.abandoned, 1);
    assert_eq!(recovered.foreign, [home.join("layers/notes.txt")]);
    assert!(living.path().exists());
    drop(living);
    fs::remove_file(home.join("layers/notes.txt")).unwrap();
    assert_consistent(&test.store);
    assert_eq!(test.store.recover().unwrap(), Recovered::default());
}

#[test]
fn only_a_layer_that_is_not_sound_is_taken_out_of_service() {
    let test = TestStore::new();
    let (good, bad) = (test.commit(sample), test.commit(|_| {}));
    fs::write(test.store.layer_path(&bad.id).join("planted"), "").unwrap();
    let quarantine = |layer: &Layer| test.store.quarantine_unless_sound(&layer.id).unwrap();
    assert_eq!(quarantine(&good), None);
    assert_eq!(quarantine(&bad).unwrap(), "planted was added");
    assert_eq!(quarantine(&bad), None);
    assert!(!test.store.is_known(&bad.id).unwrap());
    assert_eq!(test.store.layers().unwrap(), [good]);
    assert_consistent(&test.store);
}

#[test]
fn collection_removes_what_is_not_wanted_and_the_stacks_that_had_it() {
    let test = TestStore::new();
    let (keep, drop) = (test.commit(sample), test.commit(|_| {}));
    let kept = test.store.put_stack(&Stack::new([keep.id])).unwrap();
    let gone = test
        .store
        .put_stack(&Stack::new([keep.id, drop.id]))
        .unwrap();
    let collected = test
        .store
        .collect::<Error>(|_, mut layers| {
            layers.retain(|layer| layer.id != keep.id);
            Ok(layers)
        })
        .unwrap();
    assert_eq!(collected.layers, [drop]);
    assert_eq!(collected.stacks, 1);
    assert!(test.store.stack(&kept).is_ok());
    assert_eq!(
        test.store.stack(&gone).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(test.store.layer(&drop.id).unwrap(), None);
    assert_consistent(&test.store);
    // Whoever chose its layers before finds out when the stack is recorded, or when they are touched.
    let stack = Stack::new([keep.id, drop.id]);
    let error = test.store.put_stack(&stack).unwrap_err();
    assert!(matches!(error, Error::LayerMissing { id } if id == drop.id));
    assert_eq!(test.store.touch(stack.layers()).unwrap(), [keep.id]);
}

#[test]
fn a_collection_that_fails_removes_nothing() {
    let test = TestStore::new();
    test.commit(sample);
    let result = test.store.collect(|_, _| Err(Error::DamagedStack));
    assert!(result.is_err());
    assert_eq!(test.store.layers().unwrap().len(), 1);
    assert_consistent(&test.store);
}

#[test]
fn of_two_stores_one_is_made_by_copying_the_trees_of_the_other() {
    let (one, other) = (TestStore::new(), TestStore::new());
    let write = |root: &Path, text: &str| {
        fs::write(root.join("f"), text).unwrap();
        let file = fs::File::options().write(true).open(root.join("f"));
        file.unwrap().set_modified(tree::time(1_000)).unwrap();
    };
    let both = one.commit(|root| write(root, "both"));
    assert_eq!(other.commit(|root| write(root, "both")).id, both.id);
    let own = other.commit(|root| write(root, "other"));
    let damaged = other.commit(|root| write(root, "damaged"));
    fs::write(other.store.layer_path(&damaged.id).join("f"), "otherwise").unwrap();
    for directory in ["layers", "manifests"] {
        let mut copy = Command::new("cp");
        let from = other.store.home().join(directory).join(".");
        let copied = copy
            .arg("-a")
            .arg(from)
            .arg(one.store.home().join(directory));
        assert!(copied.status().unwrap().success());
    }
    let recovered = one.store.recover().unwrap();
    assert_eq!(recovered.adopted, [own.id]);
    assert_eq!(
        one.store.verify(&own.id, Depth::Full).unwrap(),
        Verdict::Sound
    );
    assert_eq!(
        one.store.verify(&both.id, Depth::Full).unwrap(),
        Verdict::Sound
    );
    assert!(!one.store.is_known(&damaged.id).unwrap());
    assert_consistent(&one.store);
}
