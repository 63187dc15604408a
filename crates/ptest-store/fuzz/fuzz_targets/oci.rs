//! Whatever is in a package, it is read or refused.
#![no_main]

mod shape;

use libfuzzer_sys::fuzz_target;
use ptest_store::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    // As a file, and as the documents of one that is whole otherwise: a digest is never guessed.
    let _ = fuzzing::package(&shape::with_checksums(bytes));
    if let Some(file) = shape::assembled(bytes) {
        let _ = fuzzing::package(&file);
    }
});
