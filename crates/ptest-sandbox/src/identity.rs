//! Which process a number means: a number is given again, with the start time it is not.

use std::fs;
use std::io;
use std::str::FromStr;

/// When a running process started, in clock ticks since boot: proc_pid_stat(5), field 22.
///
/// # Errors
///
/// When there is no such process, or it is a zombie.
pub fn start_time(pid: u32) -> io::Result<u64> {
    field(pid, 22)
}

/// The parent of a running process; 0 for one whose parent is out of sight.
///
/// # Errors
///
/// As those of [`start_time`].
pub fn parent(pid: u32) -> io::Result<u32> {
    field(pid, 4)
}

fn field<T: FromStr>(pid: u32, number: usize) -> io::Result<T> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&stat, number).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The command name may hold spaces and parentheses: fields count from the last `)`, after which the third follows.
fn parse<T: FromStr>(stat: &str, number: usize) -> Option<T> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(number.checked_sub(4)?)?.parse().ok()
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
        let stat = format!("7 (a) b) S {tail}");
        assert_eq!((parse(&stat, 22), parse(&stat, 4)), (Some(22), Some(4)));
    }
}
