//! Whatever init answers a client, it is understood in one way or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ptest_sandbox::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::replies(bytes);
});
