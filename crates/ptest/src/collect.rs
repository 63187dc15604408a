//! Takes away what is of no use to anyone any more: layers, recipes, caches, old programs.
//!
//! What is in use is never taken: by an environment, by a living process, or by an operation that
//! has not written its row yet, in any process (see `lease`). Not for what removed environments
//! left: that is `tidy`'s, which runs here too.

mod mark;
mod programs;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ptest_store::Layer;
use ptest_store::rusqlite::Connection;

use self::mark::{Selection, Wanted};
use crate::disk;
use crate::error::{Error, Result};
use crate::lease;
use crate::ptest::Ptest;
use crate::timestamp::Timestamp;

/// What is to be collected.
#[derive(Clone, Copy, Debug)]
pub struct Collection {
    /// What nothing is made of now is kept for this long after its last use.
    pub older_than: Duration,
    /// Below this many bytes the store is to be afterwards: what was used least recently goes
    /// first, however young.
    pub keep_size: Option<u64>,
    /// Only say what would be collected.
    pub dry_run: bool,
}

/// What was collected, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Layers.
    pub layers: usize,
    /// Recipes.
    pub recipes: usize,
    /// Caches that commands filled, one for each recipe.
    pub caches: usize,
    /// Programs and tools of other versions of ptest.
    pub programs: usize,
    /// The bytes of all of them.
    pub bytes: u64,
}

/// What a store takes on disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// How many layers there are.
    pub layers: usize,
    /// The files of all layers, which environments share.
    pub layer_bytes: u64,
    /// What environments have of their own.
    pub environment_bytes: u64,
    /// Caches.
    pub cache_bytes: u64,
}

impl StoreSize {
    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.layer_bytes + self.beside()
    }

    /// What is not in layers.
    fn beside(&self) -> u64 {
        self.environment_bytes + self.cache_bytes
    }
}

impl Ptest {
    /// Takes away what is of no use.
    ///
    /// When it returns, the files are gone. Any number of processes may do this, and use the
    /// store, at the same time. One that is killed leaves only what the next one takes.
    pub fn collect(&self, collection: &Collection) -> Result<Collected> {
        let used_after = Timestamp::now().before(collection.older_than);
        let beside = match collection.keep_size {
            Some(_) => self.size()?.beside(),
            None => 0,
        };
        let select = |connection: &Connection, layers| {
            let wanted = Wanted {
                used_after,
                leased_since: lease::oldest(self.locks())?,
                layer_bytes: collection.keep_size.map(|size| size.saturating_sub(beside)),
            };
            let selection = mark::select(connection, layers, &wanted)?;
            let caches = self.unused_caches(&selection)?;
            Ok::<_, Error>((selection, caches))
        };
        if !collection.dry_run {
            // What a killed collection forgot and did not throw away is known again, and goes now.
            self.store().recover()?;
        }
        // Decided once more below, where nothing changes meanwhile, and where nobody should wait
        // for a look at every file.
        let (selection, caches) = self
            .store()
            .database()
            .read(|connection| select(connection, Layer::all(connection)?))?;
        let programs = programs::unused(self.store())?;
        let mut sizes = HashMap::new();
        for path in caches.iter().chain(programs.paths()) {
            sizes.insert(path.clone(), disk::allocated(path)?);
        }
        let sized = |path: &PathBuf| sizes.get(path).copied().unwrap_or_default();
        let collected = |selection: &Selection, caches: &[PathBuf]| Collected {
            layers: selection.layers.len(),
            recipes: selection.recipes.len(),
            caches: caches.len(),
            programs: programs.paths().len(),
            bytes: layers_size(&selection.layers)
                + caches
                    .iter()
                    .chain(programs.paths())
                    .map(sized)
                    .sum::<u64>(),
        };
        if collection.dry_run {
            return Ok(collected(&selection, &caches));
        }
        let mut result = Collected::default();
        self.store().collect(|transaction, layers| {
            let (selection, caches) = select(transaction, layers)?;
            mark::forget(transaction, &selection)?;
            // A cache is used from when an environment's row names it, and none comes in while
            // this transaction lasts.
            for cache in &caches {
                self.store().trash(cache)?;
            }
            result = collected(&selection, &caches);
            Ok::<_, Error>(selection.layers)
        })?;
        programs.trash(self.store())?;
        self.tidy_now()?;
        Ok(result)
    }

    /// What the store takes on disk. Looks at every file of every environment and cache.
    pub fn size(&self) -> Result<StoreSize> {
        let store = self.store();
        let layers = store.layers()?;
        Ok(StoreSize {
            layers: layers.len(),
            layer_bytes: layers_size(&layers),
            environment_bytes: disk::allocated(&store.dir("envs")?)?,
            cache_bytes: disk::allocated(&store.dir("caches")?)?,
        })
    }

    /// The caches of recipes that are neither kept nor an environment's.
    fn unused_caches(&self, selection: &Selection) -> Result<Vec<PathBuf>> {
        let directory = self.store().dir("caches")?;
        let failed = |source| Error::io(format!("read {}", directory.display()), source);
        let mut unused = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Each is named by its recipe; what has another name was not made by ptest.
            let name = entry.file_name();
            let Some(recipe) = name.to_str() else {
                continue;
            };
            if !selection.kept_recipes.contains(recipe) {
                unused.push(entry.path());
            }
        }
        Ok(unused)
    }
}

fn layers_size(layers: &[Layer]) -> u64 {
    layers.iter().map(|layer| layer.bytes).sum()
}
