//! Stacks that are served by other layers than their own.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use ptest_store::{Depth, Error, Layer, LayerId, Stack, StackId, Store, Verdict};

use crate::support::{TestStore, assert_consistent};

/// Two layers, of which the upper one changes and deletes what the lower one has.
fn two_layers(test: &TestStore) -> Stack {
    let lower = test.commit(|root| {
        fs::create_dir(root.join("d")).unwrap();
        for name in ["d/kept", "d/changed", "gone"] {
            fs::write(root.join(name), name).unwrap();
        }
    });
    let upper = test.commit_upper(|root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/changed"), "otherwise").unwrap();
        crate::support::tree::whiteout(&root.join("gone"));
    });
    Stack::new([lower.id, upper.id])
}

fn serve(store: &Store, stack: &StackId, by: &Stack) -> Result<(), Error> {
    store
        .database()
        .write(|transaction| by.serve(transaction, stack))
}

fn collect(store: &Store, ids: &[LayerId]) {
    let choose = |_: &_, layers: Vec<Layer>| {
        Ok::<_, Error>(
            layers
                .into_iter()
                .filter(|it| ids.contains(&it.id))
                .collect(),
        )
    };
    store.collect(choose).unwrap();
}

#[test]
fn a_flat_layer_has_further_names_of_the_same_files_and_takes_no_room() {
    let test = TestStore::new();
    let stack = two_layers(&test);
    let flat = test.store.flatten(&stack).unwrap();
    assert_eq!(flat.bytes, 0);
    let tree = test.store.layer_path(&flat.id);
    let [lower, upper] = [0, 1].map(|index| test.store.layer_path(&stack.layers()[index]));
    for (name, source) in [("d/kept", &lower), ("d/changed", &upper)] {
        let same = fs::metadata(source.join(name)).unwrap().ino();
        assert_eq!(fs::metadata(tree.join(name)).unwrap().ino(), same, "{name}");
    }
    assert!(!tree.join("gone").exists());
    for id in stack.layers().iter().chain([&flat.id]) {
        assert_eq!(test.store.verify(id, Depth::Full).unwrap(), Verdict::Sound);
    }
    assert_consistent(&test.store);
}

#[test]
fn a_stack_is_served_by_what_was_said_and_stays_what_it_is() {
    let test = TestStore::new();
    let stack = two_layers(&test);
    let own = test.store.stack_paths(&stack).unwrap();
    assert_eq!(test.store.serving_paths(&stack).unwrap(), own);
    let flat = test.store.flatten(&stack).unwrap().id;
    serve(&test.store, &stack.id(), &Stack::new([flat])).unwrap();
    let store = test.reopened();
    assert_eq!(
        store.serving_paths(&stack).unwrap(),
        [store.layer_path(&flat)]
    );
    assert_eq!(store.stack_paths(&stack).unwrap(), own);
    let nobody = LayerId::from_bytes([7; 32]);
    let refused = serve(&store, &stack.id(), &Stack::new([nobody])).unwrap_err();
    assert_eq!(refused.layer(), Some(nobody));
    assert_eq!(
        store.serving_paths(&stack).unwrap(),
        [store.layer_path(&flat)]
    );
}

#[test]
fn a_stack_serves_itself_when_what_served_it_is_collected_or_damaged() {
    let test = TestStore::new();
    let stack = two_layers(&test);
    let own = test.store.stack_paths(&stack).unwrap();
    let serve_flat = || {
        let flat = test.store.flatten(&stack).unwrap().id;
        serve(&test.store, &stack.id(), &Stack::new([flat])).unwrap();
        flat
    };
    collect(&test.store, &[serve_flat()]);
    assert_eq!(test.store.serving_paths(&stack).unwrap(), own);
    let again = serve_flat();
    fs::remove_dir_all(test.store.layer_path(&again)).unwrap();
    assert_eq!(test.store.serving_paths(&stack).unwrap(), own);
    test.store.quarantine(&again).unwrap();

    // Nor does a stack that is forgotten leave what served it.
    test.store.put_stack(&stack).unwrap();
    serve_flat();
    collect(&test.store, &stack.layers()[..1]);
    let serving = |connection: &_| Stack::serving(connection, &stack.id());
    assert_eq!(test.store.database().read(serving).unwrap(), None);
    assert_consistent(&test.store);
}
