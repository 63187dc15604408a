//! A disk that is full at any point: what was begun is done or undone and said, and all is well
//! when there is room again.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use ptest_store::{CommitOptions, ErrorKind, Layer, Result, Stack, Store};

use crate::support::{again, assert_consistent, names};

const MIB: usize = 1 << 20;

/// The largest disk: everything below has room in it.
const ENOUGH: usize = 24;

fn layer(store: &Store, first: u8) -> Result<Layer> {
    let staging = store.stage()?;
    for number in 0..3 {
        let path = staging.path().join(number.to_string());
        let full = |source| ptest_store::Error::Io {
            action: "write",
            path: path.clone(),
            source,
        };
        fs::write(&path, vec![first + number; MIB]).map_err(full)?;
        let file = fs::File::options().write(true).open(&path).map_err(full)?;
        file.set_modified(crate::support::tree::time(1_000))
            .map_err(full)?;
    }
    Ok(store.commit(staging, CommitOptions::default())?.layer)
}

/// Two layers, a stack of them and two copies of it: one in the store, one beside.
fn work(home: &Path) -> Result<()> {
    let store = Store::open(home)?;
    let stack = Stack::new([layer(&store, 1)?.id, layer(&store, 2)?.id]);
    store.put_stack(&stack)?;
    for copy in copies(home) {
        if !copy.exists() {
            store.dir("envs")?;
            store.clone_tree(&stack, &copy, None)?;
        }
    }
    Ok(())
}

fn copies(home: &Path) -> [PathBuf; 2] {
    [home.join("envs/one"), home.with_file_name("copy")]
}

/// A copy is there whole or not at all.
fn assert_copies_are_whole(home: &Path) {
    for copy in copies(home) {
        if copy.exists() {
            assert_eq!(names(&copy), ["0", "1", "2"], "{}", copy.display());
            for number in 0..3 {
                let contents = fs::read(copy.join(number.to_string())).unwrap();
                assert_eq!(contents, vec![2 + number; MIB]);
            }
        }
    }
}

#[test]
fn a_disk_that_is_full_at_any_mebibyte_does_no_harm() {
    if again::argument().is_none() {
        return again::in_mount_namespace(
            "space::a_disk_that_is_full_at_any_mebibyte_does_no_harm",
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let (mut failures, mut successes) = (0, 0);
    for size in 1..=ENOUGH {
        let options = |size: usize| std::ffi::CString::new(format!("size={size}m")).unwrap();
        let flags = MountFlags::empty();
        mount("tmpfs", &disk, "tmpfs", flags, options(size).as_c_str()).unwrap();
        let home = disk.join("store");
        match work(&home) {
            Ok(()) => successes += 1,
            Err(error) => {
                failures += 1;
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{size} MiB: {error:?}");
            }
        }
        assert_copies_are_whole(&home);

        mount_remount(&disk, flags, options(ENOUGH + size).as_c_str()).unwrap();
        // Before any recovery, and after it.
        work(&home).unwrap();
        assert_copies_are_whole(&home);
        let store = Store::open(&home).unwrap();
        store.recover().unwrap();
        assert_consistent(&store);
        assert_eq!(store.layers().unwrap().len(), 2, "{size} MiB");
        assert!(store.empty_trash().unwrap().failed.is_empty());
        assert_eq!(names(&disk), ["copy", "store"], "{size} MiB");
        drop(store);
        unmount(&disk, UnmountFlags::DETACH).unwrap();
    }
    // Both happened: the work is neither too small nor too large.
    assert!(failures > 8 && successes > 2, "{failures} {successes}");
}

#[test]
fn an_import_onto_a_disk_that_is_full_at_any_mebibyte_is_all_or_nothing() {
    let name = "space::an_import_onto_a_disk_that_is_full_at_any_mebibyte_is_all_or_nothing";
    if again::argument().is_none() {
        return again::in_mount_namespace(name);
    }
    let origin = crate::support::TestStore::new();
    let stack = Stack::new([
        layer(&origin.store, 1).unwrap().id,
        layer(&origin.store, 9).unwrap().id,
    ]);
    let file = crate::pack::export(
        &origin,
        &crate::pack::package(stack.clone()),
        ptest_store::Compression::Zstd,
    );
    let disk = origin.outside("disk");
    fs::create_dir(&disk).unwrap();
    let options = |size: usize| std::ffi::CString::new(format!("size={size}m")).unwrap();
    let flags = MountFlags::empty();
    let (mut failures, mut successes) = (0, 0);
    for size in 1..=12 {
        mount("tmpfs", &disk, "tmpfs", flags, options(size).as_c_str()).unwrap();
        let home = disk.join("store");
        let result = Store::open(&home)
            .and_then(|store| store.import(&file, &ptest_store::ImportLimits::default()));
        match result {
            Ok(_) => successes += 1,
            Err(error) => {
                failures += 1;
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{size} MiB: {error:?}");
            }
        }
        mount_remount(&disk, flags, options(ENOUGH).as_c_str()).unwrap();
        let store = Store::open(&home).unwrap();
        store.recover().unwrap();
        assert_consistent(&store);
        assert!(
            [0, 2].contains(&store.layers().unwrap().len()),
            "{size} MiB"
        );
        assert_eq!(crate::pack::import(&store, &file).package.stack, stack);
        assert_consistent(&store);
        drop(store);
        unmount(&disk, UnmountFlags::DETACH).unwrap();
    }
    assert!(failures > 3 && successes > 2, "{failures} {successes}");
}
