//! Stacks of layers: any number, written to, mounted again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ptest_sandbox::profile::{ENVIRONMENT, Stack};
use ptest_sandbox::{Error, LaunchOptions, Sandbox, Shape, Upper};

use crate::support::{lacks_overlays, launch, launcher, sh, tempdir};

fn layers(root: &Path, count: usize) -> Vec<PathBuf> {
    let make = |index: usize| {
        let layer = root.join(format!("layers/{index:064}"));
        fs::create_dir_all(layer.join("lib")).unwrap();
        fs::write(layer.join("lib").join(index.to_string()), "own").unwrap();
        fs::write(layer.join("lib/shared"), index.to_string()).unwrap();
        layer
    };
    (0..count).map(make).collect()
}

fn upper(root: &Path) -> Upper {
    let upper = Upper {
        directory: root.join("upper"),
        work: root.join("work"),
    };
    fs::create_dir_all(&upper.directory).unwrap();
    fs::create_dir_all(&upper.work).unwrap();
    upper
}

fn sandbox(stack: Stack) -> Sandbox {
    launch(
        &Shape {
            environment: Some(stack),
            ..Shape::default()
        }
        .plan()
        .unwrap(),
    )
}

/// Makes what the kernel left removable.
fn tidy(root: &Path) {
    let inner = root.join("work/work");
    if inner.exists() {
        fs::set_permissions(inner, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
}

#[test]
fn stacks_of_many_layers_show_all_of_them_the_last_on_top() {
    if lacks_overlays() {
        return;
    }
    for count in [1, 2, 129, 500] {
        let root = tempdir();
        let lowers = layers(root.path(), count);
        for upper in [None, Some(upper(root.path()))] {
            let writable = upper.is_some();
            let sandbox = sandbox(Stack {
                lowers: lowers.clone(),
                upper,
            });
            let seen = sh(
                &sandbox,
                &format!("cd {ENVIRONMENT}/lib && ls | wc -l && cat shared"),
            );
            assert_eq!(seen, format!("{}\n{}", count + 1, count - 1));
            let write = sh(
                &sandbox,
                &format!("touch {ENVIRONMENT}/x 2>/dev/null && echo can || echo cannot"),
            );
            assert_eq!(write, if writable { "can" } else { "cannot" });
        }
        assert!(root.path().join("upper/x").exists());
        assert!(!lowers[0].join("x").exists());
        tidy(root.path());
    }
}

#[test]
fn more_layers_than_the_kernel_takes_are_an_error_of_their_own() {
    let stack = Stack {
        lowers: vec!["/layer".into(); 501],
        upper: None,
    };
    let plan = Shape {
        environment: Some(stack),
        ..Shape::default()
    }
    .plan()
    .unwrap();
    let error = launcher()
        .launch(&plan, LaunchOptions::default())
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooManyLayers {
                found: 501,
                limit: 500
            }
        ),
        "{error:?}"
    );
}

#[test]
fn changes_survive_the_sandbox_and_lower_directories_can_be_removed_and_made_again() {
    if lacks_overlays() {
        return;
    }
    let root = tempdir();
    let stack = Stack {
        lowers: layers(root.path(), 3),
        upper: Some(upper(root.path())),
    };
    let first = sandbox(stack.clone());
    sh(
        &first,
        &format!("cd {ENVIRONMENT} && rm -r lib && mkdir lib && echo new > lib/new"),
    );
    first.stop(Duration::ZERO).unwrap();
    assert_eq!(
        sh(&sandbox(stack.clone()), &format!("ls {ENVIRONMENT}/lib")),
        "new"
    );
    // Also when init had no time to unmount anything.
    let killed = sandbox(stack.clone());
    let init = rustix::process::Pid::from_raw(killed.pid()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    assert!(killed.wait_for_end(crate::support::LIMIT).unwrap());
    assert_eq!(sh(&sandbox(stack), &format!("ls {ENVIRONMENT}/lib")), "new");
    tidy(root.path());
}

#[test]
fn the_environment_appears_at_other_paths_even_in_a_hidden_store() {
    if lacks_overlays() {
        return;
    }
    let root = tempdir();
    let store = root.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("secret"), "x").unwrap();
    let alias = store.join("envs/e1/env");
    let stack = Stack {
        lowers: layers(&store, 2),
        upper: Some(upper(&store)),
    };
    let standard = Shape {
        environment: Some(stack),
        hide: vec![store.clone()],
        write: vec![root.path().into()],
        aliases: vec![alias.clone()],
        ..Shape::default()
    };
    let sandbox = launch(&standard.plan().unwrap());
    sh(&sandbox, &format!("echo same > {}/file", alias.display()));
    assert_eq!(sh(&sandbox, &format!("cat {ENVIRONMENT}/file")), "same");
    assert_eq!(sh(&sandbox, &format!("ls {}", store.display())), "envs");
    drop(sandbox);
    tidy(&store);
}

#[test]
fn names_with_every_character_that_options_could_trip_over_can_be_layers() {
    if lacks_overlays() {
        return;
    }
    let root = tempdir();
    let odd = root.path().join("a b:c,d\\e=ü");
    let stack = Stack {
        lowers: layers(&odd, 2),
        upper: Some(upper(&odd)),
    };
    assert_eq!(
        sh(&sandbox(stack), &format!("cat {ENVIRONMENT}/lib/shared")),
        "1"
    );
    tidy(&odd);
}
