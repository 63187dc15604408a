//! Copies of a stack: environments of the driver `clone`, and virtual environments that need ptest no more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ptest::progress::Silent;
use ptest::python::installed::{installed, verify};
use ptest::python::tree::Layers;
use ptest_store::{Depth, Verdict};

use crate::context::{open, with_pip};

/// Where an environment keeps its distributions, relative to it.
fn site_packages(tree: &Path) -> PathBuf {
    let mut found = fs::read_dir(tree.join("lib")).unwrap();
    let python = found.next().unwrap().unwrap().file_name();
    Path::new("lib").join(python).join("site-packages")
}

/// Fails unless every file is what the lists of its distributions say, and each has a list.
fn assert_lists_are_true(tree: &Path) {
    let site_packages = site_packages(tree);
    let layers = Layers::single(tree);
    let distributions = installed(&layers, &site_packages).unwrap();
    assert!(!distributions.is_empty());
    for distribution in distributions {
        let deviations = verify(&layers, &site_packages, &distribution).unwrap();
        assert_eq!(deviations, [], "{}", distribution.name);
    }
}

#[test]
fn the_scripts_of_a_copy_are_its_own_and_what_its_lists_say() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("a störe");
    let ptest = open(&home);
    let environment = ptest.create(&with_pip(directory.path()), &Silent).unwrap();
    let tree = home
        .join("envs")
        .join(environment.id().as_str())
        .join("tree");
    assert_lists_are_true(&tree);
    let output = Command::new(tree.join("bin/pip"))
        .arg("--version")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(tree.to_str().unwrap()), "{said}");
    environment.remove().unwrap();
}

#[test]
fn a_virtual_environment_of_its_own_has_true_lists_and_changes_no_layer() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    // Too long for a first line.
    let place = directory
        .path()
        .join(format!("a plain {}", "v".repeat(120)));
    let made = ptest
        .materialize(
            None,
            &with_pip(directory.path()).requirements,
            &place,
            &Silent,
        )
        .unwrap();
    assert_eq!(made.path, place.canonicalize().unwrap());
    assert_lists_are_true(&place);
    let pip = |arguments: &[&str]| {
        let mut command = Command::new(place.join("bin/pip"));
        command.args(arguments).env_clear().output().unwrap()
    };
    let said = String::from_utf8(pip(&["--version"]).stdout).unwrap();
    assert!(said.contains(place.to_str().unwrap()), "{said}");
    assert!(pip(&["uninstall", "--yes", "pip"]).status.success());
    assert!(!place.join("bin/pip").exists());
    assert!(ptest.records().unwrap().is_empty());
    for layer in ptest.store().layers().unwrap() {
        let verdict = ptest.store().verify(&layer.id, Depth::Full).unwrap();
        assert_eq!(verdict, Verdict::Sound);
    }
}
