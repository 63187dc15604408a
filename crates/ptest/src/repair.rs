//! The layers of a store against their manifests: what is damaged is taken out of service, and made
//! again where an environment says what it was made of.
//!
//! Not for what commands changed in one environment: that is `verify`'s.

use std::collections::BTreeMap;

use ptest_store::{Depth, LayerId, Verdict};

use crate::environment::{Environment, Record};
use crate::error::{Error, ErrorKind, Result};
use crate::parallel;
use crate::progress::Progress;
use crate::provision::Preference;
use crate::ptest::Ptest;
use crate::recipe;
use crate::spec::Lifetime;

/// What a look at every layer found.
#[derive(Debug)]
pub struct StoreVerification {
    /// How many layers were looked at.
    pub layers: usize,
    /// Those that are not what was committed. They are out of service.
    pub damaged: Vec<DamagedLayer>,
}

/// A layer that was not what was committed.
#[derive(Debug)]
pub struct DamagedLayer {
    /// Which.
    pub id: LayerId,
    /// The first difference.
    pub detail: String,
    /// The environments that are made of it, by their labels.
    pub environments: Vec<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a damaged layer.
#[derive(Debug)]
pub enum Outcome {
    /// It was made again, and is what was committed.
    MadeAgain,
    /// No environment is made of it. It is made again when it is next needed.
    Unused,
    /// It could not be made again now, and why not.
    Failed(Error),
}

impl Ptest {
    /// Compares every layer with its manifest; takes those that are damaged out of service, and
    /// makes those again that environments are made of.
    ///
    /// An environment that is active goes on with the damaged files until it is activated anew.
    pub fn verify_store(&self, depth: Depth, progress: &dyn Progress) -> Result<StoreVerification> {
        let store = self.store();
        let layers: Vec<LayerId> = store.layers()?.iter().map(|layer| layer.id).collect();
        let verdicts = parallel::try_map(&layers, parallel::processors(), |layer| {
            store.verify(layer, depth)
        })?;
        let mut details = BTreeMap::new();
        for (layer, verdict) in layers.iter().zip(verdicts) {
            // One that is not known any more was collected meanwhile.
            if let Verdict::Corrupt { detail } = verdict
                && store.quarantine(layer)?
            {
                details.insert(*layer, detail);
            }
        }
        let damaged = if details.is_empty() {
            Vec::new()
        } else {
            self.make_again(details, progress)?
        };
        Ok(StoreVerification {
            layers: layers.len(),
            damaged,
        })
    }

    fn make_again(
        &self,
        details: BTreeMap<LayerId, String>,
        progress: &dyn Progress,
    ) -> Result<Vec<DamagedLayer>> {
        let mut users: BTreeMap<LayerId, Vec<Record>> = BTreeMap::new();
        for record in self.records()? {
            let stack = match self.store().stack(&record.stack) {
                Err(ptest_store::Error::StackMissing { .. }) => continue,
                stack => stack?,
            };
            for layer in stack.layers() {
                if details.contains_key(layer) {
                    users.entry(*layer).or_default().push(record.clone());
                }
            }
        }
        let mut damaged = Vec::new();
        for (id, detail) in details {
            let users = users.remove(&id).unwrap_or_default();
            damaged.push(DamagedLayer {
                outcome: self.make_again_of(&id, &users, progress)?,
                environments: users.iter().map(|user| user.label().to_owned()).collect(),
                id,
                detail,
            });
        }
        Ok(damaged)
    }

    /// Any environment that is made of a layer says how: the first that succeeds is enough.
    fn make_again_of(
        &self,
        layer: &LayerId,
        users: &[Record],
        progress: &dyn Progress,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::Unused;
        for user in users {
            if self.store().layer(layer)?.is_some() {
                return Ok(Outcome::MadeAgain);
            }
            let environment = Environment::new(self.clone(), user.id.clone(), Lifetime::Detached);
            match environment.provision_again(progress) {
                Ok(()) if self.store().layer(layer)?.is_some() => return Ok(Outcome::MadeAgain),
                Ok(()) => {
                    outcome = Outcome::Failed(Error::new(
                        ErrorKind::Corrupt,
                        "what was asked for leads to something else now",
                    ));
                }
                Err(error) => outcome = Outcome::Failed(error),
            }
        }
        Ok(outcome)
    }
}

impl Environment {
    /// Makes what is missing of what the environment is made of, in the versions that it has.
    fn provision_again(&self, progress: &dyn Progress) -> Result<()> {
        let (lock, record) = self.operate()?;
        let store = self.ptest.store();
        let pins = recipe::pins(store.database(), &record.stack)?;
        let versions = pins
            .iter()
            .map(|pin| (pin.name.clone(), pin.version.clone()));
        let provisioned = self.ptest.provisioner().reprovision(
            store,
            &record,
            &pins,
            &record.requirements,
            Preference::Keep(versions.collect()),
            progress,
        );
        drop(lock);
        provisioned.map(drop)
    }
}
