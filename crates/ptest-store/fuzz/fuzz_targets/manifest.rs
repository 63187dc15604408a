//! A manifest that is read is the one that would be written, to the byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ptest_store::Manifest;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes);
        assert_eq!(manifest.id(), Manifest::id_of(bytes));
    }
});
