//! What was written in an instance, as a layer.
//!
//! Always of a copy: what is in an instance's directory may be written by a process that is not
//! known here, and a layer never changes.

use std::fs;

use ptest_sandbox::Client;
use ptest_store::{CommitOptions, Kind, LeftOut, Source, Specials, Staging, Store};

use super::clone;
use super::directory::Directory;
use super::driver::Driver;
use crate::engine::{Copied, Instance};
use crate::error::{Error, Result};

/// Copies and commits it. With a `client` the instance is active: its processes are stopped while
/// it is copied.
pub(super) fn copy(
    store: &Store,
    directory: &Directory,
    instance: &Instance,
    client: Option<Client>,
) -> Result<Copied> {
    let frozen = client.as_ref().map(Client::freeze).transpose()?;
    let staged = stage(store, directory, instance);
    drop(frozen);
    let Some((staging, mut left_out)) = staged? else {
        return Ok(Copied {
            stack: instance.stack.clone(),
            left_out: Vec::new(),
        });
    };
    let options = CommitOptions {
        source: Source::OverlayUpper,
        specials: Specials::LeaveOut,
        ..CommitOptions::default()
    };
    let committed = store.commit(staging, options)?;
    left_out.extend(committed.left_out);
    let mut stack = instance.stack.with_top(committed.layer.id);
    let manifest = store.manifest(&committed.layer.id)?;
    // A look at all layers is only needed for these.
    if manifest
        .entries()
        .iter()
        .any(|it| it.kind == Kind::Whiteout)
    {
        stack = store.without_ghosts(&stack)?;
    }
    Ok(Copied {
        stack,
        left_out: left_out.iter().map(LeftOut::to_string).collect(),
    })
}

fn stage(
    store: &Store,
    directory: &Directory,
    instance: &Instance,
) -> Result<Option<(Staging, Vec<LeftOut>)>> {
    match directory.driver()? {
        Driver::Clone { .. } => clone::stage_changes(store, directory, instance),
        Driver::Overlay => {
            let upper = directory.upper(instance.generation);
            let failed = |source| Error::io(format!("read {}", upper.display()), source);
            if fs::read_dir(&upper).map_err(failed)?.next().is_none() {
                return Ok(None);
            }
            Ok(Some(store.stage_copy(&upper, Specials::LeaveOut)?))
        }
    }
}
