//! Copies on file systems that share contents, on ones that do not, and of files with holes.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use ptest_store::{CommitOptions, CopyMethod, Rewrite, Specials, Stack, Store};
use ptest_testkit::image::{Kind, image};
use ptest_testkit::require;

use crate::support::{TestStore, assert_consistent, commit};

const LARGE: usize = 64 << 20;

fn contents() -> Vec<u8> {
    (0..LARGE)
        .map(|index| (index >> 7) as u8 ^ index as u8)
        .collect()
}

/// The bytes that files take on a file system, what is still to be written included.
fn taken(place: &Path) -> u64 {
    rustix::fs::syncfs(File::open(place).unwrap()).unwrap();
    let facts = rustix::fs::statvfs(place).unwrap();
    (facts.f_blocks - facts.f_bfree) * facts.f_frsize
}

fn copies_share_their_contents_until_one_is_written(home: &Path) {
    let store = Store::open(&home.join("store")).unwrap();
    assert_eq!(store.copy_method().unwrap(), CopyMethod::Reflink);
    let contents = contents();
    let layer = commit(&store, CommitOptions::default(), |root| {
        fs::create_dir(root.join("bin")).unwrap();
        fs::write(root.join("bin/program"), "#!/ptest/env/bin/python\n").unwrap();
        fs::write(root.join("bin/other"), "#!/bin/sh\n").unwrap();
        fs::write(root.join("large"), &contents).unwrap();
    });
    let before = taken(home);
    let copy = home.join("copy");
    let rewrite = Rewrite {
        from: b"/ptest/env",
        to: copy.as_os_str().as_encoded_bytes(),
        select: &|_| None,
        finish: &|_, _| Ok(()),
    };
    let cloned = store
        .clone_tree(&Stack::new([layer.id]), &copy, Some(rewrite))
        .unwrap();
    // All but the script whose text is another.
    assert_eq!(cloned.shared, 2);
    let grown = taken(home) - before;
    assert!(grown < LARGE as u64 / 8, "{grown}");

    assert_eq!(fs::read(copy.join("large")).unwrap(), contents);
    let mut file = File::options()
        .write(true)
        .open(copy.join("large"))
        .unwrap();
    file.write_all(b"changed").unwrap();
    let (staging, _) = store.stage_copy(&copy, Specials::Refuse).unwrap();
    let changed = store.commit(staging, CommitOptions::default()).unwrap();
    assert_ne!(changed.layer.id, layer.id);
    assert!(taken(home) - before < LARGE as u64 / 8);
    assert_consistent(&store);
}

#[test]
fn on_btrfs_copies_share_their_contents_until_one_is_written() {
    let image = require!(image(Kind::Btrfs));
    copies_share_their_contents_until_one_is_written(image.path());
}

#[test]
fn on_xfs_copies_share_their_contents_until_one_is_written() {
    let image = require!(image(Kind::Xfs));
    copies_share_their_contents_until_one_is_written(image.path());
}

#[test]
fn another_file_system_gets_copies() {
    let image = require!(image(Kind::Xfs));
    let test = TestStore::new();
    let layer = test.commit(|root| fs::write(root.join("f"), "x").unwrap());
    let copy = image.path().join("copy");
    let cloned = test
        .store
        .clone_tree(&Stack::new([layer.id]), &copy, None)
        .unwrap();
    assert_eq!((cloned.shared, cloned.entries), (0, 1));
    assert_eq!(fs::read(copy.join("f")).unwrap(), b"x");
}

#[test]
fn holes_stay_holes_in_every_copy() {
    const SIZE: u64 = 5 << 30;
    let test = TestStore::new();
    let fill = |path: &Path| {
        let mut file = File::create(path).unwrap();
        file.seek(SeekFrom::Start(3 << 30)).unwrap();
        file.write_all(b"in the middle").unwrap();
        file.set_len(SIZE).unwrap();
    };
    let other = test.outside("other");
    fill(&other);
    // A file with another name is copied when it is committed.
    let layer = test.commit(|root| fs::hard_link(&other, root.join("sparse")).unwrap());
    assert_eq!(layer.bytes, SIZE);
    let copy = test.outside("copy");
    test.store
        .clone_tree(&Stack::new([layer.id]), &copy, None)
        .unwrap();
    for path in [
        test.store.layer_path(&layer.id).join("sparse"),
        copy.join("sparse"),
    ] {
        let facts = fs::metadata(&path).unwrap();
        assert_eq!(facts.len(), SIZE);
        assert!(facts.blocks() * 512 < 1 << 20, "{}", facts.blocks());
        let mut found = [0; 13];
        let file = File::open(&path).unwrap();
        rustix::io::pread(&file, &mut found, 3 << 30).unwrap();
        assert_eq!(&found, b"in the middle");
    }
    assert_ne!(
        fs::metadata(&other).unwrap().ino(),
        fs::metadata(test.store.layer_path(&layer.id).join("sparse"))
            .unwrap()
            .ino()
    );
}
