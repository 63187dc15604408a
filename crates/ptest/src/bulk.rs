//! The same for many environments at once: what fails is told and does not keep the others.
//!
//! Not for all-or-none: that is [`Ptest::fork`].

use std::collections::HashMap;

use crate::apply::Mark;
use crate::environment::{Environment, Name, Record, table};
use crate::error::{Error, ErrorKind, Result};
use crate::labels::Selector;
use crate::lease::Lease;
use crate::names;
use crate::operation;
use crate::parallel;
use crate::progress::{Progress, Step};
use crate::provision::Provisioned;
use crate::ptest::{Descent, Ptest};
use crate::spec::{EnvironmentSpec, Lifetime, Requirements};

/// What environments have in common that are made of the same.
type Asked<'a> = (Option<&'a str>, &'a Requirements);

impl Ptest {
    /// The records of the environments that meet a selector, oldest first.
    pub fn select(&self, selector: &Selector) -> Result<Vec<Record>> {
        table::selected(self.store().database(), selector)
    }

    /// Makes environments, several at a time, and says of each what became of it, in the order of
    /// `specs`.
    ///
    /// What several are made of is chosen and brought once. Each is there wholly, or nothing of it is
    /// left. Who cancels it (see [`Supervision`](crate::python::Supervision)) keeps those that are
    /// made by then.
    pub fn create_all(
        &self,
        specs: &[EnvironmentSpec],
        progress: &dyn Progress,
    ) -> Vec<Result<Environment>> {
        self.create_marked(specs, &[], progress)
    }

    /// The same, each marked as declared by a file, if there are marks: then one for each.
    pub(crate) fn create_marked(
        &self,
        specs: &[EnvironmentSpec],
        marks: &[Mark],
        progress: &dyn Progress,
    ) -> Vec<Result<Environment>> {
        let room = self.check_disk();
        let check = |spec| room.clone().and_then(|()| self.check(spec));
        let checked: Vec<Result<()>> = specs.iter().map(check).collect();
        let sound = specs
            .iter()
            .zip(&checked)
            .filter(|(_, checked)| checked.is_ok());
        let mut groups: Vec<Asked<'_>> = Vec::new();
        let mut group_of: HashMap<Asked<'_>, usize> = HashMap::new();
        for (spec, _) in sound {
            group_of.entry(asked(spec)).or_insert_with_key(|asked| {
                groups.push(*asked);
                groups.len() - 1
            });
        }
        let provisioned =
            parallel::map(&groups, parallel::processors(), |(python, requirements)| {
                let lease = Some(Lease::take(self.store())?);
                self.provisioner()
                    .provision(self.store(), *python, requirements, lease, progress)
            });
        let items: Vec<_> = specs.iter().zip(checked).enumerate().collect();
        parallel::map(&items, at_once(), |(number, (spec, checked))| {
            checked.clone()?;
            let made_of = match group_of.get(&asked(spec)).map(|group| &provisioned[*group]) {
                Some(Ok(provisioned)) => provisioned,
                Some(Err(error)) => return Err(error.clone()),
                None => return Err(Error::new(ErrorKind::Unexpected, "it is in no group")),
            };
            let name = spec.name.as_ref().map_or("", Name::as_str);
            let environment = self.operation("create", name, || {
                self.with_room(|| self.create_of(spec, made_of, marks.get(*number)))
            })?;
            progress.step(Step::OneOf {
                label: label(spec, &environment),
                count: specs.len(),
            });
            Ok(environment)
        })
    }

    /// Does the same with each environment of these records, several at a time, and gives what became
    /// of each, in their order.
    pub fn each<T: Send>(
        &self,
        records: &[Record],
        progress: &dyn Progress,
        work: impl Fn(Environment) -> Result<T> + Sync,
    ) -> Vec<Result<T>> {
        parallel::map(records, at_once(), |record| {
            self.refuse_cancelled()?;
            let environment = Environment::new(self.clone(), record.id.clone(), Lifetime::Detached);
            let done = work(environment)?;
            progress.step(Step::OneOf {
                label: record.label().to_owned(),
                count: records.len(),
            });
            Ok(done)
        })
    }

    /// What can be refused of an environment before anything is chosen for it.
    pub(crate) fn check(&self, spec: &EnvironmentSpec) -> Result<()> {
        spec.settings.check()?;
        if let Some(name) = &spec.name {
            names::refuse_taken_now(self.store().database(), name)?;
        }
        self.engine(&spec.engine).map(drop)
    }

    /// Makes one of what was provisioned under a lease, which the caller holds.
    pub(crate) fn create_of(
        &self,
        spec: &EnvironmentSpec,
        made_of: &Provisioned,
        mark: Option<&Mark>,
    ) -> Result<Environment> {
        self.refuse_cancelled()?;
        let provisioned = Provisioned {
            stack: made_of.stack.clone(),
            recipe: made_of.recipe.clone(),
            python: made_of.python.clone(),
            requirements: made_of.requirements.clone(),
            lease: None,
        };
        let id = provisioned.stack.id();
        let entered = self
            .enter(spec, provisioned, Descent { source: None, mark })?
            .ok_or(ptest_store::Error::StackMissing { id })?;
        operation::concerns(&entered.0);
        self.realize(entered, spec.lifetime)
    }

    fn refuse_cancelled(&self) -> Result<()> {
        self.provisioner().in_time(|| {
            if self.provisioner().supervision().cancel.is_cancelled() {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    "it was cancelled before it began",
                ));
            }
            Ok(())
        })
    }
}

fn asked(spec: &EnvironmentSpec) -> Asked<'_> {
    (spec.python.as_deref(), &spec.requirements)
}

fn label(spec: &EnvironmentSpec, environment: &Environment) -> String {
    match &spec.name {
        Some(name) => name.to_string(),
        None => environment.id().to_string(),
    }
}

/// How many are worked on at a time: each waits for the kernel or the database as often as it computes.
pub(crate) fn at_once() -> usize {
    2 * parallel::processors()
}
