//! What ptest needs and can use on this machine: there or not, why, what to do.
//!
//! Each finding is made by doing the thing, never by a version. Not for repairing.

mod store;

use std::io;
use std::path::Path;
use std::time::Duration;

use ptest_sandbox::{LaunchOptions, Launcher, Level, Limits, Network, Shape, Strength, probe};
use ptest_store::CopyMethod;

use crate::engine::virtualenv::Virtualenv;
use crate::error::{Error, Result};
use crate::operation::with_causes;
use crate::ptest::Ptest;
use crate::python::NoCache;
use crate::python::uv::Uv;

/// Whether something is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is there and works.
    Ok,
    /// It is not there; ptest works without it, less well.
    Degraded,
    /// It is not there, and ptest needs it.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub name: &'static str,
    /// Whether it is to be had.
    pub health: Health,
    /// What was found, or why not.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Health {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// Looks at everything; `opened` is what came of opening the store at `home`.
///
/// Most of it needs a store: of one that cannot be opened, or whose database is damaged, only that and its disk are told.
pub fn examine(
    home: &Path,
    opened: &Result<Ptest>,
    program_directory: Option<&Path>,
    python: Option<&str>,
) -> Result<Vec<Finding>> {
    let disk = store::disk(home);
    let ptest = match opened.as_ref().map_err(said).and_then(store::sound) {
        Ok(ptest) => ptest,
        Err(trouble) => return Ok(vec![found("store", Health::Missing, Err(trouble)), disk]),
    };
    let engine = Virtualenv::new(ptest.store())?;
    let launcher = engine.launcher();
    Ok(vec![
        store::examine(ptest),
        disk,
        found("python", Health::Missing, interpreter(ptest, python)),
        found("uv", Health::Degraded, uv(ptest, program_directory)),
        found(
            "user namespaces",
            Health::Degraded,
            probe::user_namespaces(launcher)
                .map(|()| "a sandbox was made".to_owned())
                .map_err(refused),
        ),
        found(
            "overlay",
            Health::Degraded,
            probe::overlay(launcher, ptest.store().home())
                .map(|()| "a stack was mounted, changed and mounted again".to_owned())
                .map_err(refused),
        ),
        found("clone", Health::Degraded, clone(ptest)),
        found("strict", Health::Degraded, strict(launcher)),
        found(
            "memory limit",
            Health::Degraded,
            limit(
                launcher,
                Limits {
                    memory: Some(1 << 30),
                    ..Limits::default()
                },
            ),
        ),
        found(
            "cpus limit",
            Health::Degraded,
            limit(
                launcher,
                Limits {
                    cpus: Some(1000),
                    ..Limits::default()
                },
            ),
        ),
        found(
            "pids limit",
            Health::Degraded,
            limit(
                launcher,
                Limits {
                    processes: Some(64),
                    ..Limits::default()
                },
            ),
        ),
    ])
}

/// What was found; or what is wrong, and what to do about it.
type Looked = Result<String, (String, Option<String>)>;

fn interpreter(ptest: &Ptest, asked: Option<&str>) -> Looked {
    ptest
        .provisioner()
        .interpreter(ptest.store(), asked, &crate::progress::Silent)
        .map(|python| format!("{} {}", python.executable.display(), python.version))
        .map_err(|error| said(&error))
}

fn uv(ptest: &Ptest, program_directory: Option<&Path>) -> Looked {
    Uv::find(
        ptest.host(),
        program_directory,
        ptest.provisioner().supervision(),
        // Whether it works now is what is asked.
        &NoCache,
    )
    .map(|uv| uv.program.display().to_string())
    .ok_or_else(|| {
        let hint = "install uv: it chooses versions several times faster than pip".to_owned();
        ("not found; pip is used".to_owned(), Some(hint))
    })
}

/// How a stack is copied where it cannot be mounted. Copying is slower and takes room, but is all that many file
/// systems can do.
fn clone(ptest: &Ptest) -> Looked {
    match ptest.store().copy_method() {
        Ok(CopyMethod::Reflink) => Ok("files are shared until they are written".to_owned()),
        Ok(CopyMethod::Copy { errno }) => Ok(format!(
            "files are copied, for the store's file system cannot share them as btrfs and xfs do: {}",
            io::Error::from_raw_os_error(errno)
        )),
        Err(error) => Err(said(&error.into())),
    }
}

/// How a limit holds, seen by a sandbox that has it.
fn limit(launcher: &Launcher, limits: Limits) -> Looked {
    let options = LaunchOptions {
        id: format!("doctor-{}", std::process::id()),
        limits,
        ..LaunchOptions::default()
    };
    let hint = "a control group is needed that this user may change: as root have its controller mounted writable, as an \
                ordinary user start ptest by `systemd-run --user --scope -p Delegate=yes`";
    let hint = || Some(hint.to_owned());
    // An ordinary user's limit of processes needs a user namespace, which environments have.
    let plan = Shape::default()
        .plan()
        .map_err(|error| (failure(error), hint()))?;
    let sandbox = launcher
        .launch(&plan, options)
        .map_err(|error| (failure(error), hint()))?;
    let strength = sandbox.limits().first().map(|kept| kept.strength);
    sandbox
        .stop(Duration::ZERO)
        .map_err(|error| (failure(error), None))?;
    match strength {
        Some(Strength::Enforced) => Ok("the kernel enforces it".to_owned()),
        _ => Err((
            "it is only watched: what exceeds it is ended a moment later".to_owned(),
            hint(),
        )),
    }
}

/// Whether code that nobody trusts can be kept as the profile `strict` says.
fn strict(launcher: &Launcher) -> Looked {
    let shape = Shape {
        level: Level::Strict,
        network: Network::Private,
        ..Shape::default()
    };
    let plan = shape.plan().map_err(|error| (failure(error), None))?;
    let sandbox = launcher
        .launch(&plan, LaunchOptions::default())
        .map_err(|error| (failure(error), None))?;
    match sandbox.landlock() {
        0 => Err((
            "Landlock is not there".to_owned(),
            Some(
                "Linux 5.13 or newer is needed, with `landlock` among its security modules"
                    .to_owned(),
            ),
        )),
        version => Ok(format!(
            "a sandbox was made, with version {version} of Landlock"
        )),
    }
}

fn failure(error: ptest_sandbox::Error) -> String {
    with_causes(&error.into())
}

fn said(error: &Error) -> (String, Option<String>) {
    (with_causes(error), error.hint().map(str::to_owned))
}

fn refused(refusal: probe::Refusal) -> (String, Option<String>) {
    (format!("{}: {}", refusal.what, refusal.why), refusal.hint)
}

fn found(name: &'static str, otherwise: Health, looked: Looked) -> Finding {
    match looked {
        Ok(detail) => Finding {
            name,
            health: Health::Ok,
            detail,
            hint: None,
        },
        Err((detail, hint)) => Finding {
            name,
            health: otherwise,
            detail,
            hint,
        },
    }
}
