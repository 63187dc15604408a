//! What ptest needs and can use on this machine: there or not, why, what to do.
//!
//! Each finding is made by doing the thing, never by a version. Not for repairing.

use std::path::Path;

use ptest_sandbox::probe;

use crate::engine::virtualenv::Virtualenv;
use crate::error::Result;
use crate::ptest::Ptest;
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

/// Looks at everything.
pub fn examine(ptest: &Ptest, program_directory: Option<&Path>) -> Result<Vec<Finding>> {
    let store = ptest.store();
    let engine = Virtualenv::new(store)?;
    let mut findings = vec![
        found(
            "store",
            Health::Missing,
            Ok(store.home().display().to_string()),
        ),
        found(
            "user namespaces",
            Health::Missing,
            probe::user_namespaces(engine.launcher())
                .map(|()| "a sandbox was made".to_owned())
                .map_err(refused),
        ),
        found(
            "overlay",
            Health::Missing,
            probe::overlay(engine.launcher(), store.home())
                .map(|()| "a stack was mounted, changed and mounted again".to_owned())
                .map_err(refused),
        ),
        found(
            "python",
            Health::Missing,
            ptest
                .provisioner()
                .interpreter(store, None, &crate::progress::Silent)
                .map(|python| format!("{} {}", python.executable.display(), python.version))
                .map_err(|error| (error.to_string(), error.hint().map(str::to_owned))),
        ),
    ];
    let uv = Uv::find(
        ptest.host(),
        program_directory,
        ptest.provisioner().supervision(),
    );
    findings.push(found(
        "uv",
        Health::Degraded,
        uv.map(|uv| uv.program.display().to_string())
            .ok_or_else(|| {
                let hint =
                    "install uv: it chooses versions several times faster than pip".to_owned();
                ("not found; pip is used".to_owned(), Some(hint))
            }),
    ));
    Ok(findings)
}

fn refused(refusal: probe::Refusal) -> (String, Option<String>) {
    (format!("{}: {}", refusal.what, refusal.why), refusal.hint)
}

fn found(
    name: &'static str,
    otherwise: Health,
    result: Result<String, (String, Option<String>)>,
) -> Finding {
    match result {
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
