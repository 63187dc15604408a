//! A layer with one of its directories under another name.

use std::fs;
use std::path::Path;

use ptest_store::{Depth, Error, TreePath, Verdict};

use crate::support::{TestStore, assert_consistent};

fn path(name: &str) -> TreePath {
    TreePath::new(name.as_bytes()).unwrap()
}

fn tree(packages: &str) -> impl Fn(&Path) {
    move |root| {
        fs::create_dir_all(root.join(packages).join("deep")).unwrap();
        for name in ["f", "deep/f"] {
            let file = root.join(packages).join(name);
            fs::write(&file, name).unwrap();
            let file = fs::File::options().write(true).open(file).unwrap();
            file.set_modified(crate::support::tree::time(1_000))
                .unwrap();
        }
        fs::create_dir(root.join("lib/one-more")).unwrap();
    }
}

#[test]
fn what_is_moved_is_the_layer_that_would_have_been_made_there() {
    let test = TestStore::new();
    let old = test.commit(tree("lib/one"));
    let moved = test
        .store
        .moved(&old.id, &path("lib/one"), &path("lib/two"))
        .unwrap();
    for id in [old.id, moved.id] {
        assert_eq!(test.store.verify(&id, Depth::Full).unwrap(), Verdict::Sound);
    }
    assert_consistent(&test.store);
    assert_eq!(test.commit(tree("lib/two")).id, moved.id);
}

#[test]
fn what_is_not_there_is_not_moved_and_nothing_is_moved_onto_what_is_there() {
    let test = TestStore::new();
    let layer = test.commit(tree("lib/one"));
    for (from, to) in [("lib/none", "lib/two"), ("lib/one", "lib/one-more")] {
        let refused = test.store.moved(&layer.id, &path(from), &path(to));
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    }
}

#[test]
fn a_damaged_layer_is_not_moved() {
    let test = TestStore::new();
    let layer = test.commit(tree("lib/one"));
    let file = test.store.layer_path(&layer.id).join("lib/one/f");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "F").unwrap();
    let changed = fs::File::options().write(true).open(file).unwrap();
    changed.set_modified(time).unwrap();
    let refused = test
        .store
        .moved(&layer.id, &path("lib/one"), &path("lib/two"));
    assert!(
        matches!(refused, Err(Error::LayerCorrupt { .. })),
        "{refused:?}"
    );
}
