//! How a stack becomes a tree: mounted as an overlay, or copied as a clone.
//!
//! Chosen once, when an instance is made, by what it asks for and by doing the
//! real thing; afterwards the instance's directory says which it is.

use ptest_sandbox::{Launcher, probe};
use ptest_store::Store;
use rusqlite::{OptionalExtension as _, params};

use crate::environment::owner::boot_id;
use crate::error::{Error, ErrorKind, Result};
use crate::settings::Profile;

/// The table of what was seen to work, and in which boot of the machine.
///
/// Only success is remembered: whoever mends a machine need not tell ptest.
pub(super) const SCHEMA: &str = "
CREATE TABLE probes (
    name TEXT PRIMARY KEY,
    boot TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// How a stack becomes a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// Mounted, its writable directory apart, in a root of its own.
    Overlay,
    /// Copied, its paths rewritten, among the host's files.
    Clone {
        /// Why it is not an overlay, when nobody asked for that.
        instead: Option<String>,
    },
}

impl Driver {
    /// The driver for an instance that asks for `profile`.
    pub(super) fn choose(
        store: &Store,
        launcher: &Launcher,
        profile: Option<Profile>,
    ) -> Result<Self> {
        if profile == Some(Profile::None) {
            return Ok(Self::Clone { instead: None });
        }
        match (mounts_work(store, launcher)?, profile) {
            (Ok(()), _) => Ok(Self::Overlay),
            (Err(refusal), Some(_)) => {
                let error = Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "the profile `standard` is not to be had here: {}: {}",
                        refusal.what, refusal.why
                    ),
                );
                Err(error.with_hint(
                    refusal.hint.unwrap_or_else(|| {
                        "use `--profile none`, which isolates nothing".to_owned()
                    }),
                ))
            }
            (Err(refusal), None) => Ok(Self::Clone {
                instead: Some(format!(
                    "nothing is isolated, for the profile `standard` is not to be had here: {}: {}",
                    refusal.what, refusal.why
                )),
            }),
        }
    }
}

impl Driver {
    /// What was given up by not being an overlay, if somebody may want to know.
    pub(super) fn instead(&self) -> Option<String> {
        match self {
            Self::Clone { instead } => instead.clone(),
            Self::Overlay => None,
        }
    }
}

/// Whether overlays can be mounted in user namespaces on the store's file system.
pub(super) fn mounts_work(
    store: &Store,
    launcher: &Launcher,
) -> Result<Result<(), probe::Refusal>> {
    const NAME: &str = "overlay";
    let boot = boot_id()?;
    let seen: Option<String> = store.database().read(|connection| {
        connection
            .prepare_cached("SELECT boot FROM probes WHERE name = ?1")?
            .query_row([NAME], |row| row.get(0))
            .optional()
            .map_err(Error::from)
    })?;
    if seen.is_some_and(|seen| seen == boot) {
        return Ok(Ok(()));
    }
    if let Err(refusal) = probe::overlay(launcher, store.home()) {
        return Ok(Err(refusal));
    }
    store.database().write(|transaction| {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO probes (name, boot) VALUES (?1, ?2)")?
            .execute(params![NAME, boot])?;
        Ok::<_, Error>(())
    })?;
    Ok(Ok(()))
}
