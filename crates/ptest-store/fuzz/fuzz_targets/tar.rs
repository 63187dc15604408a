//! Whatever is in the tar of a layer, what is made of it is a manifest.
#![no_main]

mod shape;

use libfuzzer_sys::fuzz_target;
use ptest_store::{Manifest, fuzzing};

fuzz_target!(|bytes: &[u8]| {
    // What a fuzzer changes has no right checksum.
    let bytes = shape::with_checksums(bytes);
    if let Ok(manifest) = fuzzing::tar(&bytes) {
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
    }
});
