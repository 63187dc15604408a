//! What may be thrown away, and how it is deleted.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use ptest_store::{Error, ErrorKind, Store};

use crate::support::{TestStore, again, names, tree};

fn env(test: &TestStore) -> std::path::PathBuf {
    let path = test.store.dir("envs").unwrap().join("one");
    fs::create_dir(&path).unwrap();
    path
}

fn assert_empty_trash(store: &Store) {
    let emptied = store.empty_trash().unwrap();
    assert!(emptied.failed.is_empty(), "{:?}", emptied.failed);
    assert_eq!(names(store.home().join("trash")), Vec::<String>::new());
}

#[test]
fn what_is_trashed_is_gone_at_once_and_deleted_later() {
    let test = TestStore::new();
    let path = env(&test);
    fs::write(path.join("f"), "x").unwrap();
    test.store.trash(&path).unwrap();
    assert!(!path.exists());
    assert_eq!(names(test.store.home().join("trash")).len(), 1);
    let emptied = test.store.empty_trash().unwrap();
    assert_eq!(emptied.entries, 2);
    assert_eq!(test.store.empty_trash().unwrap().entries, 0);
}

#[test]
fn nothing_outside_and_nothing_of_the_store_itself_is_trashed() {
    let test = TestStore::new();
    let layer = test.commit(|_| {});
    let outside = test.outside("precious");
    fs::create_dir(&outside).unwrap();
    let path = env(&test);
    symlink(&outside, path.join("link")).unwrap();
    let home = test.store.home();
    for path in [
        outside.as_path(),
        home,
        Path::new("/"),
        Path::new("envs/one"),
        &home.join("envs"),
        &home.join("ptest.db"),
        &home.join("layers"),
        &test.store.layer_path(&layer.id),
        &path.join("link/../../precious"),
        &path.join("link/x"),
        &home.join("envs/../../precious"),
    ] {
        let error = test.store.trash(path).unwrap_err();
        assert!(
            matches!(error, Error::NotOurs { .. }) || error.kind() == ErrorKind::NotFound,
            "{}: {error:?}",
            path.display()
        );
    }
    assert!(outside.exists() && path.exists());
    // The link itself is ours.
    test.store.trash(&path.join("link")).unwrap();
    assert_empty_trash(&test.store);
    assert!(outside.exists());
    assert_eq!(test.store.layer(&layer.id).unwrap(), Some(layer));
}

#[test]
fn what_is_not_there_cannot_be_trashed() {
    let test = TestStore::new();
    let path = env(&test).join("missing");
    let error = test.store.trash(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn closed_directories_and_strange_names_are_deleted() {
    let test = TestStore::new();
    let path = env(&test);
    // As overlayfs leaves its work directory.
    fs::create_dir_all(path.join("work/work")).unwrap();
    fs::write(path.join("work/work/f"), "x").unwrap();
    tree::chmod(&path.join("work/work"), 0);
    fs::create_dir(path.join("read-only")).unwrap();
    fs::write(path.join("read-only/f"), "x").unwrap();
    tree::chmod(&path.join("read-only"), 0o555);
    fs::write(path.join(OsStr::from_bytes(b"\xff\n -rf")), "x").unwrap();
    tree::whiteout(&path.join("whiteout"));
    tree::chmod(&path, 0o500);
    test.store.trash(&path).unwrap();
    assert_empty_trash(&test.store);
}

#[test]
fn links_are_deleted_and_not_followed() {
    let test = TestStore::new();
    let outside = test.outside("precious");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f"), "x").unwrap();
    let path = env(&test);
    symlink(&outside, path.join("link")).unwrap();
    test.store.trash(&path).unwrap();
    assert_empty_trash(&test.store);
    assert_eq!(names(&outside), ["f"]);
}

#[test]
fn a_tree_deeper_than_any_path_and_any_table_of_descriptors_is_deleted() {
    let test = TestStore::new();
    let path = env(&test);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = rustix::fs::openat(CWD, &path, flags, Mode::empty()).unwrap();
    let name = "d".repeat(100);
    for _ in 0..3_000 {
        rustix::fs::mkdirat(&directory, &name, Mode::RWXU).unwrap();
        directory = rustix::fs::openat(&directory, &name, flags, Mode::empty()).unwrap();
    }
    drop(directory);
    test.store.trash(&path).unwrap();
    assert_empty_trash(&test.store);
}

#[test]
fn what_is_mounted_in_the_trash_is_not_deleted() {
    if again::argument().is_none() {
        return again::in_mount_namespace("trash::what_is_mounted_in_the_trash_is_not_deleted");
    }
    let test = TestStore::new();
    let outside = test.outside("precious");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f"), "x").unwrap();
    let path = env(&test);
    fs::create_dir(path.join("mounted")).unwrap();
    fs::write(path.join("other"), "x").unwrap();
    // Of the same file system, so that no device number tells them apart.
    rustix::mount::mount_bind(&outside, path.join("mounted")).unwrap();
    test.store.trash(&path).unwrap();
    let emptied = test.store.empty_trash().unwrap();
    assert_eq!(emptied.failed.len(), 1, "{:?}", emptied.failed);
    assert!(emptied.failed[0].0.ends_with("mounted"));
    assert_eq!(emptied.entries, 1);
    assert_eq!(names(&outside), ["f"]);
    let mounted = emptied.failed[0].0.clone();
    rustix::mount::unmount(&mounted, rustix::mount::UnmountFlags::empty()).unwrap();
    assert_empty_trash(&test.store);
}
