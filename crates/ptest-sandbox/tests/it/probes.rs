//! Probes say what is possible, and leave nothing behind.

use std::fs;

use ptest_sandbox::probe;

use crate::support::{lacks_overlays, launcher, tempdir};

#[test]
fn a_probe_of_stacks_does_the_real_thing_and_tidies_up() {
    if lacks_overlays() {
        return;
    }
    let directory = tempdir();
    probe::overlay(&launcher(), directory.path()).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_refusal_says_what_why_and_what_to_do() {
    let refusal = probe::overlay(&launcher(), std::path::Path::new("/nonexistent")).unwrap_err();
    assert_eq!(refusal.what, "stack layers in /nonexistent");
    assert!(refusal.why.contains("No such file"), "{refusal:?}");
    if lacks_overlays() {
        return;
    }
    // procfs cannot be written at all; a kernel file system can never carry a stack.
    let refusal = probe::overlay(&launcher(), std::path::Path::new("/proc")).unwrap_err();
    assert!(!refusal.why.is_empty());
}
