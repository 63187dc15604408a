//! What the fuzzers in `fuzz/` start from, and what they have found, once more: without a panic.

use std::fs;
use std::path::Path;

use ptest_store::{Manifest, fuzzing};

/// Calls `read` on every file of a directory; gives how many it read.
fn replay(name: &str, read: impl Fn(&[u8]) -> bool) -> usize {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(name);
    let files = fs::read_dir(directory).unwrap();
    files
        .filter(|file| read(&fs::read(file.as_ref().unwrap().path()).unwrap()))
        .count()
}

#[test]
fn nothing_that_fuzzers_were_given_or_found_panics() {
    let manifests = replay("manifest", |bytes| match Manifest::decode(bytes) {
        Ok(manifest) => manifest.encode() == bytes,
        Err(_) => false,
    });
    let tars = replay("tar", |bytes| fuzzing::tar(bytes).is_ok());
    let packages = replay("oci", |bytes| fuzzing::package(bytes).is_ok());
    // The fuzzers start from something that is right.
    assert!(manifests >= 1 && tars >= 1 && packages >= 2);
}
