//! What was written in an instance, as a layer.
//!
//! Of a copy, or itself: a layer never changes, so that what is in an instance's directory can only
//! become one where no process can write to it.

use std::fs;
use std::path::Path;
use std::thread;

use ptest_sandbox::{Client, is_still};
use ptest_store::{
    CommitOptions, Error as StoreError, Kind, LeftOut, Prepared, Source, Specials, Staging, Store,
};

use super::clone;
use super::directory::Directory;
use super::driver::Driver;
use crate::engine::{Copied, HandedOver, Instance};
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
            if is_empty(&upper)? {
                return Ok(None);
            }
            Ok(Some(store.stage_copy(&upper, Specials::LeaveOut)?))
        }
    }
}

/// Lets the upper of an instance, which nobody mounts meanwhile, become a layer.
pub(super) fn hand_over(
    store: &Store,
    directory: &Directory,
    instance: &Instance,
) -> Result<Option<HandedOver>> {
    let (now, next) = (instance.generation, instance.generation + 1);
    // A layer is of no project, and files cannot leave theirs at once.
    let must_stay = directory.driver()? != Driver::Overlay || directory.is_in_project();
    if must_stay || is_empty(&directory.upper(now))? {
        return Ok(None);
    }
    directory.settle(store, now)?;
    // It is moved from here on: whoever comes after a loss of power must find the caller's note.
    store.database().flush()?;
    let handed = prepare(store, &directory.take(now)?, instance).and_then(|prepared| {
        prepared.map_or(Ok(None), |written| {
            directory.make_upper(next)?;
            Ok(Some(HandedOver {
                written,
                generation: next,
            }))
        })
    });
    if !matches!(handed, Ok(Some(_))) {
        directory.settle(store, now)?;
    }
    handed
}

/// Reads it where nobody looks for it; `None` if it must be copied.
fn prepare(store: &Store, taken: &Path, instance: &Instance) -> Result<Option<Prepared>> {
    let staging = store.stage_existing(taken)?;
    let prepared = thread::scope(|scope| {
        // What is on the disk already when all is read need not be waited for then.
        let flush = || drop(store.flush());
        let _ = thread::Builder::new().spawn_scoped(scope, flush);
        store.prepare_whole(staging, &is_still)
    });
    match prepared {
        Ok(prepared) if prepared.has_ghosts_on(&instance.stack)? => Ok(None),
        Ok(prepared) => Ok(Some(prepared)),
        Err(StoreError::Refused { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_empty(upper: &Path) -> Result<bool> {
    let failed = |source| Error::io(format!("read {}", upper.display()), source);
    Ok(fs::read_dir(upper).map_err(failed)?.next().is_none())
}
