//! The `ptest` program. Everything is in the library beside it, which the Python package calls too.

use std::process::ExitCode;

fn main() -> ExitCode {
    ptest_cli::run(std::env::args_os(), ptest_cli::Host::current())
}
