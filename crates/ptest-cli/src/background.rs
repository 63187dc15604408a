//! Work that goes on when the command has ended: `ptest improve` in a process of its own, which ends by itself.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

/// What is added to the priority of background work: the least urgent that there is (nice(2)).
const NICE: i32 = 19;

/// Starts `ptest improve` on a store. Whether it starts is of no importance: the next command tries again.
pub(crate) fn improve(program: &Path, home: &Path) {
    let mut command = Command::new(program);
    command
        .args(["--quiet", "--ptest-home"])
        .arg(home)
        .args(["improve", "--background"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Not asked to end when the caller's terminal says so to the caller.
        .process_group(0);
    drop(command.spawn());
}

/// Makes this process one that disturbs nobody.
pub(crate) fn enter() {
    // Where it is refused the work is done all the same.
    let _ = rustix::process::nice(NICE);
}
