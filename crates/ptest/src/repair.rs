//! The layers of a store against their manifests: what is damaged is taken out of service, and made
//! again where an environment or a snapshot says what it was made of.
//!
//! Not for what commands changed in one environment: that is `verify`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use ptest_store::{Depth, LayerId, StackId, Verdict};
use tracing::warn;

use crate::environment::Python;
use crate::error::{Error, ErrorKind, Result};
use crate::improve;
use crate::names::Thing;
use crate::operation;
use crate::parallel;
use crate::progress::Progress;
use crate::provision::Preference;
use crate::ptest::Ptest;
use crate::recipe::{self, Contents};
use crate::spec::Requirements;

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
    /// The snapshots that are made of it.
    pub snapshots: Vec<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a damaged layer.
#[derive(Debug)]
pub enum Outcome {
    /// It was made again, and is what was committed.
    MadeAgain,
    /// Nothing is made of it. It is made again when it is next needed.
    Unused,
    /// It could not be made again now, and why not.
    Failed(Error),
}

impl Ptest {
    /// Compares every layer with its manifest; takes those that are damaged out of service, and
    /// makes those again that environments or snapshots are made of.
    ///
    /// An environment that is active goes on with the damaged files until it is activated anew.
    pub fn verify_store(&self, depth: Depth, progress: &dyn Progress) -> Result<StoreVerification> {
        operation::run("verify", "", || self.verify_store_now(depth, progress))
    }

    fn verify_store_now(&self, depth: Depth, progress: &dyn Progress) -> Result<StoreVerification> {
        let store = self.store();
        let layers: Vec<LayerId> = store.layers()?.iter().map(|layer| layer.id).collect();
        let suspicious = parallel::try_map(&layers, parallel::processors(), |layer| {
            match store.verify(layer, depth) {
                // Collected while it was looked at.
                Err(_) if !store.is_known(layer)? => Ok(false),
                verdict => verdict.map(|verdict| verdict != Verdict::Sound),
            }
        })?;
        let mut details = BTreeMap::new();
        for (layer, is_suspicious) in layers.iter().zip(suspicious) {
            if is_suspicious && let Some(detail) = store.quarantine_unless_sound(layer)? {
                warn!(%layer, detail, "a damaged layer is out of service");
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
        let mut users: BTreeMap<LayerId, Vec<User>> = BTreeMap::new();
        for user in self.users()? {
            let stack = match self.store().stack(&user.stack) {
                Err(ptest_store::Error::StackMissing { .. }) => continue,
                stack => stack?,
            };
            for layer in stack.layers() {
                if details.contains_key(layer) {
                    users.entry(*layer).or_default().push(user.clone());
                }
            }
        }
        let mut damaged = Vec::new();
        for (id, detail) in details {
            let users = users.remove(&id).unwrap_or_default();
            if users.is_empty() {
                // It may be what stacks were served by.
                improve::table::begin_again(self.store().database())?;
            }
            damaged.push(DamagedLayer {
                outcome: self.make_again_of(&id, &users, progress)?,
                environments: labels(&users, Thing::Environment),
                snapshots: labels(&users, Thing::Snapshot),
                id,
                detail,
            });
        }
        Ok(damaged)
    }

    /// Whoever is made of a layer says how: the first that succeeds is enough.
    fn make_again_of(
        &self,
        layer: &LayerId,
        users: &[User],
        progress: &dyn Progress,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::Unused;
        for user in users {
            if self.store().layer(layer)?.is_some() {
                return Ok(Outcome::MadeAgain);
            }
            match self.provision_again(user, layer, progress) {
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

    fn users(&self) -> Result<Vec<User>> {
        let environments = self.records()?.into_iter().map(|record| User {
            thing: Thing::Environment,
            label: record.label().to_owned(),
            python: Arc::unwrap_or_clone(record.python),
            stack: record.stack,
            requirements: Arc::unwrap_or_clone(record.requirements),
        });
        let snapshots = self.snapshots()?.into_iter().map(|snapshot| User {
            thing: Thing::Snapshot,
            label: snapshot.name.into(),
            python: snapshot.python,
            stack: snapshot.stack,
            requirements: snapshot.requirements,
        });
        Ok(environments.chain(snapshots).collect())
    }

    /// Makes what is missing of what a user is made of, in the versions that it has.
    fn provision_again(&self, user: &User, layer: &LayerId, progress: &dyn Progress) -> Result<()> {
        let store = self.store();
        let Contents { pins, written } = recipe::contents(store.database(), &user.stack)?;
        if written.contains(layer) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "commands wrote what it held, and nothing can make that again",
            ));
        }
        let versions = pins
            .iter()
            .map(|pin| (pin.name.clone(), pin.version.clone()));
        let provisioned = self.provisioner().reprovision(
            store,
            (&user.python, &user.stack),
            &pins,
            &user.requirements,
            Preference::Keep(versions.collect()),
            progress,
        );
        provisioned.map(drop)
    }
}

/// What is made of layers, and says how they are made.
#[derive(Clone)]
struct User {
    thing: Thing,
    label: String,
    python: Python,
    stack: StackId,
    requirements: Requirements,
}

fn labels(users: &[User], thing: Thing) -> Vec<String> {
    let found = users.iter().filter(|user| user.thing == thing);
    found.map(|user| user.label.clone()).collect()
}
