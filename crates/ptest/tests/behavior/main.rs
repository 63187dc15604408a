//! The behaviour suite on every engine of the library.
//!
//! Not for one engine's own tests: those are in `tests/it`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod memory;
mod virtualenv;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::Arguments;
use ptest::settings::Profile;
use ptest_testkit::suite::{self, Subject};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let subjects: Vec<Arc<dyn Subject>> = vec![
        Arc::new(memory::MemorySubject::new()),
        Arc::new(virtualenv::VirtualenvSubject::new(Profile::Standard)),
        Arc::new(virtualenv::VirtualenvSubject::new(Profile::None)),
    ];
    let trials = subjects.iter().flat_map(suite::trials).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
