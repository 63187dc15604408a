//! The last steps of a new process on its way to becoming the command.
//!
//! It looks for the program as execvp does, but on the PATH of the command's own environment.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::{Resource, Rlimit, chdir, getrlimit, setpgid, setrlimit};

use crate::init::{AtStage as _, security};
use crate::plan::Privileges;
use crate::protocol::{Failure, Resources, Spawn, Stage};
use crate::sys;

/// Where programs are looked for when the environment has no PATH.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// What the new process needs besides the command.
pub(super) struct Context<'a> {
    pub(super) privileges: &'a Privileges,
    /// Standard input, output and error.
    pub(super) descriptors: [OwnedFd; 3],
    /// The first of them is the terminal whose foreground the command takes.
    pub(super) terminal: bool,
    pub(super) resources: Resources,
}

/// Becomes the command. Returns only why it could not.
pub(super) fn become_command(spawn: &Spawn, context: &Context<'_>) -> Failure {
    match prepare(spawn, context).and_then(|()| execute(spawn)) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn prepare(spawn: &Spawn, context: &Context<'_>) -> Result<(), Failure> {
    setpgid(None, None).at(Stage::Fork, "")?;
    if context.terminal {
        // Signals are still blocked: a background process that takes the foreground is stopped.
        let group = rustix::process::getpid();
        rustix::termios::tcsetpgrp(&context.descriptors[0], group).at(Stage::Terminal, "")?;
    }
    for (target, source) in (0..).zip(&context.descriptors) {
        sys::place_descriptor(source.as_fd(), target).at(Stage::Descriptors, "")?;
    }
    chdir(&spawn.directory).at(Stage::Directory, &spawn.directory)?;
    limit(&context.resources).at(Stage::Limits, "")?;
    // Init has given every signal its default action, and changes none.
    sys::unblock_signals();
    security::restrict(context.privileges).at(Stage::Privileges, "")?;
    sys::close_range(3, u32::MAX, true).at(Stage::Descriptors, "")
}

/// Limits what this process, and each that comes from it, may use.
pub(super) fn limit(resources: &Resources) -> io::Result<()> {
    // One that has used its time is told so, and killed a second later. The kernel counts whole seconds.
    let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let all = [
        (Resource::Nproc, resources.processes, 0),
        (Resource::Nofile, resources.open_files, 0),
        (Resource::Fsize, resources.file_size, 0),
        (Resource::Cpu, resources.cpu_time.map(seconds), 1),
    ];
    for (resource, limit, grace) in all {
        let Some(limit) = limit else { continue };
        let inherited = getrlimit(resource);
        let lowest = |old: Option<u64>, new: u64| Some(old.map_or(new, |old| old.min(new)));
        let limits = Rlimit {
            current: lowest(inherited.current, limit),
            maximum: lowest(inherited.maximum, limit.saturating_add(grace)),
        };
        setrlimit(resource, limits)?;
    }
    Ok(())
}

fn execute(spawn: &Spawn) -> Result<Infallible, Failure> {
    let name = spawn.arguments.first().cloned().unwrap_or_default();
    let variables = spawn.environment.iter().map(|(key, value)| {
        let mut variable = key.clone();
        variable.push("=");
        variable.push(value);
        variable
    });
    let invalid = |_| io::Error::from_raw_os_error(libc::EINVAL);
    let strings = |values: Vec<OsString>| -> Result<Vec<CString>, Failure> {
        let converted = values
            .into_iter()
            .map(|value| CString::new(value.into_vec()));
        converted
            .collect::<Result<_, _>>()
            .map_err(invalid)
            .at(Stage::Request, &name)
    };
    let environment = strings(variables.collect())?;
    let mut arguments = strings(spawn.arguments.clone())?;

    let mut refused = None;
    for candidate in candidates(&name, &spawn.environment) {
        let program = CString::new(candidate)
            .map_err(invalid)
            .at(Stage::Request, &name)?;
        let mut error = sys::execute(&program, &arguments, &environment);
        if error.raw_os_error() == Some(libc::ENOEXEC) {
            // A script without a first line that names its interpreter is the shell's.
            arguments[0] = program.clone();
            arguments.insert(0, c"/bin/sh".to_owned());
            error = sys::execute(c"/bin/sh", &arguments, &environment);
        }
        match error.raw_os_error() {
            Some(libc::ENOENT) if exists(&program) => {
                return Err(error).at(Stage::Interpreter, OsStr::from_bytes(program.as_bytes()));
            }
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES) => refused = Some((error, program)),
            _ => return Err(error).at(Stage::Execute, OsStr::from_bytes(program.as_bytes())),
        }
    }
    match refused {
        // A directory on the PATH that may not be searched is no reason to stop looking, and
        // does not make the program found.
        Some((error, program)) if exists(&program) => {
            Err(error).at(Stage::Execute, OsStr::from_bytes(program.as_bytes()))
        }
        _ => Err(io::Error::from_raw_os_error(libc::ENOENT)).at(Stage::Search, &name),
    }
}

fn exists(program: &CStr) -> bool {
    access(program, Access::EXISTS).is_ok()
}

/// The paths to try, in order.
fn candidates(name: &OsStr, environment: &[(OsString, OsString)]) -> Vec<Vec<u8>> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.as_bytes().contains(&b'/') {
        return vec![name.as_bytes().to_vec()];
    }
    let path = environment.iter().rfind(|(key, _)| key == "PATH");
    let path = path.map_or(DEFAULT_PATH, |(_, value)| value.as_bytes());
    let directories = path.split(|byte| *byte == b':');
    // An empty entry means the working directory.
    let join = |directory: &[u8]| Path::new(OsStr::from_bytes(directory)).join(name);
    directories
        .map(|directory| join(directory).into_os_string().into_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(name: &str, path: Option<&str>) -> Vec<String> {
        let variables = path.map(|path| ("PATH".into(), path.into()));
        let environment: Vec<_> = variables.into_iter().collect();
        let found = candidates(name.as_ref(), &environment);
        found
            .into_iter()
            .map(|path| String::from_utf8(path).unwrap())
            .collect()
    }

    #[test]
    fn a_name_is_looked_for_in_every_directory_of_its_own_path() {
        assert_eq!(tried("x", Some("/a:/b:")), ["/a/x", "/b/x", "x"]);
        assert_eq!(
            tried("x", None),
            ["/usr/local/bin/x", "/usr/bin/x", "/bin/x"]
        );
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        assert_eq!(tried("./x", Some("/a")), ["./x"]);
        assert!(tried("", Some("/a")).is_empty());
    }
}
