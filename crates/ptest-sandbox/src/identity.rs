//! Which process a number means: a number is given again, with the start time it is not.

use std::fs;
use std::io;

/// When a running process started, in clock ticks since boot: proc_pid_stat(5), field 22.
///
/// # Errors
///
/// When there is no such process, or it is a zombie.
pub fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The command name may hold spaces and parentheses: fields count from the last `)`.
fn parse(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_has_none() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let stat = || fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        while !stat().contains(") Z ") {
            std::thread::yield_now();
        }
        assert!(start_time(child.id()).is_err());
        child.wait().unwrap();
    }

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let tail = (4..=52)
            .map(|field| field.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(parse(&format!("7 (a) b) S {tail}")), Some(22));
    }
}
