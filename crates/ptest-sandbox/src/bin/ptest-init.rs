//! Process 1 of a sandbox. Started by `ptest_sandbox::Launcher`, never by hand.

use std::process::ExitCode;

fn main() -> ExitCode {
    ptest_sandbox::init::main(std::env::args_os().skip(1))
}
