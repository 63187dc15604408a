//! Whether a process can write to a file. Not for what follows from it.

use std::fs::{self, File};

use ptest_sandbox::is_still;
use rustix::fd::AsFd as _;

#[test]
fn a_file_is_still_unless_somebody_has_it_open_for_writing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "text").unwrap();
    let file = File::open(&path).unwrap();
    let is_still = || is_still(file.as_fd());
    assert!(is_still());
    let reader = File::open(&path).unwrap();
    assert!(is_still());
    let writer = File::options().append(true).open(&path).unwrap();
    assert!(!is_still());
    drop(writer);
    // Nobody is kept from opening it.
    assert!(is_still());
    drop(File::options().write(true).open(&path).unwrap());
    assert!(is_still());
    drop(reader);
    let pipe = rustix::pipe::pipe().unwrap().0;
    assert!(!ptest_sandbox::is_still(pipe.as_fd()));
}
