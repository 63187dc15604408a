//! Does what a plan says. Each environment is brought to what the file says or stays what it was; one
//! that fails does not keep the others, and the next plan goes on from there.

use super::plan::{Action, Plan, Planned, differences};
use super::table::{self, Mark};
use crate::bulk;
use crate::environment::table::{self as rows, Record};
use crate::environment::{Environment, State};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::hooks::{Hook, table as hooks};
use crate::lease::Lease;
use crate::parallel;
use crate::progress::{Progress, Step};
use crate::provision::Preference;
use crate::ptest::Ptest;
use crate::settings::Settings;
use crate::spec::{EnvironmentSpec, Lifetime};

/// What became of one step of a plan.
#[derive(Debug)]
pub struct Applied {
    /// The step.
    pub planned: Planned,
    /// Whether it was done, or why not.
    pub result: Result<()>,
}

impl Ptest {
    /// Does what a plan says, several environments at a time, and gives what became of each step, in
    /// the plan's order. Its hooks come first, so that they are called for what happens then.
    ///
    /// # Errors
    ///
    /// When the hooks cannot be written down; then nothing was done.
    pub fn apply(&self, plan: Plan, progress: &dyn Progress) -> Result<Vec<Applied>> {
        self.declare_hooks(&plan)?;
        let count = plan.steps.len();
        let (new, old): (Vec<_>, Vec<_>) = plan
            .steps
            .into_iter()
            .enumerate()
            .partition(|(_, step)| step.action == Action::Create);
        let specs: Vec<_> = new
            .iter()
            .filter_map(|(_, step)| step.spec.clone())
            .collect();
        let marks: Vec<_> = new.iter().map(|(_, step)| step.mark.clone()).collect();
        let made = self.create_marked(&specs, &marks, progress);
        let made = made.into_iter().map(|made| made.map(drop));
        let changed = parallel::map(&old, bulk::at_once(), |(_, step)| {
            let done = self.carry_out(step, progress);
            if done.is_ok() && step.action != Action::Keep {
                progress.step(Step::OneOf {
                    label: step.label.clone(),
                    count,
                });
            }
            done
        });
        let mut all: Vec<_> = new
            .into_iter()
            .zip(made)
            .chain(old.into_iter().zip(changed))
            .collect();
        all.sort_by_key(|((index, _), _)| *index);
        let applied = all.into_iter();
        Ok(applied
            .map(|((_, planned), result)| Applied { planned, result })
            .collect())
    }

    fn declare_hooks(&self, plan: &Plan) -> Result<()> {
        if plan.hooks.iter().all(|hook| hook.action == Action::Keep) {
            return Ok(());
        }
        let declared = plan
            .hooks
            .iter()
            .filter(|hook| hook.action != Action::Remove);
        let declared: Vec<Hook> = declared.map(|hook| hook.hook.clone()).collect();
        let database = self.store().database();
        database.write(|transaction| hooks::declare(transaction, &plan.source, &declared))
    }

    fn carry_out(&self, step: &Planned, progress: &dyn Progress) -> Result<()> {
        let name = &step.label;
        let (Some(id), is_allowed) = (&step.id, step.is_allowed) else {
            return Ok(());
        };
        let environment = Environment::new(self.clone(), id.clone(), Lifetime::Detached);
        match (step.action, &step.spec) {
            (Action::Change, Some(spec)) => environment.operation("apply", || {
                environment.become_like(spec, &step.mark, progress)
            }),
            (Action::Recreate, Some(spec)) if is_allowed => {
                self.recreate(environment, spec, &step.mark, progress)
            }
            (Action::Recreate, _) => Err(Error::new(
                ErrorKind::IllegalState,
                format!("`{name}` can only be made anew to be as the file says"),
            )
            .with_hint("`--recreate` does so; what commands wrote in it is lost")),
            (Action::Remove, _) if is_allowed => environment.remove(),
            (Action::Refuse, _) => Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("`{name}` is there, and this file did not make it"),
            )
            .with_hint(format!(
                "choose another name, or `ptest remove {name}` first"
            ))),
            // What must not be taken away is left, which is no failure.
            (Action::Keep | Action::Create | Action::Change | Action::Remove, _) => Ok(()),
        }
    }

    /// What it will be made of is there before anything is taken away.
    fn recreate(
        &self,
        environment: Environment,
        spec: &EnvironmentSpec,
        mark: &Mark,
        progress: &dyn Progress,
    ) -> Result<()> {
        let lease = Some(Lease::take(self.store())?);
        let (python, requirements) = (spec.python.as_deref(), &spec.requirements);
        let made_of =
            self.provisioner()
                .provision(self.store(), python, requirements, lease, progress)?;
        environment.remove()?;
        self.create_of(spec, &made_of, Some(mark)).map(drop)
    }
}

impl Environment {
    /// Installs, removes and sets what differs.
    fn become_like(
        &self,
        spec: &EnvironmentSpec,
        mark: &Mark,
        progress: &dyn Progress,
    ) -> Result<()> {
        let database = self.ptest.store().database();
        let before = table::all(database)?.remove(self.id());
        let record = self.record()?;
        if *record.requirements != spec.requirements
            || before.is_none_or(|before| before.asked != mark.asked)
        {
            self.restack("apply", progress, |_, pins| {
                Ok((
                    spec.requirements.clone(),
                    Preference::Keep(crate::packages::versions(pins)),
                ))
            })?;
        }
        self.set_settings(&spec.settings)?;
        database.write(|transaction| table::set(transaction, self.id(), mark))
    }

    /// Makes the environment be like that from now on. One that is active is stopped for it, unless a
    /// command runs in it, and started again; labels alone need nothing.
    pub(crate) fn set_settings(&self, settings: &Settings) -> Result<()> {
        let (lock, record) = self.operate()?;
        if *record.settings == *settings {
            return Ok(());
        }
        settings.check()?;
        let labelled = Settings {
            labels: settings.labels.clone(),
            ..Settings::clone(&record.settings)
        };
        let was_active = record.state == State::Active;
        let restarts = was_active && labelled != *settings;
        let record = if restarts {
            self.pause(record)?
        } else {
            record
        };
        let changed = differences(&*record.settings, settings).into_iter();
        let event = Event::SettingsChanged {
            settings: changed.map(|difference| difference.what).collect(),
        };
        rows::set_settings(self.ptest.store().database(), &record, settings, &event)?;
        if restarts {
            let record: Record = self.record()?;
            self.activate_locked(record)?;
        }
        drop(lock);
        Ok(())
    }
}
