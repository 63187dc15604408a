//! Takes away what is of no use to anyone any more: layers, recipes, caches, old programs.
//!
//! What is in use is never taken: by an environment, by a living process, or by an operation that
//! has not written its row yet, in any process (see `lease`). Not for what removed environments
//! left: that is `tidy`'s, which runs here too.

mod mark;
mod programs;
pub(crate) mod reserve;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ptest_store::Layer;
use ptest_store::rusqlite::Connection;
use tracing::info;

use self::mark::{Selection, Wanted};
use crate::disk;
use crate::error::{Error, Result};
use crate::lease;
use crate::operation;
use crate::ptest::Ptest;
use crate::recipe;
use crate::tidy::ThrownAway;
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
    /// What was thrown away before and is deleted too.
    pub thrown_away: ThrownAway,
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
    /// store, at the same time. One that is killed leaves only what the next one takes. On a
    /// full disk it uses room that was kept for it.
    pub fn collect(&self, collection: &Collection) -> Result<Collected> {
        operation::run("gc", "", || self.collect_with_room(collection))
    }

    fn collect_with_room(&self, collection: &Collection) -> Result<Collected> {
        let before = self.thrown_away()?;
        if collection.dry_run {
            return Ok(Collected {
                thrown_away: before,
                ..self.collect_now(collection)?
            });
        }
        // What was thrown away already makes room for what follows.
        let emptied = self.store().empty_trash()?;
        let stays = if emptied.failed.is_empty() {
            ThrownAway::default()
        } else {
            self.thrown_away()?
        };
        let collected = reserve::with_room(self.store(), || self.collect_now(collection))?;
        Ok(Collected {
            thrown_away: before.without(stays),
            ..collected
        })
    }

    fn collect_now(&self, collection: &Collection) -> Result<Collected> {
        let now = Timestamp::now();
        let beside = match collection.keep_size {
            Some(_) => self.size()?.beside(),
            None => 0,
        };
        let select = |connection: &Connection, layers| {
            let wanted = Wanted {
                now,
                used_after: now.before(collection.older_than),
                leased_since: lease::oldest(self.store())?,
                layer_bytes: collection.keep_size.map(|size| size.saturating_sub(beside)),
            };
            let selection = mark::select(connection, layers, &wanted)?;
            let caches = self.unused_caches(&selection)?;
            Ok::<_, Error>((selection, caches))
        };
        if !collection.dry_run {
            // What a killed collection forgot and did not throw away is known again, and goes now.
            self.recover_store()?;
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
            thrown_away: ThrownAway::default(),
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
        info!(
            layers = result.layers,
            recipes = result.recipes,
            bytes = result.bytes,
            "took away what nobody uses"
        );
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
            // What has another name was not made by ptest.
            let is_unused =
                |name: &str| recipe::is_key(name) && !selection.kept_recipes.contains(name);
            if entry.file_name().to_str().is_some_and(is_unused) {
                unused.push(entry.path());
            }
        }
        Ok(unused)
    }
}

fn layers_size(layers: &[Layer]) -> u64 {
    layers.iter().map(|layer| layer.bytes).sum()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::improve::table::set_companion;
    use crate::lease::Lease;
    use crate::progress::Silent;
    use crate::ptest::Descent;
    use crate::spec::EnvironmentSpec;
    use crate::test_support::{open, spec};

    const EVERYTHING: Collection = Collection {
        older_than: Duration::ZERO,
        keep_size: None,
        dry_run: false,
    };

    /// What a collection finds that nobody threw away before.
    fn unused(collected: Collected) -> Collected {
        Collected {
            thrown_away: ThrownAway::default(),
            ..collected
        }
    }

    fn with_known_recipe() -> (tempfile::TempDir, Ptest, EnvironmentSpec) {
        let directory = tempfile::tempdir().unwrap();
        let ptest = open(&directory.path().join("store"));
        let spec = spec(directory.path());
        let environment = ptest.create(&spec, &Silent).unwrap();
        environment.remove().unwrap();
        (directory, ptest, spec)
    }

    /// Makes everything used so many seconds later than it was.
    fn shift_uses(ptest: &Ptest, seconds: i64) {
        let sql = format!(
            "UPDATE layers SET used_at = used_at + {seconds}; \
             UPDATE recipes SET used_at = used_at + 1000 * {seconds}"
        );
        let shifted = ptest.store().database().write(|transaction| {
            transaction.execute_batch(&sql)?;
            Ok::<_, ptest_store::Error>(())
        });
        shifted.unwrap();
    }

    #[test]
    fn a_stack_that_is_collected_before_its_row_gets_none_and_is_made_again() {
        let (_directory, ptest, spec) = with_known_recipe();
        let chosen = ptest
            .provisioner()
            .provision(ptest.store(), None, &spec.requirements, None, &Silent)
            .unwrap();
        assert!(chosen.lease.is_none());
        assert_eq!(ptest.collect(&EVERYTHING).unwrap().layers, 1);
        assert!(
            ptest
                .enter(&spec, chosen, Descent::default())
                .unwrap()
                .is_none()
        );
        assert!(ptest.records().unwrap().is_empty());
        ptest.create(&spec, &Silent).unwrap().remove().unwrap();
    }

    #[test]
    fn what_was_chosen_or_made_under_a_lease_is_there_until_its_row_is() {
        let (_directory, ptest, spec) = with_known_recipe();
        let provision = |lease| {
            let provisioner = ptest.provisioner();
            provisioner.provision(ptest.store(), None, &spec.requirements, lease, &Silent)
        };
        let lease = Lease::take(ptest.store()).unwrap();
        let known = provision(Some(lease)).unwrap();
        assert_eq!(
            unused(ptest.collect(&EVERYTHING).unwrap()),
            Collected::default()
        );
        let full = Collection {
            keep_size: Some(0),
            ..EVERYTHING
        };
        assert_eq!(unused(ptest.collect(&full).unwrap()), Collected::default());
        let (record, _, lock) = ptest
            .enter(&spec, known, Descent::default())
            .unwrap()
            .unwrap();
        ptest
            .take_away(&record, crate::events::Cause::Asked, lock)
            .unwrap();

        // Given back, it keeps nothing; what is made anew brings a lease of its own.
        assert_eq!(ptest.collect(&EVERYTHING).unwrap().layers, 1);
        let made = provision(None).unwrap();
        assert_eq!(
            unused(ptest.collect(&EVERYTHING).unwrap()),
            Collected::default()
        );
        let (record, _, lock) = ptest
            .enter(&spec, made, Descent::default())
            .unwrap()
            .unwrap();
        ptest
            .take_away(&record, crate::events::Cause::Asked, lock)
            .unwrap();
    }

    #[test]
    fn a_lease_keeps_nothing_that_was_used_before_it_and_ends_with_its_holder() {
        let (_directory, ptest, _) = with_known_recipe();
        shift_uses(&ptest, -60);
        let lease = Lease::take(ptest.store()).unwrap();
        assert!(lease::oldest(ptest.store()).unwrap().is_some());
        assert_eq!(ptest.collect(&EVERYTHING).unwrap().layers, 1);
        drop(lease);
        assert_eq!(lease::oldest(ptest.store()).unwrap(), None);
    }

    #[test]
    fn a_clock_that_is_put_back_makes_nothing_young_for_ever() {
        let (_directory, ptest, _) = with_known_recipe();
        shift_uses(&ptest, 400 * 24 * 3600);
        assert_eq!(ptest.collect(&EVERYTHING).unwrap().layers, 1);
    }

    #[test]
    fn under_a_lease_from_before_the_clock_was_put_back_nothing_goes() {
        let (_directory, ptest, _) = with_known_recipe();
        shift_uses(&ptest, -60);
        let lease = Lease::take(ptest.store()).unwrap();
        let later = SystemTime::now() + Duration::from_hours(1);
        for entry in fs::read_dir(ptest.store().home().join("leases")).unwrap() {
            let file = fs::File::options().write(true).open(entry.unwrap().path());
            file.unwrap().set_modified(later).unwrap();
        }
        assert_eq!(
            unused(ptest.collect(&EVERYTHING).unwrap()),
            Collected::default()
        );
        drop(lease);
        assert_eq!(ptest.collect(&EVERYTHING).unwrap().layers, 1);
    }

    #[test]
    fn the_bytecode_of_a_layer_stays_for_every_interpreter_that_has_some() {
        let (_directory, ptest, spec) = with_known_recipe();
        let environment = ptest.create(&spec, &Silent).unwrap();
        let stack = environment.record().unwrap().stack;
        let layer = ptest.store().stack(&stack).unwrap().layers()[0];
        for magic in ["one", "two"] {
            let staging = ptest.store().stage().unwrap();
            fs::write(staging.path().join(magic), magic).unwrap();
            let committed = ptest
                .store()
                .commit(staging, ptest_store::CommitOptions::default());
            let companion = committed.unwrap().layer.id;
            set_companion(ptest.store().database(), &layer, magic, Some(&companion)).unwrap();
        }
        assert_eq!(
            unused(ptest.collect(&EVERYTHING).unwrap()),
            Collected::default()
        );
        environment.remove().unwrap();
        assert_eq!(ptest.collect(&EVERYTHING).unwrap().layers, 3);
    }
}
