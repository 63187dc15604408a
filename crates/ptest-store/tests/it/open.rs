//! Where a store may be, and what is said when it may not.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use ptest_store::{CommitOptions, Error, ErrorKind, Stack, Store};

use crate::support::{TestStore, again, assert_consistent, is_root, names, skip, tree};

#[test]
fn a_new_store_is_private_and_complete() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("x/ü y/störe");
    let store = Store::open(&home).unwrap();
    assert_eq!(store.home(), fs::canonicalize(&home).unwrap());
    for name in ["", "layers", "manifests", "staging", "trash"] {
        let mode = fs::metadata(home.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{name:?}");
    }
    let marker: serde_json::Value =
        serde_json::from_slice(&fs::read(home.join(".ptest-store")).unwrap()).unwrap();
    assert_eq!(marker["format"], 1);
    assert!(
        !names(&home)
            .iter()
            .any(|name| name.contains("new-") || name.contains("store."))
    );
    assert_consistent(&store);
}

#[test]
fn what_is_in_a_store_is_there_after_reopening() {
    let test = TestStore::new();
    let layer = test.commit(|root| fs::write(root.join("f"), "x").unwrap());
    assert_eq!(test.reopened().layer(&layer.id).unwrap(), Some(layer));
}

#[test]
fn a_directory_with_files_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("precious"), "x").unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&error, Error::NotAStore { path } if path == dir.path()));
    assert!(error.to_string().contains(dir.path().to_str().unwrap()));
    assert!(error.hint().is_some());
    assert_eq!(names(dir.path()), ["precious"]);
}

#[test]
fn an_empty_directory_becomes_a_store_with_its_own_mode() {
    let dir = tempfile::tempdir().unwrap();
    tree::chmod(dir.path(), 0o750);
    Store::open(dir.path()).unwrap();
    let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
}

#[test]
fn a_relative_path_is_refused() {
    let error = Store::open("somewhere".as_ref()).unwrap_err();
    assert!(matches!(error, Error::RelativePath { .. }));
}

#[test]
fn a_file_in_the_place_of_the_store_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("file");
    fs::write(&home, "x").unwrap();
    assert!(Store::open(&home).is_err());
    assert_eq!(fs::read(&home).unwrap(), b"x");
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let test = TestStore::new();
    let marker = test.store.home().join(".ptest-store");
    fs::write(&marker, r#"{"format":2,"made_by":"ptest-store 9"}"#).unwrap();
    let error = Store::open(test.store.home()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerFormat);
}

#[test]
fn a_damaged_marker_is_named() {
    let test = TestStore::new();
    fs::write(test.store.home().join(".ptest-store"), "{").unwrap();
    let error = Store::open(test.store.home()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(".ptest-store"));
}

#[test]
fn a_store_of_another_user_is_refused() {
    if let Some(home) = again::argument() {
        return assert_foreign(home.as_ref());
    }
    if !is_root() {
        return skip("root", "only root can give a store away");
    }
    let test = TestStore::new();
    std::os::unix::fs::chown(test.store.home(), Some(65534), None).unwrap();
    assert_foreign(test.store.home());
    // Without root's privileges its marker cannot be read either.
    let name = "open::a_store_of_another_user_is_refused";
    let home = test.store.home().to_str().unwrap();
    again::assert_success(&again::without_privileges(name, home).output().unwrap());
}

fn assert_foreign(home: &std::path::Path) {
    let error = Store::open(home).unwrap_err();
    let (expected, ours) = (65534, 0);
    assert!(
        matches!(error, Error::ForeignOwner { owner, user, .. } if (owner, user) == (expected, ours)),
        "{error:?}"
    );
    assert!(error.hint().is_some());
}

#[test]
fn a_place_that_is_closed_to_the_user_is_told_with_what_to_do() {
    if let Some(home) = again::argument() {
        return assert_closed(home.as_ref());
    }
    let name = "open::a_place_that_is_closed_to_the_user_is_told_with_what_to_do";
    let test = TestStore::new();
    let home = test.store.home();
    let closed = test.outside("closed");
    fs::create_dir(&closed).unwrap();
    // A store of this user with a database of another, as a careless `sudo` leaves it.
    fs::set_permissions(home.join("ptest.db"), mode(0)).unwrap();
    fs::set_permissions(closed, mode(0o500)).unwrap();
    if is_root() {
        let argument = home.to_str().unwrap();
        again::assert_success(&again::without_privileges(name, argument).output().unwrap());
    } else {
        assert_closed(home);
    }
    fs::set_permissions(home.join("ptest.db"), mode(0o600)).unwrap();
}

fn assert_closed(home: &std::path::Path) {
    let closed = home.with_file_name("closed");
    for home in [&closed, &closed.join("store"), home] {
        let error = Store::open(home).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("PTEST_HOME"), "{hint}");
        assert!(hint.contains(home.to_str().unwrap()), "{hint}");
    }
}

fn mode(mode: u32) -> Permissions {
    Permissions::from_mode(mode)
}

#[test]
fn many_threads_make_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("store");
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| Store::open(&home).unwrap());
        }
    });
    assert_consistent(&Store::open(&home).unwrap());
}

#[test]
fn callers_have_directories_of_their_own() {
    let test = TestStore::new();
    let envs = test.store.dir("envs").unwrap();
    assert_eq!(envs, test.store.home().join("envs"));
    assert_eq!(test.store.dir("envs").unwrap(), envs);
    for bad in ["layers", "trash", "..", "a/b", ".ptest-store", "ptest.db"] {
        assert!(test.store.dir(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_read_only_and_a_full_disk_are_told_apart() {
    if again::argument().is_none() {
        return again::in_mount_namespace("open::a_read_only_and_a_full_disk_are_told_apart");
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |flags| {
        rustix::mount::mount_remount(&disk, flags, c"size=3m").unwrap();
    };
    rustix::mount::mount(
        "tmpfs",
        &disk,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        c"size=3m",
    )
    .unwrap();

    let home = disk.join("store");
    let store = Store::open(&home).unwrap();
    let staging = store.stage().unwrap();
    for number in 0..100 {
        fs::write(staging.path().join(number.to_string()), "x").unwrap();
    }
    let filler = disk.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let error = store.commit(staging, CommitOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
    let error = Store::open(&disk.join("another")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
    drop(file);
    fs::remove_file(&filler).unwrap();
    assert_consistent(&store);
    let staging = store.stage().unwrap();
    fs::write(staging.path().join("f"), "x").unwrap();
    store.commit(staging, CommitOptions::default()).unwrap();
    assert_consistent(&store);
    drop(store);

    mount(rustix::mount::MountFlags::RDONLY);
    let error = Store::open(&disk.join("new")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
    // What is there can be looked at; nothing can be made.
    let store = Store::open(&home).unwrap();
    assert_eq!(store.layers().unwrap().len(), 1);
    let error = store.stage().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
    assert!(error.hint().unwrap().contains("read-only"));
    let error = store.put_stack(&Stack::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
    drop(store);
    // A directory that is mounted on cannot be deleted, here or by whoever made it.
    rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::DETACH).unwrap();
}
