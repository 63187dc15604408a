//! How a stack becomes a tree: mounted as an overlay, or copied as a clone.
//!
//! Chosen once, when an instance is made, by what it asks for and by doing the
//! real thing; afterwards the instance's directory says which it is.

use std::sync::OnceLock;

use ptest_sandbox::{Launcher, probe};
use ptest_store::{Database, Store};
use rusqlite::{OptionalExtension as _, params};
use tracing::warn;

use crate::environment::owner::boot_id;
use crate::error::{Error, ErrorKind, Result};
use crate::settings::{Profile, Settings};

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
    /// The driver for an instance of these settings.
    pub(super) fn choose(
        mounts: &Mounts,
        store: &Store,
        launcher: &Launcher,
        settings: &Settings,
    ) -> Result<Self> {
        let profile = settings.profile;
        if profile == Some(Profile::None) {
            return Ok(Self::Clone { instead: None });
        }
        match (mounts.work(store, launcher)?, profile) {
            (Ok(()), _) => Ok(Self::Overlay),
            (Err(refusal), Some(profile)) if !settings.degrade => {
                let error = Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "the profile `{profile}` is not to be had here: {}: {}",
                        refusal.what, refusal.why
                    ),
                );
                Err(error.with_hint(refusal.hint.unwrap_or_else(|| {
                    "use `--profile none`, which isolates nothing, or `--degrade`".to_owned()
                })))
            }
            (Err(refusal), asked) => {
                warn!(what = refusal.what, why = %refusal.why, "copied instead of mounted");
                Ok(Self::Clone {
                    instead: Some(format!(
                        "nothing is isolated, for the profile `{}` is not to be had here: {}: {}",
                        asked.unwrap_or(Profile::Standard),
                        refusal.what,
                        refusal.why
                    )),
                })
            }
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
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Set once they were seen to work.
    seen: OnceLock<()>,
}

impl Mounts {
    /// What was seen in this boot of the machine, or else what is seen now.
    pub(super) fn work(
        &self,
        store: &Store,
        launcher: &Launcher,
    ) -> Result<Result<(), probe::Refusal>> {
        if self.seen.get().is_some() {
            return Ok(Ok(()));
        }
        let boot = boot_id()?;
        if seen_in_boot(store.database())?.is_none_or(|seen| seen != boot) {
            if let Err(refusal) = probe::overlay(launcher, store.home()) {
                return Ok(Err(refusal));
            }
            remember(store.database(), &boot)?;
        }
        let _ = self.seen.set(());
        Ok(Ok(()))
    }
}

const OVERLAY: &str = "overlay";

fn seen_in_boot(database: &Database) -> Result<Option<String>> {
    database.read(|connection| {
        connection
            .prepare_cached("SELECT boot FROM probes WHERE name = ?1")?
            .query_row([OVERLAY], |row| row.get(0))
            .optional()
            .map_err(Error::from)
    })
}

fn remember(database: &Database, boot: &str) -> Result<()> {
    database.write(|transaction| {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO probes (name, boot) VALUES (?1, ?2)")?
            .execute(params![OVERLAY, boot])?;
        Ok(())
    })
}
