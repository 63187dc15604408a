//! Stacks that are packed come back the same, and what a store has is not written again.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use ptest_store::{
    Compression, Error, ErrorKind, ImportLimits, Imported, LayerId, Manifest, Package, Stack,
    Store, TreePath,
};

use crate::support::tree::{any_tree, at, chmod, opaque, read, whiteout, write};
use crate::support::{TestStore, assert_consistent, names};

pub(crate) fn package(stack: Stack) -> Package {
    Package::new(stack, TreePath::new(b"ptest/env".as_slice()).unwrap())
}

/// Writes a package into a file beside the store.
pub(crate) fn export(test: &TestStore, package: &Package, compression: Compression) -> PathBuf {
    let path = test.outside("package.tar");
    let mut file = File::create(&path).unwrap();
    let exported = test.store.export(package, compression, &mut file).unwrap();
    assert_eq!(file.metadata().unwrap().len(), exported.bytes);
    // Nothing is left of what was made on the way.
    assert_eq!(names(test.store.home().join("staging")), [""; 0]);
    path
}

pub(crate) fn import(store: &Store, file: &Path) -> Imported {
    store.import(file, &ImportLimits::default()).unwrap()
}

/// Sends a stack to another store and fails unless it is the same there.
fn assert_arrives(test: &TestStore, stack: &Stack, compression: Compression) -> TestStore {
    let file = export(test, &package(stack.clone()), compression);
    let other = TestStore::new();
    let imported = import(&other.store, &file);
    assert_eq!(imported.package, package(stack.clone()));
    let added: Vec<LayerId> = imported.added.iter().map(|layer| layer.id).collect();
    assert_eq!(added, stack.layers());
    assert_consistent(&other.store);
    other
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_stack_comes_back_as_it_was(
        trees in proptest::collection::vec(any_tree(true), 1..5),
        gzip in any::<bool>(),
    ) {
        let test = TestStore::new();
        let ids = trees.iter().map(|tree| test.commit_upper(|root| write(root, tree, false)).id);
        let stack = Stack::new(ids);
        let compression = if gzip { Compression::Gzip } else { Compression::Zstd };
        let other = assert_arrives(&test, &stack, compression);
        let (here, there) = (test.outside("here"), test.outside("there"));
        test.store.clone_tree(&stack, &here, None).unwrap();
        other.store.clone_tree(&stack, &there, None).unwrap();
        prop_assert_eq!(read(&here), read(&there));
    }
}

/// Everything that is hard to say in a tar.
fn hard(root: &Path) {
    let longest = [b'\xfe'; 255];
    for name in [
        &longest[..],
        b"a\nb",
        b"\xff",
        b" ",
        b"-rf",
        b"\\",
        b".w",
        b".wh",
    ] {
        let directory = root.join(OsStr::from_bytes(name));
        fs::create_dir(&directory).unwrap();
        let path = directory.join(OsStr::from_bytes(name));
        fs::write(&path, name).unwrap();
        at(&path, 1_700_000_000, 0);
    }
    let times = [
        (0, 1),
        (-1, 0),
        (-1, 999_999_999),
        (-2_000_000_000, 5),
        (1 << 33, 123_456_789),
    ];
    for (index, (seconds, nanoseconds)) in times.into_iter().enumerate() {
        let path = root.join(format!("time {index}"));
        fs::write(&path, "").unwrap();
        at(&path, seconds, nanoseconds);
    }
    for (name, target) in [
        ("longest", "x".repeat(4095)),
        ("long", "y/".repeat(60)),
        ("itself", "itself".to_owned()),
        ("up", "../../../../etc/passwd".to_owned()),
        ("odd", " \n=".to_owned()),
    ] {
        symlink(target, root.join(name)).unwrap();
        at(&root.join(name), -5, 7);
    }
    for (name, mode) in [("sticky", 0o1777), ("closed", 0), ("odd mode", 0o1421)] {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("f"), "in it").unwrap();
        at(&root.join(name).join("f"), 3, 3);
        chmod(&root.join(name).join("f"), mode & 0o777);
        chmod(&root.join(name), mode);
    }
    whiteout(&root.join(OsStr::from_bytes(&[b'w'; 255])));
    fs::create_dir(root.join("opaque")).unwrap();
    opaque(&root.join("opaque"));
    whiteout(&root.join("opaque/gone"));
    // Deeper than one call can name from the root of the file system.
    let component = "d".repeat(250);
    let mut path = PathBuf::new();
    while path.as_os_str().len() + 251 < 3500 {
        path.push(&component);
    }
    fs::create_dir_all(root.join(&path)).unwrap();
    fs::write(root.join(&path).join("f"), "deep").unwrap();
    at(&root.join(&path).join("f"), 9, 9);
}

/// More than several pieces of compression, with files on both sides of what is held in memory.
fn large(root: &Path) {
    let mut state = 1u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            bytes.push((state >> 56) as u8);
        }
        bytes
    };
    let sizes = [
        0,
        1,
        511,
        512,
        513,
        512 << 10,
        (512 << 10) + 1,
        (2 << 20) - 512,
        5_000_001,
    ];
    for (index, size) in sizes.into_iter().enumerate() {
        let path = root.join(format!("noise {index}"));
        fs::write(&path, noise(size)).unwrap();
        at(&path, 1, 0);
    }
    fs::write(root.join("zeros"), vec![0; 9 << 20]).unwrap();
    at(&root.join("zeros"), 1, 0);
    for index in 0..300 {
        let path = root.join(format!("small {index:03}"));
        fs::write(&path, noise(index * 17)).unwrap();
        at(&path, 1, 0);
    }
}

#[test]
fn what_is_hard_to_say_in_a_tar_comes_back_too() {
    let test = TestStore::new();
    let stack = Stack::new([test.commit_upper(hard).id]);
    assert_arrives(&test, &stack, Compression::Zstd);
    assert_arrives(&test, &stack, Compression::Gzip);
}

#[test]
fn large_layers_come_back_whatever_the_size_of_their_files() {
    let test = TestStore::new();
    let small = test.commit(|root| fs::write(root.join("f"), "").unwrap());
    let stack = Stack::new([test.commit(large).id, small.id]);
    assert_arrives(&test, &stack, Compression::Zstd);
    assert_arrives(&test, &stack, Compression::Gzip);
}

#[test]
fn a_stack_without_layers_and_a_layer_without_entries_come_back() {
    let test = TestStore::new();
    assert_arrives(&test, &Stack::default(), Compression::Zstd);
    let empty = test.commit(|_| {}).id;
    assert_eq!(empty, Manifest::default().id());
    assert_arrives(&test, &Stack::new([empty]), Compression::Zstd);
}

#[test]
fn the_file_is_the_same_to_the_byte_wherever_and_however_it_is_made() {
    for compression in [Compression::Zstd, Compression::Gzip] {
        let files = [0, 1].map(|number| {
            let test = TestStore::new();
            let fill: [fn(&Path); 2] = [hard, large];
            let mut ids = fill.map(|fill| (fill, LayerId::from_bytes([0; 32])));
            // In the other order, and with more in the store, in the second.
            for index in if number == 0 { [0, 1] } else { [1, 0] } {
                ids[index].1 = test.commit_upper(ids[index].0).id;
            }
            let mut package = package(Stack::new(ids.map(|(_, id)| id)));
            package.labels.insert("a".to_owned(), "b".to_owned());
            fs::read(export(&test, &package, compression)).unwrap()
        });
        assert!(files[0] == files[1], "{compression:?}");
    }
}

#[test]
fn what_a_package_says_comes_back() {
    let test = TestStore::new();
    let package = Package {
        stack: Stack::new([test.commit(|_| {}).id]),
        prefix: TreePath::new("ä/b c".as_bytes()).unwrap(),
        architecture: "s390x".to_owned(),
        labels: [("x.y", "1"), ("z", "\"ü\"\n")].map(own).into(),
        env: [("PATH", "/a:/b"), ("EQUALS", "a=b=c"), ("EMPTY", "")]
            .map(own)
            .into(),
        entrypoint: vec!["/ptest/env/bin/python".to_owned(), "-I".to_owned()],
    };
    let file = export(&test, &package, Compression::Zstd);
    assert_eq!(import(&test.store, &file).package, package);
}

fn own((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn layers_that_the_store_has_are_compared_and_not_written_again() {
    let test = TestStore::new();
    let [one, two] = [hard as fn(&Path), large].map(|fill| test.commit_upper(fill).id);
    let file = export(&test, &package(Stack::new([one, two])), Compression::Zstd);

    let other = TestStore::new();
    other.commit_upper(large);
    let before = fs::metadata(other.store.layer_path(&two)).unwrap();
    let imported = import(&other.store, &file);
    assert_eq!(imported.shared, [two]);
    assert_eq!(imported.added.len(), 1);
    assert_eq!(imported.added[0].id, one);
    let after = fs::metadata(other.store.layer_path(&two)).unwrap();
    assert_eq!(before.ino(), after.ino());

    let again = import(&other.store, &file);
    assert_eq!(again.shared, [one, two]);
    assert_eq!(again.added, []);
    assert_consistent(&other.store);
    assert_eq!(names(other.store.home().join("trash")), [""; 0]);
}

#[test]
fn a_corrupt_layer_is_not_packed_and_is_made_whole_by_an_import() {
    let test = TestStore::new();
    let layer = test.commit(|root| {
        fs::write(root.join("f"), "sound").unwrap();
        at(&root.join("f"), 5, 0);
    });
    let stack = Stack::new([layer.id]);
    let file = export(&test, &package(stack.clone()), Compression::Zstd);
    let place = test.store.layer_path(&layer.id);
    fs::write(place.join("f"), "other").unwrap();
    let error = test
        .store
        .export(&package(stack), Compression::Zstd, &mut Vec::new())
        .unwrap_err();
    assert!(matches!(error, Error::LayerCorrupt { .. }), "{error:?}");
    assert_eq!(names(test.store.home().join("staging")), [""; 0]);

    // As a store finds it out.
    fs::remove_dir_all(&place).unwrap();
    let imported = import(&test.store, &file);
    assert_eq!(imported.added.len(), 1);
    assert_eq!(fs::read_to_string(place.join("f")).unwrap(), "sound");
    assert_consistent(&test.store);
}

#[test]
fn what_an_image_cannot_express_is_refused_and_leaves_nothing() {
    let test = TestStore::new();
    let marked = test.commit(|root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/.wh.x"), "").unwrap();
    });
    let plain = package(Stack::new([test.commit(|_| {}).id]));
    let with = |change: fn(&mut Package)| {
        let mut package = plain.clone();
        change(&mut package);
        package
    };
    let cases = [
        (package(Stack::new([marked.id])), "d/.wh.x"),
        (
            with(|p| drop(p.labels.insert("dev.ptest.prefix".into(), "/".into()))),
            "dev.ptest.prefix",
        ),
        (
            with(|p| drop(p.env.insert("A=B".into(), "c".into()))),
            "A=B",
        ),
        (
            with(|p| p.prefix = TreePath::new(b"a/.wh.b".as_slice()).unwrap()),
            "a/.wh.b",
        ),
        (
            with(|p| p.prefix = TreePath::new(b"\xff".as_slice()).unwrap()),
            "at this path",
        ),
    ];
    for (package, said) in cases {
        let mut out = Vec::new();
        let error = test
            .store
            .export(&package, Compression::Zstd, &mut out)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.hint().is_some());
        assert_eq!(out, b"");
        assert_eq!(names(test.store.home().join("staging")), [""; 0]);
    }
    let missing = package(Stack::new([LayerId::from_bytes([1; 32])]));
    let error = test
        .store
        .export(&missing, Compression::Zstd, &mut Vec::new())
        .unwrap_err();
    assert!(matches!(error, Error::LayerMissing { .. }), "{error:?}");
}

#[test]
fn a_place_that_takes_no_more_ends_an_export() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let test = TestStore::new();
    let package = package(Stack::new([test.commit(large).id]));
    for room in [0, 600, 100_000] {
        let result = test
            .store
            .export(&package, Compression::Zstd, &mut Full(room));
        assert_eq!(result.unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(names(test.store.home().join("staging")), [""; 0]);
    }
    assert_consistent(&test.store);
}
