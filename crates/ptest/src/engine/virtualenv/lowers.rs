//! The directories that an overlay is mounted of.

use std::path::PathBuf;

use ptest_sandbox::plan::MAX_LAYERS;
use ptest_store::{Error as StoreError, Stack, Store};

use crate::error::Result;

/// Where the trees are that serve a stack, bottom first: as many as the kernel mounts.
///
/// A stack of more layers than that is made flat here, once.
pub(super) fn of(store: &Store, stack: &Stack) -> Result<Vec<PathBuf>> {
    let mut tries = 3;
    loop {
        let paths = store.serving_paths(stack)?;
        if paths.len() <= MAX_LAYERS {
            return Ok(paths);
        }
        let flat = Stack::new([store.flatten(stack)?.id]);
        let database = store.database();
        let served = database.write(|transaction| flat.serve(transaction, &stack.id()));
        match served {
            // Collected in the moment between: until now nothing said that it is of use.
            Err(StoreError::LayerMissing { .. }) if tries > 0 => tries -= 1,
            served => served?,
        }
    }
}
