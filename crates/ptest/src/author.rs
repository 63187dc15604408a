//! Who did something: the name of this process's user.

use std::fs;

use rustix::process::geteuid;

use crate::python::HostEnv;

/// The user's name as `/etc/passwd` has it, else as `LOGNAME` says (a directory service may have
/// given it), else the number.
pub(crate) fn of_this_process(host: &HostEnv) -> String {
    let number = geteuid().as_raw();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&users, number)
        .or_else(|| host.text("LOGNAME"))
        .map_or_else(|| number.to_string(), str::to_owned)
}

/// The first user of that number (passwd(5)).
fn name_in(users: &str, number: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/bash\n# +::\nanna:x:1000:100::/home/anna:/bin/sh\n";
        assert_eq!(name_in(users, 1000), Some("anna"));
        assert_eq!(name_in(users, 100), None);
    }
}
