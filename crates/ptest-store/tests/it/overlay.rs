//! The kernel's overlayfs as the judge: what it shows is what a view says, and what programs
//! leave in its upper directory becomes a layer that shows the same.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};

use ptest_store::{Stack, Store};

use crate::support::tree::{Children, any_tree, flat, flat_view, read, read_with_ghosts, write};
use crate::support::{TestStore, again, assert_consistent};

/// An overlay as ptest mounts one; gone when dropped.
struct Overlay {
    place: PathBuf,
    upper: PathBuf,
}

impl Overlay {
    fn mount(store: &Store, stack: &Stack, directory: &Path) -> Self {
        let [place, upper, work] = ["merged", "upper", "work"].map(|name| {
            let path = directory.join(name);
            fs::create_dir_all(&path).unwrap();
            path
        });
        let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        for lower in store.stack_paths(stack).unwrap().iter().rev() {
            fsconfig_set_string(&overlay, "lowerdir+", lower).unwrap();
        }
        fsconfig_set_string(&overlay, "upperdir", &upper).unwrap();
        fsconfig_set_string(&overlay, "workdir", work).unwrap();
        fsconfig_set_flag(&overlay, "userxattr").unwrap();
        fsconfig_create(&overlay).unwrap();
        let mount = fsmount(
            &overlay,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
        .unwrap();
        move_mount(
            &mount,
            "",
            rustix::fs::CWD,
            &place,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .unwrap();
        Self { place, upper }
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        unmount(&self.place, UnmountFlags::DETACH).unwrap();
    }
}

/// What a program does to a tree.
#[derive(Debug, Clone)]
enum Deed {
    Write(usize, OsString, Vec<u8>),
    Remove(usize),
    MakeDirectory(usize, OsString),
    Rename(usize, usize, OsString),
    Link(usize, OsString),
    HardLink(usize, usize, OsString),
    Chmod(usize, u32),
    Replace(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let which = || 0usize..1000;
    let name = || proptest::sample::select(vec!["a", "b", "a-b", "new"]).prop_map(OsString::from);
    let deed = prop_oneof![
        (
            which(),
            name(),
            proptest::collection::vec(any::<u8>(), 0..20)
        )
            .prop_map(|(at, name, contents)| Deed::Write(at, name, contents)),
        which().prop_map(Deed::Remove),
        (which(), name()).prop_map(|(at, name)| Deed::MakeDirectory(at, name)),
        (which(), which(), name()).prop_map(|(from, to, name)| Deed::Rename(from, to, name)),
        (which(), name()).prop_map(|(at, name)| Deed::Link(at, name)),
        (which(), which(), name()).prop_map(|(from, to, name)| Deed::HardLink(from, to, name)),
        (
            which(),
            proptest::sample::select(vec![0o644u32, 0o600, 0o755, 0o700])
        )
            .prop_map(|(at, mode)| Deed::Chmod(at, mode)),
        which().prop_map(Deed::Replace),
    ];
    proptest::collection::vec(deed, 0..25)
}

/// Does what can be done; what the system refuses is not done.
fn act(root: &Path, deed: &Deed) {
    let pick = |number: usize, among: Vec<PathBuf>| {
        let count = among.len().max(1);
        among.into_iter().nth(number % count)
    };
    let any = |number| pick(number, walk(root, false));
    let directory = |number| pick(number, walk(root, true)).unwrap_or(root.to_owned());
    let _: Option<()> = match deed {
        Deed::Write(at, name, contents) => fs::write(directory(*at).join(name), contents).ok(),
        Deed::Remove(at) => any(*at).and_then(|path| remove(&path)),
        Deed::MakeDirectory(at, name) => fs::create_dir(directory(*at).join(name)).ok(),
        Deed::Rename(from, to, name) => {
            any(*from).and_then(|from| fs::rename(from, directory(*to).join(name)).ok())
        }
        Deed::Link(at, name) => symlink("a/b", directory(*at).join(name)).ok(),
        Deed::HardLink(from, to, name) => {
            any(*from).and_then(|from| fs::hard_link(from, directory(*to).join(name)).ok())
        }
        Deed::Chmod(at, mode) => any(*at)
            .filter(|path| !path.is_symlink())
            .and_then(|path| fs::set_permissions(path, Permissions::from_mode(*mode)).ok()),
        // A directory of the same name in place of a deleted one hides what was in it.
        Deed::Replace(at) => any(*at).and_then(|path| {
            remove(&path)?;
            fs::create_dir(&path).ok()
        }),
    };
}

fn remove(path: &Path) -> Option<()> {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path).ok()
    } else {
        fs::remove_file(path).ok()
    }
}

/// Every path below, or every directory.
fn walk(root: &Path, directories: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().unwrap().is_dir();
            if is_directory {
                pending.push(entry.path());
            }
            if is_directory || !directories {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// The same without fractions of seconds, which the model does not have.
fn without_times(tree: Children) -> Vec<(Vec<u8>, ptest_store::Kind)> {
    let still = ptest_store::Mtime::default();
    flat(&tree)
        .into_iter()
        .map(|(path, kind)| (path, at(kind, still)))
        .collect()
}

fn at(mut kind: ptest_store::Kind, time: ptest_store::Mtime) -> ptest_store::Kind {
    if let ptest_store::Kind::File { mtime, .. } | ptest_store::Kind::Symlink { mtime, .. } =
        &mut kind
    {
        *mtime = time;
    }
    kind
}

#[test]
fn a_view_is_what_the_kernel_shows() {
    if again::argument().is_none() {
        return again::in_mount_namespace("overlay::a_view_is_what_the_kernel_shows");
    }
    let trees = proptest::collection::vec(any_tree(true), 1..5);
    run(&trees, |trees| {
        let test = TestStore::new();
        let ids = trees
            .iter()
            .map(|tree| test.commit_upper(|root| write(root, tree, false)).id);
        let stack = Stack::new(ids);
        let overlay = Overlay::mount(&test.store, &stack, &test.outside("mount"));
        let view = test.store.resolve(&stack).unwrap();
        let (seen, ghosts) = read_with_ghosts(&overlay.place);
        assert_eq!(flat_view(&view), flat(&seen));
        let expected: Vec<PathBuf> = view
            .ghosts()
            .map(|(path, _)| path.as_path().to_owned())
            .collect();
        assert_eq!(ghosts, expected);
        drop(overlay);

        let clean = test.store.without_ghosts(&stack).unwrap();
        let overlay = Overlay::mount(&test.store, &clean, &test.outside("clean"));
        assert_eq!(read_with_ghosts(&overlay.place), (seen, Vec::new()));
    });
}

#[test]
fn what_is_left_in_an_upper_becomes_a_layer_that_shows_the_same() {
    let name = "overlay::what_is_left_in_an_upper_becomes_a_layer_that_shows_the_same";
    if again::argument().is_none() {
        return again::in_mount_namespace(name);
    }
    let input = (proptest::collection::vec(any_tree(false), 1..4), deeds());
    run(&input, |(trees, deeds)| {
        let test = TestStore::new();
        let ids = trees
            .iter()
            .map(|tree| test.commit_upper(|root| write(root, tree, false)).id);
        let stack = Stack::new(ids);

        let environment = test.store.dir("envs").unwrap().join("one");
        let overlay = Overlay::mount(&test.store, &stack, &environment);
        for deed in &deeds {
            act(&overlay.place, deed);
        }
        let seen = read(&overlay.place);
        let upper = overlay.upper.clone();
        let (copy, _) = test
            .store
            .stage_copy(&upper, ptest_store::Specials::Refuse)
            .unwrap();
        drop(overlay);
        let staging = test.store.stage_existing(&upper).unwrap();
        let options = ptest_store::CommitOptions {
            source: ptest_store::Source::OverlayUpper,
            ..Default::default()
        };
        let layer = test.store.commit(staging, options).unwrap().layer;
        let copied = test.store.commit(copy, options).unwrap().layer;
        assert_eq!(copied.id, layer.id);
        let stack = stack.with_top(layer.id);

        let view = flat_view(&test.store.resolve(&stack).unwrap());
        let view: Vec<_> = view
            .into_iter()
            .map(|(path, kind)| (path, at(kind, ptest_store::Mtime::default())))
            .collect();
        assert_eq!(view, without_times(seen.clone()));
        let again = Overlay::mount(&test.store, &stack, &test.outside("again"));
        assert_eq!(read(&again.place), seen);
        drop(again);
        let place = test.outside("clone");
        test.store.clone_tree(&stack, &place, None).unwrap();
        assert_eq!(read(&place), seen);
        assert_consistent(&test.store);
    });
}

#[test]
fn what_was_changed_in_a_copy_becomes_a_layer_that_shows_the_same() {
    let input = (proptest::collection::vec(any_tree(false), 1..4), deeds());
    run(&input, |(trees, deeds)| {
        let test = TestStore::new();
        let ids = trees
            .iter()
            .map(|tree| test.commit_upper(|root| write(root, tree, false)).id);
        let stack = Stack::new(ids);
        let place = test.outside("copy");
        test.store.clone_tree(&stack, &place, None).unwrap();
        let before = flat(&read(&place));
        for deed in &deeds {
            act(&place, deed);
        }
        let seen = read(&place);
        let after = flat(&seen);
        let is_changed = |entry: &ptest_store::Entry| {
            before.get(entry.path.as_bytes()) != after.get(entry.path.as_bytes())
        };
        let deleted: Vec<_> = before
            .keys()
            .filter(|path| !after.contains_key(*path))
            .map(|path| ptest_store::TreePath::new(path.as_slice()).unwrap())
            .collect();
        let (staging, _) = test
            .store
            .stage_changes(&place, &is_changed, &deleted, None)
            .unwrap();
        let options = ptest_store::CommitOptions {
            source: ptest_store::Source::OverlayUpper,
            ..Default::default()
        };
        let layer = test.store.commit(staging, options).unwrap().layer;
        let again = test.outside("again");
        let stack = stack.with_top(layer.id);
        test.store.clone_tree(&stack, &again, None).unwrap();
        assert_eq!(read(&again), seen);
        assert_consistent(&test.store);
    });
}

fn run<S: Strategy>(input: &S, body: impl Fn(S::Value)) {
    let config = ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(input, |value| {
            body(value);
            Ok(())
        })
        .unwrap();
}
