//! Random trees: one tree is one layer, a stack is what the plainest model says, and what is
//! copied out is what is seen.

use std::fs;

use proptest::prelude::*;

use ptest_store::{CommitOptions, LayerId, Manifest, Source, Stack};

use crate::support::tree::{
    Children, any_tree, chmod, flat, flat_view, merge, open_all, read, write,
};
use crate::support::{TestStore, assert_consistent};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn commit(test: &TestStore, tree: &Children, backwards: bool) -> LayerId {
    test.commit_upper(|root| write(root, tree, backwards)).id
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_manifest_says_what_the_tree_is(tree in any_tree(true)) {
        let test = TestStore::new();
        let id = commit(&test, &tree, false);
        let manifest = test.store.manifest(&id).unwrap();
        let said = manifest.entries().iter().map(|entry| {
            (entry.path.as_bytes().to_vec(), entry.kind.clone())
        });
        prop_assert_eq!(said.collect::<std::collections::BTreeMap<_, _>>(), flat(&tree));
        prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        assert_consistent(&test.store);
    }

    #[test]
    fn one_tree_is_one_layer_however_it_was_made(tree in any_tree(true)) {
        let test = TestStore::new();
        let one = commit(&test, &tree, false);
        let other_store = TestStore::new();
        let two = other_store.commit_upper(|root| {
            write(root, &tree, true);
            // Times of directories are not part of a layer.
            fs::File::open(root).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
            chmod(root, 0o700);
        });
        prop_assert_eq!(one, two.id);
    }

    #[test]
    fn a_stack_made_flat_shows_the_same(trees in prop::collection::vec(any_tree(true), 1..4)) {
        let test = TestStore::new();
        let stack: Stack = trees.iter().map(|tree| commit(&test, tree, false)).collect();
        let flat = test.store.flatten(&stack).unwrap();
        let shown = test.store.resolve(&Stack::new([flat.id])).unwrap();
        prop_assert_eq!(flat_view(&shown), flat_view(&test.store.resolve(&stack).unwrap()));
        prop_assert_eq!(test.store.flatten(&stack).unwrap().id, flat.id);
        let [one, two] = [("own", stack), ("flat", Stack::new([flat.id]))].map(|(name, stack)| {
            let place = test.outside(name);
            test.store.clone_tree(&stack, &place, None).unwrap();
            let tree = read(&place);
            open_all(&place);
            tree
        });
        prop_assert_eq!(one, two);
        assert_consistent(&test.store);
    }

    #[test]
    fn different_trees_are_different_layers(one in any_tree(true), two in any_tree(true)) {
        let test = TestStore::new();
        let same = commit(&test, &one, false) == commit(&test, &two, false);
        prop_assert_eq!(same, one == two);
    }

    #[test]
    fn a_stack_shows_what_the_model_shows(trees in proptest::collection::vec(any_tree(true), 1..5)) {
        let test = TestStore::new();
        let ids: Vec<LayerId> = trees.iter().map(|tree| commit(&test, tree, false)).collect();
        let stack = Stack::new(ids.iter().copied());
        let expected = trees.iter().fold(Children::new(), |below, tree| merge(&below, tree));
        let view = test.store.resolve(&stack).unwrap();
        prop_assert_eq!(flat_view(&view), flat(&expected));

        let place = test.outside("clone");
        test.store.clone_tree(&stack, &place, None).unwrap();
        prop_assert_eq!(read(&place), expected);
        assert_consistent(&test.store);
    }

    #[test]
    fn a_difference_turns_one_view_into_the_other(one in any_tree(false), two in any_tree(false)) {
        let test = TestStore::new();
        let stacks = [&one, &two].map(|tree| {
            let options = CommitOptions { source: Source::Plain, ..CommitOptions::default() };
            Stack::new([crate::support::commit(&test.store, options, |root| write(root, tree, false)).id])
        });
        let mut flat_one = flat(&one);
        for change in test.store.diff(&stacks[0], &stacks[1]).unwrap() {
            let path = change.path.as_bytes().to_vec();
            let before = match change.after {
                Some(kind) => flat_one.insert(path, kind),
                None => flat_one.remove(&path),
            };
            prop_assert_eq!(before, change.before);
        }
        prop_assert_eq!(flat_one, flat(&two));
    }
}
