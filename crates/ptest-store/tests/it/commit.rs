//! From a directory to a layer: what is kept, what is refused, what one tree is.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use ptest_store::{
    CommitOptions, Error, Kind, LayerId, LeftOut, Modes, Mtimes, Source, Specials, Stack, Store,
};

use crate::support::{TestStore, again, assert_consistent, commit, is_root, names, skip, tree};

const UPPER: CommitOptions = CommitOptions {
    source: Source::OverlayUpper,
    mtimes: Mtimes::Keep,
    modes: Modes::Keep,
    specials: Specials::Refuse,
};

fn sample(root: &Path) {
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), "hello").unwrap();
    tree::chmod(&root.join("d/f"), 0o640);
    symlink("d/f", root.join("l")).unwrap();
}

#[test]
fn a_layer_holds_what_was_staged() {
    let test = TestStore::new();
    let layer = test.commit(sample);
    let path = test.store.layer_path(&layer.id);
    assert_eq!(fs::read(path.join("d/f")).unwrap(), b"hello");
    assert_eq!(fs::read_link(path.join("l")).unwrap(), Path::new("d/f"));
    assert_eq!((layer.entries, layer.bytes), (3, 5));
    let manifest = test.store.manifest(&layer.id).unwrap();
    assert_eq!(manifest.id(), layer.id);
    let Kind::File {
        mode, size, hash, ..
    } = manifest.get(b"d/f").unwrap().kind
    else {
        panic!("not a file");
    };
    assert_eq!((mode, size), (0o640, 5));
    assert_eq!(hash, blake3::hash(b"hello").into());
    assert_consistent(&test.store);
}

#[test]
fn an_empty_tree_is_a_layer() {
    let test = TestStore::new();
    let layer = test.commit(|_| {});
    assert_eq!(test.store.layer(&layer.id).unwrap(), Some(layer));
    assert_consistent(&test.store);
}

#[test]
fn a_staging_that_is_dropped_leaves_nothing() {
    let test = TestStore::new();
    let staging = test.store.stage().unwrap();
    sample(staging.path());
    drop(staging);
    assert_consistent(&test.store);
    assert!(test.store.layers().unwrap().is_empty());
}

#[test]
fn the_time_and_mode_of_the_root_mean_nothing() {
    let test = TestStore::new();
    let one = test.commit(|root| {
        sample_at(1_000_000)(root);
        tree::chmod(root, 0o700);
    });
    let two = test.commit(sample_at(1_000_000));
    assert_eq!(one.id, two.id);
    let mode = fs::metadata(test.store.layer_path(&one.id))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
}

fn sample_at(seconds: i64) -> impl Fn(&Path) {
    move |root| {
        sample(root);
        fs::remove_file(root.join("l")).unwrap();
        let file = fs::File::options()
            .write(true)
            .open(root.join("d/f"))
            .unwrap();
        file.set_modified(tree::time(seconds)).unwrap();
    }
}

#[test]
fn the_time_of_a_file_is_part_of_what_it_is() {
    let test = TestStore::new();
    let one = test.commit(sample_at(1_000_000));
    let two = test.commit(sample_at(1_000_001));
    assert_ne!(one.id, two.id);
}

#[test]
fn times_from_content_differ_with_the_content_and_with_nothing_else() {
    let test = TestStore::new();
    let base = 1_500_000_000;
    let options = CommitOptions {
        mtimes: Mtimes::FromContent { base },
        ..CommitOptions::default()
    };
    let make = |seconds| {
        commit(&test.store, options, |root: &Path| {
            sample_at(seconds)(root);
            fs::write(root.join("same"), "hello").unwrap();
            fs::write(root.join("other"), "other").unwrap();
            symlink("same", root.join("link")).unwrap();
        })
    };
    let (one, two) = (make(1_000_000), make(2_000_000));
    assert_eq!(one.id, two.id);
    let path = test.store.layer_path(&one.id);
    let at = |name: &str| fs::symlink_metadata(path.join(name)).unwrap().mtime();
    assert_eq!(at("d/f"), at("same"));
    assert_ne!(at("same"), at("other"));
    assert_eq!(at("d"), base);
    for name in ["same", "other", "link"] {
        assert!((base..base + 315_360_000).contains(&at(name)), "{name}");
    }
    assert_consistent(&test.store);
}

#[test]
fn normal_modes_do_not_depend_on_the_umask() {
    let test = TestStore::new();
    let options = CommitOptions {
        mtimes: Mtimes::FromContent { base: 0 },
        modes: Modes::Normal,
        ..CommitOptions::default()
    };
    let make = |directory, file, program| {
        commit(&test.store, options, |root: &Path| {
            fs::create_dir(root.join("d")).unwrap();
            for (name, mode) in [("d/f", file), ("d/p", program)] {
                fs::write(root.join(name), "x").unwrap();
                tree::chmod(&root.join(name), mode);
            }
            tree::chmod(&root.join("d"), directory);
        })
        .id
    };
    assert_eq!(make(0o700, 0o600, 0o700), make(0o775, 0o664, 0o775));
    assert_ne!(make(0o700, 0o600, 0o700), make(0o700, 0o600, 0o600));
}

fn said(left_out: &[LeftOut]) -> Vec<String> {
    left_out.iter().map(LeftOut::to_string).collect()
}

#[test]
fn privileges_are_dropped_and_listed() {
    let test = TestStore::new();
    let staging = test.store.stage().unwrap();
    let path = staging.path().join("f");
    fs::write(&path, "x").unwrap();
    rustix::fs::setxattr(&path, c"user.note", b"x", XattrFlags::empty()).unwrap();
    tree::chmod(&path, 0o6755);
    let committed = test
        .store
        .commit(staging, CommitOptions::default())
        .unwrap();
    assert_eq!(
        said(&committed.left_out),
        [
            "f is kept without the set-user-id bit",
            "f is kept without the set-group-id bit",
            "f is kept without the attribute user.note"
        ]
    );
    let path = test.store.layer_path(&committed.layer.id).join("f");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o755
    );
    assert!(rustix::fs::getxattr(&path, c"user.note", &mut [0u8; 8]).is_err());
}

#[test]
fn a_file_of_somebody_else_is_not_changed_through_a_hard_link() {
    let test = TestStore::new();
    let cache = test.outside("cache");
    fs::write(&cache, "x").unwrap();
    tree::chmod(&cache, 0o600);
    let before = fs::metadata(&cache).unwrap();
    let options = CommitOptions {
        mtimes: Mtimes::FromContent { base: 0 },
        modes: Modes::Normal,
        ..CommitOptions::default()
    };
    let layer = commit(&test.store, options, |root: &Path| {
        fs::hard_link(&cache, root.join("f")).unwrap();
    });
    let after = fs::metadata(&cache).unwrap();
    assert_eq!(after.mode(), before.mode());
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    fs::write(&cache, "y").unwrap();
    let path = test.store.layer_path(&layer.id).join("f");
    assert_eq!(fs::read(path).unwrap(), b"x");
    assert_consistent(&test.store);
}

#[test]
fn what_no_layer_can_hold_is_refused_and_named() {
    let test = TestStore::new();
    let refuse = |options, fill: &dyn Fn(&Path)| {
        let staging = test.store.stage().unwrap();
        fs::create_dir(staging.path().join("d")).unwrap();
        fill(&staging.path().join("d/x"));
        match test.store.commit(staging, options) {
            Err(Error::Refused { path, what }) => {
                assert_eq!(path, Path::new("d/x"));
                what
            }
            other => panic!("{other:?}"),
        }
    };
    let fifo = |path: &Path| {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    };
    let socket = |path: &Path| drop(UnixListener::bind(path).unwrap());
    assert_eq!(refuse(CommitOptions::default(), &fifo), "a FIFO");
    assert_eq!(refuse(CommitOptions::default(), &socket), "a socket");
    // A whiteout is one only in an upper directory.
    assert_eq!(
        refuse(CommitOptions::default(), &tree::whiteout),
        "a device"
    );
    let redirect = |path: &Path| {
        fs::create_dir(path).unwrap();
        rustix::fs::setxattr(path, c"user.overlay.redirect", b"/y", XattrFlags::empty()).unwrap();
    };
    assert!(refuse(UPPER, &redirect).contains("lower layer"));
    if is_root() {
        let device = |path: &Path| {
            let null = rustix::fs::makedev(1, 3);
            rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, null).unwrap();
        };
        assert_eq!(refuse(UPPER, &device), "a device");
    }
    assert_consistent(&test.store);
}

#[test]
fn sockets_and_fifos_can_be_left_out() {
    let test = TestStore::new();
    let staging = test.store.stage().unwrap();
    let path = staging.path();
    drop(UnixListener::bind(path.join("s")).unwrap());
    rustix::fs::mknodat(CWD, path.join("p"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::write(path.join("f"), "x").unwrap();
    let options = CommitOptions {
        specials: Specials::LeaveOut,
        ..UPPER
    };
    let committed = test.store.commit(staging, options).unwrap();
    assert_eq!(
        said(&committed.left_out),
        ["p is left out: a FIFO", "s is left out: a socket"]
    );
    assert_eq!(names(test.store.layer_path(&committed.layer.id)), ["f"]);
    assert_consistent(&test.store);
}

#[test]
fn marks_of_overlayfs_become_what_every_mount_reads() {
    let test = TestStore::new();
    let lower = test.commit(|root| {
        for directory in ["opaque", "merged"] {
            fs::create_dir(root.join(directory)).unwrap();
            fs::write(root.join(directory).join("old"), "x").unwrap();
        }
        fs::write(root.join("gone"), "x").unwrap();
        fs::write(root.join("gone2"), "x").unwrap();
    });
    let set = |path: &Path, name, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
    };
    let upper = test.commit_upper(|root| {
        fs::create_dir(root.join("opaque")).unwrap();
        // As root the mark of a mount without `userxattr`, which a mount with it does not read.
        if is_root() {
            set(&root.join("opaque"), c"trusted.overlay.opaque", b"y");
        } else {
            tree::opaque(&root.join("opaque"));
        }
        fs::create_dir(root.join("merged")).unwrap();
        set(&root.join("merged"), c"user.overlay.origin", b"handle");
        set(&root.join("merged"), c"user.overlay.impure", b"y");
        // `x` says that whiteouts by attribute are inside.
        set(root, c"user.overlay.opaque", b"x");
        fs::write(root.join("gone"), "").unwrap();
        set(&root.join("gone"), c"user.overlay.whiteout", b"y");
        tree::whiteout(&root.join("gone2"));
    });
    let view = test
        .store
        .resolve(&Stack::new([lower.id, upper.id]))
        .unwrap();
    let paths: Vec<String> = view.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(paths, ["merged", "merged/old", "opaque"]);

    let path = test.store.layer_path(&upper.id);
    let attributes = |name: &str| {
        let mut list = [0u8; 256];
        let length = rustix::fs::llistxattr(path.join(name), &mut list).unwrap();
        String::from_utf8(list[..length].to_vec()).unwrap()
    };
    assert_eq!(attributes("opaque"), "user.overlay.opaque\0");
    assert_eq!(attributes("merged"), "");
    assert_eq!(attributes(""), "");
    let gone = fs::symlink_metadata(path.join("gone")).unwrap();
    assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
    assert_consistent(&test.store);
}

#[test]
fn marks_in_a_plain_tree_mean_nothing() {
    let test = TestStore::new();
    let lower = test.commit(|root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/old"), "x").unwrap();
    });
    let plain = test.commit(|root| {
        fs::create_dir(root.join("d")).unwrap();
        tree::opaque(&root.join("d"));
    });
    let view = test
        .store
        .resolve(&Stack::new([lower.id, plain.id]))
        .unwrap();
    assert!(view.get(b"d/old").is_some());
    let path = test.store.layer_path(&plain.id).join("d");
    assert!(rustix::fs::getxattr(path, c"user.overlay.opaque", &mut [0u8; 8]).is_err());
}

#[test]
fn an_upper_in_its_place_is_taken_over_by_rename() {
    let test = TestStore::new();
    let upper = test.store.dir("envs").unwrap().join("upper");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("f"), "x").unwrap();
    let inode = fs::metadata(upper.join("f")).unwrap().ino();

    let staging = test.store.stage_existing(&upper).unwrap();
    let prepared = test.store.prepare(staging, UPPER).unwrap();
    let id = prepared.id();
    assert!(upper.exists());
    let committed = prepared.publish().unwrap();
    assert_eq!(committed.layer.id, id);
    assert!(!upper.exists());
    let path = test.store.layer_path(&id).join("f");
    assert_eq!(fs::metadata(path).unwrap().ino(), inode);
    assert_consistent(&test.store);
}

#[test]
fn an_upper_that_is_refused_stays_as_it_was() {
    let test = TestStore::new();
    let upper = test.store.dir("envs").unwrap().join("upper");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("f"), "x").unwrap();
    tree::chmod(&upper.join("f"), 0o4755);
    drop(UnixListener::bind(upper.join("s")).unwrap());
    let staging = test.store.stage_existing(&upper).unwrap();
    assert!(test.store.commit(staging, UPPER).is_err());
    assert_eq!(names(&upper), ["f", "s"]);
    let mode = fs::metadata(upper.join("f")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o4755);
    assert_consistent(&test.store);
}

#[test]
fn an_upper_of_which_a_layer_would_not_be_all_is_refused_and_left_as_it_was() {
    let test = TestStore::new();
    let envs = test.store.dir("envs").unwrap();
    let prepare = |upper: &Path, is_still: bool| {
        let staging = test.store.stage_existing(upper).unwrap();
        test.store.prepare_whole(staging, &|_| is_still)
    };
    let upper = envs.join("good");
    fs::create_dir(&upper).unwrap();
    fs::create_dir(upper.join("d")).unwrap();
    fs::write(upper.join("d/f"), "x").unwrap();
    symlink("f", upper.join("d/link")).unwrap();
    assert!(prepare(&upper, true).is_ok());
    assert!(prepare(&upper, false).is_err());

    for what in ["mode", "socket", "name", "attribute", "root", "owner"] {
        if what == "owner" && !is_root() {
            continue;
        }
        let upper = envs.join(what);
        fs::create_dir(&upper).unwrap();
        let [file, link, other] = ["f", "l", "s"].map(|name| upper.join(name));
        fs::write(&file, "x").unwrap();
        symlink("f", &link).unwrap();
        match what {
            "mode" => tree::chmod(&file, 0o4755),
            "socket" => drop(UnixListener::bind(&other).unwrap()),
            "name" => fs::hard_link(&file, envs.join("other")).unwrap(),
            "attribute" => set_note(&file),
            "root" => tree::chmod(&upper, 0o711),
            _ => std::os::unix::fs::lchown(&link, Some(1), Some(1)).unwrap(),
        }
        let found = names(&upper);
        assert!(
            matches!(prepare(&upper, true), Err(Error::Refused { .. })),
            "{what}"
        );
        assert_eq!(names(&upper), found, "{what}");
    }
    let mode = fs::metadata(envs.join("mode/f"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o4755);
    assert_eq!(fs::metadata(envs.join("name/f")).unwrap().nlink(), 2);
    assert_consistent(&test.store);
}

fn set_note(path: &Path) {
    rustix::fs::setxattr(path, c"user.note", b"x", XattrFlags::empty()).unwrap();
}

#[test]
fn what_cannot_be_recorded_with_its_layer_stays_where_it_was() {
    let test = TestStore::new();
    let upper = test.store.dir("envs").unwrap().join("upper");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("f"), "x").unwrap();
    for is_there_before in [false, true] {
        if is_there_before {
            test.commit(|root| {
                fs::write(root.join("f"), "x").unwrap();
                let time = fs::metadata(upper.join("f")).unwrap().modified().unwrap();
                let file = fs::File::options().write(true).open(root.join("f"));
                file.unwrap().set_modified(time).unwrap();
            });
        }
        let staging = test.store.stage_existing(&upper).unwrap();
        let prepared = test.store.prepare_whole(staging, &|_| true).unwrap();
        let failed = prepared.publish_with(|_, _| Err::<(), _>(Error::DamagedStack));
        assert!(matches!(failed, Err(Error::DamagedStack)));
        assert_eq!(names(&upper), ["f"]);
        assert_eq!(
            test.store.layers().unwrap().len(),
            usize::from(is_there_before)
        );
        assert_consistent(&test.store);
    }
    let staging = test.store.stage_existing(&upper).unwrap();
    let prepared = test.store.prepare_whole(staging, &|_| true).unwrap();
    assert!(prepared.publish().unwrap().reused);
    assert!(!upper.exists());
}

#[test]
fn only_directories_of_the_store_are_taken_over() {
    let test = TestStore::new();
    let outside = test.outside("mine");
    fs::create_dir(&outside).unwrap();
    let layer = test.commit(sample);
    let envs = test.store.dir("envs").unwrap();
    symlink(&outside, envs.join("link")).unwrap();
    let own = test.store.layer_path(&layer.id);
    for path in [
        &outside,
        &envs,
        &envs.join("link"),
        &envs.join("link/x"),
        &own,
    ] {
        assert!(
            test.store.stage_existing(path).is_err(),
            "{}",
            path.display()
        );
    }
    assert!(outside.exists());
    assert_consistent(&test.store);
}

#[test]
fn the_same_tree_is_kept_once() {
    let test = TestStore::new();
    let make = || {
        let staging = test.store.stage().unwrap();
        sample_at(1)(staging.path());
        test.store
            .commit(staging, CommitOptions::default())
            .unwrap()
    };
    let (one, two) = (make(), make());
    assert_eq!(one.layer.id, two.layer.id);
    assert!(!one.reused && two.reused);
    assert_eq!(test.store.layers().unwrap().len(), 1);
    assert_consistent(&test.store);
}

#[test]
fn thirty_two_commits_at_once_from_eight_processes_make_one_layer() {
    let name = "commit::thirty_two_commits_at_once_from_eight_processes_make_one_layer";
    let work = |store: &Store| {
        let one = || commit(store, CommitOptions::default(), sample_at(7)).id;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            let ids: HashSet<LayerId> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            assert_eq!(ids.len(), 1);
        });
    };
    if let Some(home) = again::argument() {
        return work(&Store::open(home.as_ref()).unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("store");
    let children: Vec<_> = (0..8)
        .map(|_| {
            again::test(name, home.to_str().unwrap())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        again::assert_success(&child.wait_with_output().unwrap());
    }
    let store = Store::open(&home).unwrap();
    assert_eq!(store.layers().unwrap().len(), 1);
    assert_consistent(&store);
}

#[test]
fn a_tree_of_ten_thousand_files_and_a_large_one_are_kept() {
    let test = TestStore::new();
    let large = vec![7u8; 3_000_000];
    let layer = test.commit(|root| {
        for directory in 0..20 {
            let directory = root.join(directory.to_string());
            fs::create_dir(&directory).unwrap();
            for file in 0..500 {
                fs::write(directory.join(file.to_string()), file.to_string()).unwrap();
            }
        }
        fs::write(root.join("large"), &large).unwrap();
    });
    assert_eq!(layer.entries, 10_021);
    let manifest = test.store.manifest(&layer.id).unwrap();
    let Kind::File { hash, .. } = manifest.get(b"large").unwrap().kind else {
        panic!("not a file");
    };
    assert_eq!(hash, blake3::hash(&large).into());
    assert_consistent(&test.store);
}

#[test]
fn attributes_that_only_root_sees_are_dropped_too() {
    if !is_root() {
        return skip("root", "only root sees attributes of the family trusted");
    }
    let test = TestStore::new();
    let layer = test.commit(|root| {
        fs::write(root.join("f"), "x").unwrap();
        rustix::fs::setxattr(root.join("f"), c"trusted.note", b"x", XattrFlags::empty()).unwrap();
    });
    let path = test.store.layer_path(&layer.id).join("f");
    assert!(rustix::fs::getxattr(path, c"trusted.note", &mut [0u8; 8]).is_err());
}
