//! Whatever a program says to the proxy, or a person writes as a rule, it is read in one way or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ptest_sandbox::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::http(bytes);
    fuzzing::socks(bytes);
    fuzzing::rule(bytes);
});
