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
use crate::operation;
use crate::ptest::{OpenOptions, Ptest};

/// What became of a damaged database.
#[derive(Debug)]
pub struct Rebuilt {
    /// What was wrong with it.
    pub damage: String,
    /// Where it is now, if there was one.
    pub aside: Option<PathBuf>,
    /// What was read of each table.
    pub tables: Vec<Salvaged>,
    /// How many layers were found again on the disk.
    pub layers: usize,
    /// Environments of which nothing is known any more, each with the place of what was written in it.
    pub lost: Vec<(EnvironmentId, PathBuf)>,
}

impl Ptest {
    /// Makes the database of a store anew, if it is damaged or gone. The damaged one is kept.
    ///
    /// Until that is done nobody can open the store, and whoever is killed meanwhile leaves it so: it can be begun again.
    ///
    /// # Errors
    ///
    /// [`IllegalState`](ErrorKind::IllegalState) when the database is sound; [`Busy`](ErrorKind::Busy) when another process
    /// has it open.
    pub fn rebuild(options: OpenOptions) -> Result<(Self, Rebuilt)> {
        let Some(damage) = damage(&options)? else {
            let message = format!("the database of {} is sound", options.home.display());
            return Err(Error::new(ErrorKind::IllegalState, message)
                .with_hint("`ptest verify --store` looks at the layers"));
        };
        let rebuilding = Store::rebuild(&options.home)?;
        warn!(damage, "the database is made anew");
        let store = rebuilding.store();
        let engines = crate::engine::all(store)?;
        store
            .database()
            .migrate("ptest", crate::schema::MIGRATIONS)?;
        let tables = rebuilding.salvage()?;
        // Before anybody can open the store, and take an environment without a row for what a dead process left.
        let unfinished = Self::assemble(store.clone(), options.clone(), engines)?;
        let layers = unfinished.recover_store()?.adopted.len();
        let lost = unfinished.set_unknown_instances_aside()?;
        drop(unfinished);
        let rebuilt = Rebuilt {
            damage,
            aside: rebuilding.finish()?,
            tables,
            layers,
            lost,
        };
        Ok((Self::open(options)?, rebuilt))
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

/// What is wrong with the database of a store, if something is.
fn damage(options: &OpenOptions) -> Result<Option<String>> {
    match Store::open(&options.home) {
        Ok(store) => Ok(store.database().damage()?),
        Err(error) if error.kind() == ptest_store::ErrorKind::Corrupt => {
            Ok(Some(operation::with_causes(&error.into())))
        }
        Err(error) => Err(error.into()),
    }
}
