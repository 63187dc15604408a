//! Who users and groups are in a new user namespace. Written by a process outside of it: none inside may, but for itself.

use std::fs;
use std::io::Write as _;

use rustix::process::{Pid, getegid, geteuid};
use rustix::thread::{CapabilitySet, capabilities};

use crate::init::AtStage as _;
use crate::protocol::{Failure, Stage};

/// Maps every identity that exists here to itself where that is allowed, else the user's own.
///
/// With fewer ids, root inside could not use files of other users.
pub(crate) fn map(pid: Pid) -> Result<(), Failure> {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let all = held.contains(CapabilitySet::SETUID | CapabilitySet::SETGID);
    let pid = pid.as_raw_nonzero();
    let write = |name: &str, text: &str| {
        let path = format!("/proc/{pid}/{name}");
        let opened = fs::OpenOptions::new().write(true).open(&path);
        opened
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .at(Stage::IdentityMap, path)
    };
    if all {
        write("uid_map", &identity("/proc/self/uid_map")?)?;
        write("gid_map", &identity("/proc/self/gid_map")?)
    } else {
        write("setgroups", "deny")?;
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        write("uid_map", &format!("{user} {user} 1\n"))?;
        write("gid_map", &format!("{group} {group} 1\n"))
    }
}

/// The mapping of everything that a mapping contains to itself.
fn identity(path: &str) -> Result<String, Failure> {
    let text = fs::read_to_string(path).at(Stage::IdentityMap, path)?;
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (first, _, count) = (fields.next()?, fields.next()?, fields.next()?);
        Some(format!("{first} {first} {count}\n"))
    });
    Ok(lines.collect())
}
