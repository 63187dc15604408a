//! Makes the database anew when it is damaged: of what can still be read of it, and of what is on the disk.
//!
//! Layers say themselves what they are, and are found again. Environments, snapshots and recipes are what the database says
//! of them: what cannot be read is lost, and what commands wrote in an environment that is lost is put where people find it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ptest_store::{Salvaged, Store};
use tracing::warn;

use crate::environment::{EnvironmentId, table};
use crate::error::{Error, ErrorKind, Result};
use crate::ptest::{OpenOptions, Ptest};

/// What became of a damaged database.
#[derive(Debug)]
pub struct Rebuilt {
    /// Where the damaged one is now.
    pub aside: PathBuf,
    /// What was read of each table.
    pub tables: Vec<Salvaged>,
    /// How many layers were found again on the disk.
    pub layers: usize,
    /// Environments of which nothing is known any more, each with the place of what was written in it.
    pub lost: Vec<(EnvironmentId, PathBuf)>,
}

impl Ptest {
    /// Makes the database of a store anew, if it is damaged.
    ///
    /// Nobody else may use the store meanwhile: what others write to the old database is lost. That one is kept.
    ///
    /// # Errors
    ///
    /// [`IllegalState`](ErrorKind::IllegalState) when the database is sound.
    pub fn rebuild(options: OpenOptions) -> Result<(Self, Rebuilt)> {
        let damage = match Store::open(&options.home) {
            Ok(store) => store.database().damage()?,
            Err(error) if error.kind() == ptest_store::ErrorKind::Corrupt => {
                Some(error.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        let Some(damage) = damage else {
            let message = format!("the database of {} is sound", options.home.display());
            return Err(Error::new(ErrorKind::IllegalState, message)
                .with_hint("`ptest verify --store` looks at the layers"));
        };
        let aside = Store::set_database_aside(&options.home)?;
        warn!(damage, aside = %aside.display(), "the database is made anew");
        let store = Store::open(&options.home)?;
        let engines = crate::engine::all(&store)?;
        store
            .database()
            .migrate("ptest", crate::schema::MIGRATIONS)?;
        let tables = store.database().salvage(&aside)?;
        let ptest = Self::assemble(store, options, engines)?;
        let layers = ptest.recover_store()?.adopted.len();
        let lost = ptest.set_unknown_instances_aside()?;
        let rebuilt = Rebuilt {
            aside,
            tables,
            layers,
            lost,
        };
        Ok((ptest, rebuilt))
    }

    /// Whether the database is sound; if not, what is wrong first. Reads all of it.
    pub fn database_damage(&self) -> Result<Option<String>> {
        Ok(self.store().database().damage()?)
    }

    /// Ends the environments without a row, and moves what there is of them.
    fn set_unknown_instances_aside(&self) -> Result<Vec<(EnvironmentId, PathBuf)>> {
        let known: BTreeSet<EnvironmentId> = table::ids(self.store().database())?;
        let place = self.store().dir("lost")?;
        let mut lost = Vec::new();
        for engine in self.engines() {
            for id in self.block_on(engine.instances())? {
                if known.contains(&id) {
                    continue;
                }
                self.block_on(engine.deactivate(&id, Duration::ZERO))?;
                let from = self.store().dir("envs")?.join(id.as_str());
                let to = place.join(id.as_str());
                match fs::rename(&from, &to) {
                    // An engine that keeps nothing there.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => {
                        return Err(Error::io(format!("move {}", from.display()), error));
                    }
                    Ok(()) => lost.push((id, to)),
                }
            }
        }
        Ok(lost)
    }
}
