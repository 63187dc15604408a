//! Trees and file systems that are hard to keep: what is in them comes back as it was, or is
//! refused and leaves nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use ptest_store::{CommitOptions, Error, LayerId, Stack, Store};

use crate::support::{TestStore, again, assert_consistent, commit, names, tree};

/// Commits what `fill` makes, copies it out again and fails unless the copy is the same.
fn assert_comes_back(fill: impl Fn(&Path)) -> LayerId {
    let test = TestStore::new();
    let original = test.outside("original");
    fs::create_dir(&original).unwrap();
    fill(&original);
    let layer = test.commit(&fill);
    let copy = test.outside("copy");
    test.store
        .clone_tree(&Stack::new([layer.id]), &copy, None)
        .unwrap();
    assert_eq!(tree::read(&copy), tree::read(&original));
    assert_consistent(&test.store);
    test.store.quarantine(&layer.id).unwrap();
    assert!(test.store.empty_trash().unwrap().failed.is_empty());
    layer.id
}

#[test]
fn names_of_any_bytes_and_of_every_length_come_back() {
    let long = [b'\xfe'; 255];
    let names: [&[u8]; 7] = [
        b"a\nb",
        b"\n",
        b"\xff\xc0",
        b"-rf",
        b"\\ \t'\"$`*",
        b"\x01\x1b[31m",
        &long,
    ];
    assert_comes_back(|root| {
        for name in names {
            let directory = root.join(OsStr::from_bytes(name));
            fs::create_dir(&directory).unwrap();
            for name in names {
                let file = directory.join(OsStr::from_bytes(name));
                fs::write(&file, name).unwrap();
                tree::at(&file, 1_000, 0);
            }
        }
    });
}

#[test]
fn links_that_lead_in_circles_or_nowhere_come_back_and_are_not_followed() {
    assert_comes_back(|root| {
        fs::create_dir(root.join("d")).unwrap();
        let longest = "x".repeat(4095);
        for (name, target) in [
            ("itself", "itself"),
            ("one", "two"),
            ("two", "one"),
            ("d/up", ".."),
            ("d/here", "."),
            ("nowhere", "/nonexistent"),
            ("longest", longest.as_str()),
            ("proc", "/proc/self/root"),
        ] {
            symlink(target, root.join(name)).unwrap();
            tree::at(&root.join(name), 1_000, 0);
        }
    });
}

#[test]
fn times_before_1970_and_parts_of_a_second_come_back() {
    let times = [(-1, 0), (-1, 999_999_999), (-2_000_000_000, 1), (0, 5)];
    let test = TestStore::new();
    let layer = test.commit(|root| {
        for (number, (seconds, nanoseconds)) in times.into_iter().enumerate() {
            let path = root.join(number.to_string());
            fs::write(&path, "x").unwrap();
            tree::at(&path, seconds, nanoseconds);
        }
    });
    let copy = test.outside("copy");
    test.store
        .clone_tree(&Stack::new([layer.id]), &copy, None)
        .unwrap();
    for (number, time) in times.into_iter().enumerate() {
        let facts = fs::metadata(copy.join(number.to_string())).unwrap();
        assert_eq!((facts.mtime(), facts.mtime_nsec()), time);
    }
    assert_consistent(&test.store);
}

#[test]
fn two_names_of_one_file_become_two_files() {
    let test = TestStore::new();
    let layer = test.commit(|root| {
        fs::write(root.join("one"), "x").unwrap();
        fs::hard_link(root.join("one"), root.join("two")).unwrap();
    });
    let place = test.store.layer_path(&layer.id);
    let inode = |name: &str| fs::metadata(place.join(name)).unwrap().ino();
    assert_ne!(inode("one"), inode("two"));
    assert_consistent(&test.store);
}

#[test]
fn a_hundred_thousand_entries_in_one_directory_come_back() {
    const COUNT: usize = 100_000;
    let test = TestStore::new();
    let layer = test.commit(|root| {
        for number in 0..COUNT {
            // Without contents, which are not what is tested.
            File::create(root.join(number.to_string())).unwrap();
        }
    });
    assert_eq!(layer.entries, COUNT as u64);
    let copy = test.outside("copy");
    let cloned = test
        .store
        .clone_tree(&Stack::new([layer.id]), &copy, None)
        .unwrap();
    assert_eq!(cloned.entries, COUNT as u64);
    assert_eq!(fs::read_dir(&copy).unwrap().count(), COUNT);
    assert_consistent(&test.store);
    test.store.quarantine(&layer.id).unwrap();
    let emptied = test.store.empty_trash().unwrap();
    assert!(emptied.failed.is_empty() && emptied.entries > COUNT as u64);
}

#[test]
fn a_path_that_is_too_long_to_be_named_is_refused_and_leaves_nothing() {
    let test = TestStore::new();
    let staging = test.store.stage().unwrap();
    let name = "d".repeat(255);
    // Deeper than any path can say: made step by step, as a program would that changes into it.
    let mut directory = File::open(staging.path()).unwrap();
    for _ in 0..20 {
        rustix::fs::mkdirat(&directory, &name, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let deeper = rustix::fs::openat(&directory, &name, flags, rustix::fs::Mode::empty());
        directory = deeper.unwrap().into();
    }
    drop(directory);
    let error = test
        .store
        .commit(staging, CommitOptions::default())
        .unwrap_err();
    assert!(
        matches!(error, Error::Io { .. } | Error::Refused { .. }),
        "{error:?}"
    );
    assert!(test.store.layers().unwrap().is_empty());
    assert_consistent(&test.store);
    assert!(test.store.empty_trash().unwrap().failed.is_empty());
    assert_eq!(names(test.store.home().join("trash")), Vec::<String>::new());
}

/// A store in a lower directory of an overlay, as in the image of a container: directories of it
/// cannot be renamed there.
#[test]
fn a_store_that_came_with_an_overlay_works_as_any_other() {
    if again::argument().is_none() {
        return again::in_mount_namespace(
            "hostile::a_store_that_came_with_an_overlay_works_as_any_other",
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let [disk, lower, merged] = ["disk", "lower", "merged"].map(place);
    mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), c"").unwrap();
    let [upper, work] = ["disk/upper", "disk/work"].map(place);
    let fill = |root: &Path| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "x").unwrap();
    };
    let store = Store::open(&lower.join("store")).unwrap();
    let old = commit(&store, CommitOptions::default(), fill).id;
    let environment = store.dir("envs").unwrap().join("one");
    store
        .clone_tree(&Stack::new([old]), &environment, None)
        .unwrap();
    drop(store);

    let options = format!(
        "userxattr,lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let options = std::ffi::CString::new(options).unwrap();
    mount(
        "overlay",
        &merged,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .unwrap();
    {
        let store = Store::open(&merged.join("store")).unwrap();
        assert!(store.layer(&old).unwrap().is_some());
        let new = commit(&store, CommitOptions::default(), |root| {
            fs::write(root.join("new"), "y").unwrap();
        });
        let stack = Stack::new([old, new.id]);
        let copy: PathBuf = store.dir("envs").unwrap().join("two");
        store.clone_tree(&stack, &copy, None).unwrap();
        assert_eq!(names(&copy), ["d", "new"]);
        assert_consistent(&store);

        store.trash(&merged.join("store/envs/one")).unwrap();
        assert!(!merged.join("store/envs/one").exists());
        let collected = store.collect::<Error>(|_, layers| Ok(layers)).unwrap();
        assert_eq!(collected.layers.len(), 2);
        assert!(store.empty_trash().unwrap().failed.is_empty());
        store.recover().unwrap();
        assert_consistent(&store);
        assert_eq!(commit(&store, CommitOptions::default(), fill).entries, 2);
    }
    unmount(&merged, UnmountFlags::DETACH).unwrap();
    unmount(&disk, UnmountFlags::DETACH).unwrap();
}
