//! Stacks as ordinary directories.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use ptest_store::{Error, ErrorKind, Rewrite, Stack, Text, TreePath};

use crate::support::{TestStore, again, names, tree};

const PREFIX: &[u8] = b"/ptest/env";

fn skeleton(root: &Path) {
    for directory in ["bin", "lib"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    let program = "#!/ptest/env/bin/python\nimport sys\nprint(sys.argv[1:])\n";
    fs::write(root.join("bin/program"), program).unwrap();
    tree::chmod(&root.join("bin/program"), 0o755);
    fs::write(root.join("bin/activate"), "VIRTUAL_ENV=/ptest/env\n").unwrap();
    fs::write(root.join("lib/data.txt"), "/ptest/env\n").unwrap();
    symlink("/ptest/env/lib", root.join("lib64")).unwrap();
    symlink("program", root.join("bin/alias")).unwrap();
}

fn activation(path: &TreePath) -> Option<Text> {
    (path.as_bytes() == b"bin/activate").then_some(Text::Plain)
}

fn rewrite(to: &Path) -> Rewrite<'_> {
    Rewrite {
        from: PREFIX,
        to: to.as_os_str().as_encoded_bytes(),
        select: &activation,
        finish: &|_, _| Ok(()),
    }
}

#[test]
fn the_text_moves_and_the_rest_stays() {
    let test = TestStore::new();
    let layer = test.commit(skeleton);
    let place = test.outside("v");
    let cloned = test
        .store
        .clone_tree(&Stack::new([layer.id]), &place, Some(rewrite(&place)))
        .unwrap();
    assert_eq!(cloned.entries, 7);
    let text = |name: &str| fs::read_to_string(place.join(name)).unwrap();
    let prefix = place.to_str().unwrap();
    assert!(text("bin/program").starts_with(&format!("#!{prefix}/bin/python\n")));
    assert_eq!(text("bin/activate"), format!("VIRTUAL_ENV={prefix}\n"));
    assert_eq!(text("lib/data.txt"), "/ptest/env\n");
    assert_eq!(
        fs::read_link(place.join("lib64")).unwrap(),
        place.join("lib")
    );
    assert_eq!(
        fs::read_link(place.join("bin/alias")).unwrap(),
        Path::new("program")
    );
}

#[test]
fn the_caller_sees_what_was_rewritten_before_the_copy_appears() {
    let test = TestStore::new();
    let layer = test.commit(skeleton);
    let stack = Stack::new([layer.id]);
    let place = test.outside("v");
    let finish = |copy: &Path, rewritten: &[TreePath]| {
        assert!(!place.exists());
        let said: Vec<String> = rewritten.iter().map(ToString::to_string).collect();
        fs::write(copy.join("lib/rewritten"), said.join(" "))
    };
    let rewrite = Rewrite {
        finish: &finish,
        ..rewrite(&place)
    };
    test.store
        .clone_tree(&stack, &place, Some(rewrite))
        .unwrap();
    assert_eq!(
        fs::read_to_string(place.join("lib/rewritten")).unwrap(),
        "bin/activate bin/program"
    );

    let refused = test.outside("w");
    let rewrite = Rewrite {
        finish: &|_, _| Err(std::io::Error::other("no")),
        ..rewrite
    };
    assert!(
        test.store
            .clone_tree(&stack, &refused, Some(rewrite))
            .is_err()
    );
    assert!(!refused.exists());
    crate::support::assert_consistent(&test.store);
}

#[test]
fn modes_and_times_are_the_layers() {
    let test = TestStore::new();
    let layer = test.commit(|root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "x").unwrap();
        tree::chmod(&root.join("d/f"), 0o604);
        tree::chmod(&root.join("d"), 0o1551);
    });
    let place = test.outside("v");
    test.store
        .clone_tree(&Stack::new([layer.id]), &place, None)
        .unwrap();
    let original = fs::metadata(test.store.layer_path(&layer.id).join("d/f")).unwrap();
    let copy = fs::metadata(place.join("d/f")).unwrap();
    assert_eq!(copy.mode(), original.mode());
    assert_eq!(copy.modified().unwrap(), original.modified().unwrap());
    assert_ne!(copy.ino(), original.ino());
    let mode = fs::metadata(place.join("d")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o1551);
}

#[test]
fn a_script_runs_from_a_path_that_no_first_line_can_name() {
    let test = TestStore::new();
    let layer = test.commit(skeleton);
    // A space, a quotation mark, a dollar, and longer than 127 bytes.
    let place = test.outside(&format!("a \"$b' {}", "d".repeat(140)));
    test.store
        .clone_tree(&Stack::new([layer.id]), &place, Some(rewrite(&place)))
        .unwrap();
    // An interpreter that says what it was given.
    fs::write(place.join("bin/python"), "#!/bin/sh\necho \"$@\"\n").unwrap();
    tree::chmod(&place.join("bin/python"), 0o755);
    let program = place.join("bin/program");
    let output = Command::new(&program)
        .args(["1", "two words"])
        .output()
        .unwrap();
    let expected = format!("{} 1 two words\n", program.display());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{output:?}"
    );
}

#[test]
fn a_place_that_is_taken_is_refused_and_left_alone() {
    let test = TestStore::new();
    let layer = test.commit(skeleton);
    let stack = Stack::new([layer.id]);
    let place = test.outside("v");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("precious"), "x").unwrap();
    let file = test.outside("file");
    fs::write(&file, "x").unwrap();
    let link = test.outside("link");
    symlink("nowhere", &link).unwrap();
    for taken in [&place, &file, &link] {
        let error = test.store.clone_tree(&stack, taken, None).unwrap_err();
        assert!(matches!(&error, Error::DestinationTaken { path } if path == taken));
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
    assert_eq!(names(&place), ["precious"]);
    let empty = test.outside("empty");
    fs::create_dir(&empty).unwrap();
    test.store.clone_tree(&stack, &empty, None).unwrap();
    assert_eq!(names(&empty), ["bin", "lib", "lib64"]);
}

#[test]
fn a_failure_leaves_nothing() {
    let test = TestStore::new();
    let layer = test.commit(skeleton);
    let stack = Stack::new([layer.id]);
    fs::write(test.store.layer_path(&layer.id).join("lib/data.txt"), "").unwrap();
    let before = names(test.dir.path());
    let error = test
        .store
        .clone_tree(&stack, &test.outside("v"), None)
        .unwrap_err();
    assert_eq!(error.layer(), Some(layer.id));
    assert_eq!(names(test.dir.path()), before);
    let relative = test.store.clone_tree(&stack, Path::new("v"), None);
    assert!(matches!(relative, Err(Error::RelativePath { .. })));
    let place = test.outside("v");
    let line = test.outside("a\nb");
    let error = test
        .store
        .clone_tree(&stack, &place, Some(rewrite(&line)))
        .unwrap_err();
    assert!(matches!(error, Error::UnusablePrefix { .. }));
}

#[test]
fn writing_into_a_clone_changes_no_layer() {
    let test = TestStore::new();
    let layer = test.commit(skeleton);
    let place = test.outside("v");
    test.store
        .clone_tree(&Stack::new([layer.id]), &place, None)
        .unwrap();
    fs::write(place.join("lib/data.txt"), "changed").unwrap();
    crate::support::assert_consistent(&test.store);
}

#[test]
fn another_file_system_or_mount_gets_a_whole_tree_or_nothing() {
    if again::argument().is_none() {
        return again::in_mount_namespace(
            "materialize::another_file_system_or_mount_gets_a_whole_tree_or_nothing",
        );
    }
    let test = TestStore::new();
    let layer = test.commit(skeleton);
    let stack = Stack::new([layer.id]);
    let disk = test.outside("disk");
    fs::create_dir(&disk).unwrap();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &disk, "tmpfs", none, c"size=1m").unwrap();
    // What is mounted there cannot be replaced.
    test.store.clone_tree(&stack, &disk, None).unwrap();
    assert_eq!(names(&disk), ["bin", "lib", "lib64"]);
    for name in ["bin", "lib"] {
        fs::remove_dir_all(disk.join(name)).unwrap();
    }
    fs::remove_file(disk.join("lib64")).unwrap();
    // The same file system through another mount: the same device, and still no rename.
    let bound = test.outside("bound");
    fs::create_dir(&bound).unwrap();
    rustix::mount::mount_bind(&bound, &bound).unwrap();

    for place in [&disk, &bound] {
        test.store
            .clone_tree(&stack, &place.join("v"), None)
            .unwrap();
        assert_eq!(names(place.join("v")), ["bin", "lib", "lib64"]);
    }
    fs::write(test.store.layer_path(&layer.id).join("lib/data.txt"), "").unwrap();
    for place in [&disk, &bound] {
        assert!(
            test.store
                .clone_tree(&stack, &place.join("w"), None)
                .is_err()
        );
        assert_eq!(names(place), ["v"]);
    }
    rustix::mount::unmount(&bound, rustix::mount::UnmountFlags::DETACH).unwrap();
    rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::DETACH).unwrap();
}
