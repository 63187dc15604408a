//! Copies that are further names of a layer's files: only on request, never as root, and the layer
//! is not believed as long as there is one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use ptest_store::{CopyMethod, Error, Layer, Rewrite, Stack};

use crate::support::{TestStore, again, assert_consistent, is_root, tree};

fn fill(root: &Path) {
    for (name, contents) in [("script", "#!/ptest/env/bin/python\n"), ("data", "data")] {
        fs::write(root.join(name), contents).unwrap();
        let file = fs::File::options().write(true).open(root.join(name));
        file.unwrap().set_modified(tree::time(1_000)).unwrap();
    }
}

/// Runs a test of this file as an ordinary user if root runs it; says whether it did.
fn ran_as_ordinary_user(name: &str) -> bool {
    if is_root() {
        again::assert_success(&again::as_nobody(&[name]));
    }
    is_root()
}

/// A store that links, which one does not where files can share their contents.
fn store() -> Option<TestStore> {
    let test = TestStore::new();
    if test.store.copy_method().unwrap() == CopyMethod::Reflink {
        crate::support::skip(
            "no-reflink",
            "the temporary directory can do better than links",
        );
        return None;
    }
    Some(test)
}

fn link(test: &TestStore, layer: &Layer, name: &str) {
    let place = test.outside(name);
    let rewrite = Rewrite {
        from: b"/ptest/env",
        to: place.as_os_str().as_encoded_bytes(),
        select: &|_| None,
        finish: &|_, _| Ok(()),
    };
    let linked = test
        .store
        .link_tree(&Stack::new([layer.id]), &place, Some(rewrite))
        .unwrap();
    assert_eq!((linked.entries, linked.shared), (2, 1));
}

#[test]
fn root_gets_no_links() {
    if !is_root() {
        return crate::support::skip("root", "what root is refused an ordinary user is not");
    }
    let test = TestStore::new();
    let layer = test.commit(fill);
    let place = test.outside("linked");
    let refused = test
        .store
        .link_tree(&Stack::new([layer.id]), &place, None)
        .unwrap_err();
    assert!(matches!(refused, Error::LinksAsRoot));
    assert!(refused.hint().unwrap().contains("hard_links"));
    assert!(!place.exists());
}

#[test]
fn a_file_that_is_not_rewritten_is_the_layers_own() {
    if ran_as_ordinary_user("linked::a_file_that_is_not_rewritten_is_the_layers_own") {
        return;
    }
    let Some(test) = store() else { return };
    let layer = test.commit(fill);
    link(&test, &layer, "linked");
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let (place, original) = (test.outside("linked"), test.store.layer_path(&layer.id));
    assert_eq!(inode(&place.join("data")), inode(&original.join("data")));
    assert_ne!(
        inode(&place.join("script")),
        inode(&original.join("script"))
    );
    let script = fs::read_to_string(original.join("script")).unwrap();
    assert!(script.starts_with("#!/ptest/env/"));
    assert!(test.store.layer(&layer.id).unwrap().is_some());
    assert_consistent(&test.store);
}

#[test]
fn a_layer_that_was_written_through_a_link_is_not_served_and_is_made_again() {
    let name = "linked::a_layer_that_was_written_through_a_link_is_not_served_and_is_made_again";
    if ran_as_ordinary_user(name) {
        return;
    }
    let Some(test) = store() else { return };
    let layer = test.commit(fill);
    let stack = Stack::new([layer.id]);
    link(&test, &layer, "linked");
    // Looked at while it is sound, and while a link is there: looked at again.
    assert!(test.store.stack_paths(&stack).is_ok());
    fs::write(test.outside("linked").join("data"), "evil").unwrap();
    let refused = test.store.stack_paths(&stack).unwrap_err();
    assert!(matches!(refused, Error::LayerCorrupt { .. }), "{refused:?}");
    assert!(test.store.layer(&layer.id).is_err());
    assert_eq!(test.commit(fill).id, layer.id);
    let place = test.store.layer_path(&layer.id).join("data");
    assert_eq!(fs::read_to_string(place).unwrap(), "data");
    assert!(test.store.stack_paths(&stack).is_ok());
    assert_consistent(&test.store);
}

#[test]
fn a_layer_is_believed_again_when_no_link_is_left() {
    if ran_as_ordinary_user("linked::a_layer_is_believed_again_when_no_link_is_left") {
        return;
    }
    let Some(test) = store() else { return };
    let layer = test.commit(fill);
    let unlinked = |expected: bool| {
        let counters = test.store.database().read(|connection| {
            let sql = "SELECT linked = unlinked FROM layers";
            Ok::<_, Error>(connection.query_row(sql, [], |row| row.get::<_, bool>(0))?)
        });
        assert_eq!(counters.unwrap(), expected);
    };
    unlinked(true);
    for name in ["one", "two"] {
        link(&test, &layer, name);
    }
    for (name, is_last) in [("one", false), ("two", true)] {
        fs::remove_dir_all(test.outside(name)).unwrap();
        assert!(test.store.layer(&layer.id).unwrap().is_some());
        unlinked(is_last);
    }
    link(&test, &layer, "three");
    unlinked(false);
}
