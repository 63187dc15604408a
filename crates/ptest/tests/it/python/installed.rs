//! Reading what is installed, by ptest and by others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ptest::python::installed::{DeviationKind, installed, verify};
use ptest::python::provenance::{Provenance, requested_layer};
use ptest::python::tree::Layers;
use ptest::python::wheel::{Layout, unpack};

use super::support::{pip_tool, python, skip};
use super::wheels::Builder;

const SITE: &str = "lib/python3.12/site-packages";

fn layout() -> Layout {
    Layout {
        site_packages: SITE.into(),
        lib_name: "python3.12".to_owned(),
    }
}

/// Two distributions and the layer that says how they came.
fn stack(directory: &Path) -> Layers {
    let mut layers = Vec::new();
    let mut infos = Vec::new();
    for (name, file) in [("PyThing", "one.py"), ("other", "two.py")] {
        let wheel = Builder::new(name, "1.0").file(file, "x").write(directory);
        let tree = directory.join(name);
        infos.push(unpack(&wheel, &layout(), &tree).unwrap().dist_info);
        layers.push(tree);
    }
    let provenance = directory.join("provenance");
    let distribution = Provenance {
        tree: &layers[0],
        dist_info: &infos[0],
        requested: true,
        direct_url: Some("{\"dir_info\":{\"editable\":true},\"url\":\"file:///p\"}"),
    };
    requested_layer(&[distribution], &layout(), &provenance).unwrap();
    layers.push(provenance);
    Layers(layers)
}

#[test]
fn distributions_are_listed_with_how_they_came() {
    let directory = tempfile::tempdir().unwrap();
    let layers = stack(directory.path());
    let found = installed(&layers, Path::new(SITE)).unwrap();
    let names: Vec<&str> = found.iter().map(|one| one.normalized.as_str()).collect();
    assert_eq!(names, ["other", "pything"]);
    assert!(found[1].requested && found[1].editable);
    assert_eq!(found[1].url.as_deref(), Some("file:///p"));
    assert_eq!(found[0].installer.as_deref(), Some("ptest"));
    assert!(!found[0].requested && !found[0].editable);
    for one in &found {
        assert_eq!(verify(&layers, Path::new(SITE), one).unwrap(), []);
    }
}

#[test]
fn what_is_changed_or_missing_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let layers = stack(directory.path());
    let found = installed(&layers, Path::new(SITE)).unwrap();
    fs::write(layers.0[0].join(SITE).join("one.py"), "y").unwrap();
    fs::remove_file(layers.0[1].join(SITE).join("two.py")).unwrap();
    let kinds: Vec<_> = found
        .iter()
        .flat_map(|one| verify(&layers, Path::new(SITE), one).unwrap())
        .map(|deviation| (deviation.path, deviation.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            (PathBuf::from(SITE).join("two.py"), DeviationKind::Missing),
            (PathBuf::from(SITE).join("one.py"), DeviationKind::Changed),
        ]
    );
}

#[test]
fn what_pip_installed_is_read_too() {
    let Some(interpreter) = python(">=3.10") else {
        return skip("python", "there is none");
    };
    let directory = tempfile::tempdir().unwrap();
    let wheel = Builder::new("thing", "1.0")
        .file("thing.py", "x = 1")
        .write(directory.path());
    let output = Command::new(&interpreter.executable)
        .args(["-I", "-S"])
        .arg(pip_tool().carried().unwrap().join("pip"))
        .args(["install", "--no-deps", "--no-index", "--prefix"])
        .arg(directory.path().join("env"))
        .arg(wheel)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let tree = Layers::single(directory.path().join("env"));
    let found = installed(&tree, &interpreter.site_packages).unwrap();
    assert_eq!(found[0].installer.as_deref(), Some("pip"));
    assert!(found[0].requested);
    assert_eq!(
        verify(&tree, &interpreter.site_packages, &found[0]).unwrap(),
        []
    );
}

#[test]
fn the_carried_pip_unpacks_and_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let wheel = pip_tool().carried_wheel().unwrap();
    let done = unpack(&wheel, &layout(), directory.path()).unwrap();
    assert_eq!(done.scripts, ["pip", "pip3"]);
    let tree = Layers::single(directory.path());
    let found = installed(&tree, Path::new(SITE)).unwrap();
    assert_eq!(found[0].name, "pip");
    assert_eq!(verify(&tree, Path::new(SITE), &found[0]).unwrap(), []);
}
