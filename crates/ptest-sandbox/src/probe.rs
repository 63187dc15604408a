//! Finds out what this machine lets this user do, by doing it.
//!
//! Versions and settings tell little: kernels are patched, security modules refuse, file systems
//! cannot carry an overlay. Each probe makes a throw-away sandbox and leaves nothing behind.

use std::error::Error as _;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::init::{EXERCISE, STEPS, fill_lower};
use crate::launch::{LaunchOptions, Launcher, Sandbox};
use crate::plan::{Access, Mount, Overlay, Plan, Upper};
use crate::profile::{ENVIRONMENT, Shape};
use crate::protocol::Stage;
use crate::run::{Command, Stdio};

/// How long one step may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Where the init program is inside a probe.
const PROGRAM: &str = "/ptest/init";

/// Something that this machine does not let this user do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was tried.
    pub what: String,
    /// Why it failed, each cause once.
    pub why: String,
    /// What a person can do about it.
    pub hint: Option<String>,
}

/// Whether a standard sandbox can be made and runs commands.
pub fn user_namespaces(launcher: &Launcher) -> Result<(), Refusal> {
    let made = sandbox(launcher, Vec::new()).and_then(|sandbox| {
        let missing = Command::new("/ptest/probe/does-not-exist");
        // A command that cannot be found shows that init works, and needs no program.
        match run(&sandbox, &missing) {
            Err(error) if error.exit_code() == Some(127) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(Error::Malformed),
        }
    });
    made.map_err(|error| refusal("make a sandbox", &error))
}

/// Whether stacks can be mounted on the file system of a directory, and do what they must: delete
/// and recreate a directory of a lower layer, copy a file up, and show all of it in a new stack.
///
/// The directory must be writable; what is made in it is removed.
pub fn overlay(launcher: &Launcher, directory: &Path) -> Result<(), Refusal> {
    let what = format!("stack layers in {}", directory.display());
    let scratch = Scratch::create(directory).map_err(|error| refusal(&what, &error))?;
    scratch
        .exercise(launcher)
        .map_err(|error| refusal(&what, &error))
}

/// Directories of a probe, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn create(directory: &Path) -> Result<Self, Error> {
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|source| crate::client::system("get a random name", source))?;
        let path = directory.join(format!(".ptest-probe-{:016x}", u64::from_ne_bytes(bytes)));
        let scratch = Self(path.clone());
        let make = || {
            fs::create_dir(&path)?;
            for name in ["bottom", "upper", "work", "second-upper", "second-work"] {
                fs::create_dir(path.join(name))?;
            }
            fill_lower(&path.join("bottom"))
        };
        match make() {
            Ok(()) => Ok(scratch),
            Err(source) => Err(Error::Io {
                action: "write in",
                path: directory.to_owned(),
                source,
            }),
        }
    }

    fn exercise(&self, launcher: &Launcher) -> Result<(), Error> {
        let path = |name: &str| self.0.join(name);
        let upper = |directory, work| {
            Some(Upper {
                directory: path(directory),
                work: path(work),
            })
        };
        let stacks = [
            (vec![path("bottom")], upper("upper", "work")),
            (
                vec![path("bottom"), path("upper")],
                upper("second-upper", "second-work"),
            ),
        ];
        for (step, (lowers, upper)) in STEPS.into_iter().zip(stacks) {
            let stack = Overlay {
                lowers,
                upper,
                target: ENVIRONMENT.into(),
            };
            let program = fs::canonicalize(launcher.program()).map_err(|source| Error::Io {
                action: "find",
                path: launcher.program().to_owned(),
                source,
            })?;
            let program = Mount::bind(program, PROGRAM, Access::ReadOnly);
            let sandbox = sandbox(launcher, vec![Mount::Overlay(stack), program])?;
            run(
                &sandbox,
                &Command::new(PROGRAM).args([EXERCISE, step, ENVIRONMENT]),
            )?;
            sandbox.stop(Duration::ZERO)?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for work in ["work", "second-work"] {
            // The kernel leaves directories that nobody may enter, one in the other.
            for inner in ["work", "work/incompat", "work/incompat/volatile"] {
                let inner = self.0.join(work).join(inner);
                let _absent = fs::set_permissions(inner, Permissions::from_mode(0o700));
            }
        }
        let _absent = fs::remove_dir_all(&self.0);
    }
}

fn sandbox(launcher: &Launcher, extra: Vec<Mount>) -> Result<Sandbox, Error> {
    let plan: Plan = Shape {
        extra,
        ..Shape::default()
    }
    .plan()?;
    launcher.launch(&plan, LaunchOptions::default())
}

fn run(sandbox: &Sandbox, command: &Command) -> Result<(), Error> {
    let open = || {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
    };
    let null = open().map_err(|source| Error::Io {
        action: "open",
        path: "/dev/null".into(),
        source,
    })?;
    let run = sandbox.spawn(command, Stdio::Descriptors([null.as_fd(); 3]))?;
    match run.wait_for(LIMIT)? {
        Some(exit) if exit.status.success() => Ok(()),
        Some(exit) => Err(Error::System {
            action: "work in a mounted stack",
            source: io::Error::other(format!("the exercise ended with {}", exit.status.code())),
        }),
        None => Err(Error::Deadline {
            action: "work in a mounted stack",
            limit: LIMIT,
        }),
    }
}

fn refusal(what: &str, error: &Error) -> Refusal {
    let mut causes = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(source) = cause {
        causes.push(source.to_string());
        cause = source.source();
    }
    Refusal {
        what: what.to_owned(),
        why: causes.join(": "),
        hint: hint(error),
    }
}

/// What a person can do, from what the machine's settings say.
fn hint(error: &Error) -> Option<String> {
    let failure = error.failure()?;
    let setting = |name: &str| -> Option<i64> {
        fs::read_to_string(Path::new("/proc/sys").join(name))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let text = match failure.stage {
        Stage::Namespaces if setting("user/max_user_namespaces") == Some(0) => {
            "user namespaces are switched off: `sysctl user.max_user_namespaces=15000` allows them"
        }
        Stage::Namespaces if setting("kernel/unprivileged_userns_clone") == Some(0) => {
            "user namespaces are root's only: `sysctl kernel.unprivileged_userns_clone=1` allows them"
        }
        Stage::Namespaces if failure.errno == libc::ENOSPC => {
            "too many namespaces are in use: raise the sysctls user.max_*_namespaces"
        }
        Stage::Namespaces if failure.errno == libc::ENOSYS => "Linux 5.12 or newer is needed",
        Stage::Namespaces => {
            "in a container, allow namespaces: run it with `--security-opt seccomp=unconfined`, or \
             with a profile that allows clone3 with CLONE_NEWUSER"
        }
        Stage::IdentityMap | Stage::Root | Stage::Mount | Stage::Source
            if setting("kernel/apparmor_restrict_unprivileged_userns") == Some(1) =>
        {
            "AppArmor restricts user namespaces (Ubuntu 23.10 and newer): install a profile that \
             allows `userns` for ptest-init in /etc/apparmor.d, or set the sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0"
        }
        Stage::Mount if failure.subject == "/proc" => {
            "the /proc of this container is partly covered, so a fresh one is refused: run it with \
             `--security-opt systempaths=unconfined`"
        }
        Stage::Overlay => {
            "this file system cannot carry an overlay (another overlay or a network file system?): \
             choose another directory"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
