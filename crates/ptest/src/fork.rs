//! New environments on a stack that is there: of another environment, or of a snapshot.
//!
//! Nothing is resolved, installed or copied but what commands wrote in the source, and that once.

use std::sync::Arc;

use ptest_store::Stack;

use crate::environment::{Environment, Name, Python, table};
use crate::error::Result;
use crate::labels::Labels;
use crate::lease::Lease;
use crate::names::{self, Thing};
use crate::operation;
use crate::provision::Provisioned;
use crate::ptest::{self, Ptest};
use crate::recipe::{self, Contents};
use crate::settings::Settings;
use crate::snapshot::{Origin, Snapshot};
use crate::spec::{EnvironmentSpec, Lifetime, Requirements};
use crate::sync;
use crate::timestamp::Timestamp;

/// An environment to be made of another one, or of a snapshot.
#[derive(Clone, Debug)]
pub struct Fork {
    /// Its name; without one it is known by its id alone.
    pub name: Option<Name>,
    /// Who it lives for.
    pub lifetime: Lifetime,
    /// The engine it runs on; the source's if it is not said.
    pub engine: Option<String>,
    /// What it is to be like; as the source is if it is not said.
    pub settings: Option<Settings>,
    /// Labels that it has besides the source's, or in their place.
    pub labels: Labels,
}

/// Environments that were made.
#[derive(Debug)]
pub struct Forked {
    /// In the order in which they were asked for.
    pub environments: Vec<Environment>,
    /// What the source has and no layer can hold, each a sentence for people.
    pub left_out: Vec<String>,
}

/// What an environment or a snapshot is.
pub(crate) struct Source {
    /// Its name; `None` for an environment without one.
    pub(crate) name: Option<Name>,
    /// There for a snapshot: what it was taken of, by whom, and when.
    pub(crate) taken: Option<(Origin, String, Timestamp)>,
    pub(crate) stack: Stack,
    /// What is known of a stack that is not recorded yet.
    new: Option<Contents>,
    recipe: String,
    pub(crate) python: Python,
    pub(crate) requirements: Requirements,
    pub(crate) settings: Settings,
    engine: String,
    pub(crate) left_out: Vec<String>,
}

impl Ptest {
    /// Makes environments that are what `source`, the name or id of an environment or the name of
    /// a snapshot, is now. From then on each is on its own.
    ///
    /// Either all are there, or nothing of them is left.
    pub fn fork(&self, source: &str, forks: &[Fork]) -> Result<Forked> {
        self.operation("fork", source, || self.fork_now(source, forks))
    }

    fn fork_now(&self, source: &str, forks: &[Fork]) -> Result<Forked> {
        for name in forks.iter().filter_map(|fork| fork.name.as_ref()) {
            names::refuse_taken_now(self.store().database(), name)?;
        }
        let lease = Lease::take(self.store())?;
        let label = source;
        let source = self.source(label)?;
        if let Some(contents) = &source.new {
            self.store()
                .database()
                .write(|transaction| recipe::know(transaction, &source.stack, contents))?;
        }
        let mut environments = Vec::with_capacity(forks.len());
        for fork in forks {
            match self.with_room(|| self.fork_one(label, &source, fork)) {
                Ok(environment) => environments.push(environment),
                Err(error) => {
                    for environment in environments {
                        // Why it failed is what the caller must know.
                        operation::passed_over("take a fork away", environment.remove());
                    }
                    return Err(error);
                }
            }
        }
        drop(lease);
        sync::beside(self.store());
        Ok(Forked {
            environments,
            left_out: source.left_out,
        })
    }

    fn fork_one(&self, label: &str, source: &Source, fork: &Fork) -> Result<Environment> {
        let mut settings = fork.settings.as_ref().unwrap_or(&source.settings).clone();
        settings.labels = source.settings.labels.clone();
        settings.labels.extend(fork.labels.clone());
        let spec = EnvironmentSpec {
            name: fork.name.clone(),
            lifetime: fork.lifetime,
            engine: fork.engine.as_ref().unwrap_or(&source.engine).clone(),
            python: None,
            requirements: source.requirements.clone(),
            settings,
        };
        let provisioned = Provisioned {
            stack: source.stack.clone(),
            recipe: source.recipe.clone(),
            python: source.python.clone(),
            requirements: source.requirements.clone(),
            lease: None,
        };
        let stack = source.stack.id();
        let descent = ptest::Descent {
            source: Some(label),
            mark: None,
        };
        let entered = self
            .enter(&spec, provisioned, descent)?
            .ok_or(ptest_store::Error::StackMissing { id: stack })?;
        self.realize(entered, fork.lifetime)
    }

    /// What is known of what a source is made of.
    pub(crate) fn contents_of(&self, source: &Source) -> Result<Contents> {
        match &source.new {
            Some(contents) => Ok(contents.clone()),
            None => recipe::contents(self.store().database(), &source.stack.id()),
        }
    }

    /// What has this name, as a stack that the caller's lease keeps.
    pub(crate) fn source(&self, label: &str) -> Result<Source> {
        let database = self.store().database();
        if let Some(found) = table::by_label(database, label)? {
            let environment = Environment::new(self.clone(), found.id, Lifetime::Detached);
            let (lock, record) = environment.operate()?;
            let copy = self.copy(&record)?;
            drop(lock);
            let settings = self.settings_now(&record)?;
            return Ok(Source {
                name: record.name,
                taken: None,
                stack: copy.stack,
                new: copy.new,
                recipe: record.recipe,
                python: Arc::unwrap_or_clone(record.python),
                requirements: Arc::unwrap_or_clone(record.requirements),
                settings,
                engine: record.engine,
                left_out: copy.left_out,
            });
        }
        let Some(found) = crate::snapshot::table::by_name(database, label)? else {
            return Err(self.no(&[Thing::Environment, Thing::Snapshot], label));
        };
        let stack = self.servable(&found, &Stack::default())?;
        let Snapshot {
            name,
            of,
            author,
            created_at,
            recipe,
            python,
            requirements,
            settings,
            engine,
            ..
        } = found;
        Ok(Source {
            name: Some(name),
            taken: Some((of, author, created_at)),
            stack,
            new: None,
            recipe,
            python,
            requirements,
            settings,
            engine,
            left_out: Vec::new(),
        })
    }
}
