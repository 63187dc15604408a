//! From what was asked for to a stack: the known recipe, or the way to a new one.
//!
//! A recipe is looked up by the hash of what was asked for. A new one is resolved
//! to pins by an installer; each distribution that the store does not know yet
//! becomes a layer, made from its wheel alone. Not for environments: nothing here
//! knows that there are any.

mod ask;
mod build;
mod distributions;
mod known;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ptest_store::{LayerId, Stack, StackId, Store};
use tracing::debug;

use self::ask::Asked;
use self::build::Build;
use crate::collect::reserve;
use crate::config::{InstallerChoice, format_duration};
use crate::environment::Python;
use crate::error::{Error, ErrorKind, Result};
use crate::lease::Lease;
use crate::lock::Locks;
use crate::operation;
use crate::progress::{Progress, Step};
use crate::python::command::Supervision;
use crate::python::interpreter::{Asking, Interpreter, InterpreterCache};
use crate::python::requirement::Requirement;
use crate::python::{HostEnv, PipTool, PythonRequest, discover};
use crate::recipe::{self, Pin, Recipe};
use crate::spec::Requirements;
use crate::timestamp::Timestamp;

/// How long a caller waits for another that makes the same recipe.
const BUILD_PATIENCE: Duration = Duration::from_hours(1);

/// How distributions are chosen and brought.
#[derive(Clone, Debug)]
pub struct Provision {
    /// Which installer chooses versions.
    pub installer: InstallerChoice,
    /// Where the program lies: a `uv` beside it is preferred to one on `PATH`.
    pub program_directory: Option<PathBuf>,
    /// How long versions that were chosen are used without asking an index.
    pub resolve_lifetime: Duration,
    /// Choose versions anew now.
    pub refresh: bool,
    /// How tools are started and stopped.
    pub supervision: Supervision,
}

impl Provision {
    /// This installer, wherever its program lies, and versions that hold for a day.
    pub fn new(installer: InstallerChoice) -> Self {
        Self {
            installer,
            program_directory: None,
            resolve_lifetime: Duration::from_hours(24),
            refresh: false,
            supervision: Supervision::default(),
        }
    }
}

/// A stack, and how it came to be.
#[derive(Debug)]
pub(crate) struct Provisioned {
    pub(crate) stack: Stack,
    pub(crate) recipe: String,
    pub(crate) python: Python,
    pub(crate) requirements: Requirements,
    /// Keeps the stack until a row refers to it. A recipe that was known may have none: then the
    /// row finds out whether the stack is still there.
    pub(crate) lease: Option<Lease>,
}

/// What becomes of versions that are there already.
#[derive(Clone, Debug)]
pub(crate) enum Preference {
    /// They stay, by name, as long as what is asked for allows it.
    Keep(BTreeMap<String, String>),
    /// These are taken out; nothing is resolved.
    Without(BTreeSet<String>),
}

/// Makes stacks.
#[derive(Debug)]
pub(crate) struct Provisioner {
    options: Provision,
    host: HostEnv,
    answers: Arc<Answers>,
}

impl Provisioner {
    pub(crate) fn new(options: Provision, host: HostEnv) -> Self {
        Self {
            options,
            host,
            answers: Arc::default(),
        }
    }

    /// The same with other options; what is known already stays known to both.
    pub(crate) fn with_options(&self, options: Provision) -> Self {
        Self {
            options,
            host: self.host.clone(),
            answers: Arc::clone(&self.answers),
        }
    }

    pub(crate) fn options(&self) -> &Provision {
        &self.options
    }

    /// The stack of these requirements on the interpreter asked for, under the caller's lease if
    /// it has one.
    pub(crate) fn provision(
        &self,
        store: &Store,
        python: Option<&str>,
        requirements: &Requirements,
        lease: Option<Lease>,
        progress: &dyn Progress,
    ) -> Result<Provisioned> {
        self.in_time(|| {
            let interpreter = self.interpreter(store, python, progress)?;
            let none = BTreeMap::new();
            self.stack(store, &interpreter, requirements, &none, lease, progress)
        })
    }

    /// The stack of an environment or a snapshot, `on` that interpreter and that stack, whose
    /// requirements change. What commands wrote is not on it.
    pub(crate) fn reprovision(
        &self,
        store: &Store,
        on: (&Python, &StackId),
        before: &[Pin],
        requirements: &Requirements,
        preference: Preference,
        progress: &dyn Progress,
    ) -> Result<Provisioned> {
        self.in_time(|| self.reprovision_now(store, on, before, requirements, preference, progress))
    }

    fn reprovision_now(
        &self,
        store: &Store,
        on: (&Python, &StackId),
        before: &[Pin],
        requirements: &Requirements,
        preference: Preference,
        progress: &dyn Progress,
    ) -> Result<Provisioned> {
        let (python, stack) = on;
        let executable = python.executable.to_str();
        let interpreter = self.interpreter(store, executable, progress)?;
        let lease = Some(Lease::take(store)?);
        match preference {
            Preference::Keep(kept) => {
                self.stack(store, &interpreter, requirements, &kept, lease, progress)
            }
            Preference::Without(names) => {
                let (taken, pins): (Vec<Pin>, Vec<Pin>) = before
                    .iter()
                    .cloned()
                    .partition(|pin| names.contains(&pin.name));
                let stack = store.stack(stack)?;
                let (recipe, stack) = Build::without(store, &interpreter, &stack, pins)?;
                let requirements = self.without(requirements, &taken);
                Ok(provisioned(
                    &interpreter,
                    &requirements,
                    &recipe,
                    stack,
                    lease,
                ))
            }
        }
    }

    /// What is still asked for when these distributions are not, so that the next installation does
    /// not bring them back. What a requirements file names stays: the file is the caller's.
    fn without(&self, requirements: &Requirements, taken: &[Pin]) -> Requirements {
        let is_taken = |requirement: &Requirement| {
            let name = requirement.name();
            taken.iter().any(|pin| {
                name.as_ref() == Some(&pin.name)
                    || requirement.path().is_some_and(|path| pin.came_from(path))
            })
        };
        let mut left = requirements.clone();
        left.specifiers
            .retain(|text| !Requirement::parse(text, &self.host).is_ok_and(|it| is_taken(&it)));
        left.editables
            .retain(|text| !Requirement::editable(text, &self.host).is_ok_and(|it| is_taken(&it)));
        left.pip &= taken.iter().all(|pin| pin.name != "pip");
        left
    }

    /// A text that changes when what is asked for does: its words, and what the files and projects in it
    /// hold. Empty where nobody can know.
    pub(crate) fn asked(&self, requirements: &Requirements) -> Result<String> {
        Ok(Asked::read(requirements, &self.host)?.fingerprint())
    }

    /// Where the program `ptest` is, if that was said.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        let directory = self.options.program_directory.as_ref()?;
        Some(directory.join("ptest"))
    }

    pub(crate) fn supervision(&self) -> &Supervision {
        &self.options.supervision
    }

    /// What comes of work that changes nothing before it is done: when it fails after its time, that is why.
    pub(crate) fn in_time<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        work().map_err(|error| match self.supervision().cancel.limit() {
            Some(limit) if limit.is_over() => Error::new(
                ErrorKind::Timeout,
                format!("it was not done within {}", format_duration(limit.time)),
            )
            .with_hint("give it a longer timeout")
            .with_source(error),
            _ => error,
        })
    }

    /// How long is waited for others, who would wait for so long by itself.
    pub(crate) fn patience(&self, usual: Duration) -> Duration {
        let limit = self.supervision().cancel.limit();
        limit.map_or(usual, |limit| usual.min(limit.left()))
    }

    /// The copies of pip that ptest itself runs.
    fn pip_tool(&self, store: &Store) -> Result<PipTool> {
        let tool = PipTool::new(store.dir("bin")?);
        Ok(tool.with_program_directory(self.options.program_directory.as_deref()))
    }

    pub(crate) fn interpreter(
        &self,
        store: &Store,
        request: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<Interpreter> {
        let request = match request {
            Some(text) => PythonRequest::parse(text, &self.host)?,
            None => PythonRequest::Any,
        };
        let cache = Cache {
            answers: &self.answers,
            store,
            progress,
        };
        let asking = Asking {
            host: &self.host,
            cache: &cache,
            pip: &self.pip_tool(store)?.carried_wheel()?,
            supervision: &self.options.supervision,
        };
        Ok(discover::find(&request, &asking)?)
    }

    /// The layer below all others of an interpreter.
    pub(crate) fn skeleton(&self, store: &Store, interpreter: &Interpreter) -> Result<LayerId> {
        build::skeleton(store, interpreter, &self.options.supervision)
    }

    fn stack(
        &self,
        store: &Store,
        interpreter: &Interpreter,
        requirements: &Requirements,
        kept: &BTreeMap<String, String>,
        mut lease: Option<Lease>,
        progress: &dyn Progress,
    ) -> Result<Provisioned> {
        let asked = Asked::read(requirements, &self.host)?;
        // A request that may mean something else next time has a key that is never asked for again.
        let key = match asked.key(interpreter, kept) {
            Some(key) => key,
            None => format!("{}{}", recipe::ONCE, crate::random::hex()?),
        };
        if !self.options.refresh
            && let Some((recipe, stack)) = self.known(store, &key, lease.as_ref())?
        {
            debug!(recipe = key, "known");
            return Ok(provisioned(
                interpreter,
                requirements,
                &recipe,
                stack,
                lease,
            ));
        }
        debug!(recipe = key, "to be made");
        let began = Timestamp::now();
        if lease.is_none() {
            lease = Some(Lease::take(store)?);
        }
        // Whoever fills the disk leaves the room to empty it.
        reserve::keep(store)?;
        // Whoever asks for the same meanwhile waits here, and then finds it known.
        let patience = self.patience(BUILD_PATIENCE);
        let lock = Locks::of(store)?.acquire(&format!("recipe-{key}"), patience, "the recipe")?;
        let found = match self.known(store, &key, lease.as_ref())? {
            Some((recipe, stack)) if !self.options.refresh || recipe.resolved_at >= began => {
                Ok((recipe, stack))
            }
            _ => Build {
                store,
                host: &self.host,
                answers: &self.answers,
                options: &self.options,
                interpreter,
                asked: &asked,
                projects: &asked.requirements.projects(),
                kept,
                pip: &self.pip_tool(store)?,
                progress,
            }
            .recipe(&key),
        };
        drop(lock);
        let (recipe, stack) = found?;
        Ok(provisioned(
            interpreter,
            requirements,
            &recipe,
            stack,
            lease,
        ))
    }

    /// A recipe that may be used as it is: fresh, and all its layers there. They stay there while
    /// the lease lasts.
    fn known(
        &self,
        store: &Store,
        key: &str,
        lease: Option<&Lease>,
    ) -> Result<Option<(Recipe, Stack)>> {
        let Some(recipe) = recipe::find(store.database(), key)? else {
            return Ok(None);
        };
        if !recipe.is_fresh(self.options.resolve_lifetime) {
            return Ok(None);
        }
        let is_used = |transaction: &_| recipe::touch(transaction, key);
        if lease.is_some() && !store.database().write(|transaction| is_used(transaction))? {
            return Ok(None);
        }
        let stack = match store.stack(&recipe.stack) {
            Err(ptest_store::Error::StackMissing { .. }) => return Ok(None),
            found => found?,
        };
        // A layer that was collected or is corrupt is made again.
        Ok(store.stack_paths(&stack).is_ok().then_some((recipe, stack)))
    }
}

/// What interpreters and uv answered, by what the answers depend on.
type Answers = Mutex<HashMap<String, String>>;

/// Their answers: in memory, else in the database.
#[derive(Clone, Copy)]
struct Cache<'a> {
    answers: &'a Answers,
    store: &'a Store,
    progress: &'a dyn Progress,
}

impl InterpreterCache for Cache<'_> {
    fn get(&self, key: &str) -> Option<String> {
        if let Some(answer) = self.answers().get(key) {
            return Some(answer.clone());
        }
        let found = recipe::interpreter(self.store.database(), key)
            .ok()
            .flatten();
        match &found {
            Some(answer) => self.remember(key, answer),
            None => self.progress.step(Step::AskingInterpreter),
        }
        found
    }

    fn put(&self, key: &str, value: &str) {
        self.remember(key, value);
        // An answer that cannot be kept is asked for again.
        let kept = recipe::keep_interpreter(self.store.database(), key, value);
        operation::passed_over("keep what an interpreter is", kept);
    }
}

impl Cache<'_> {
    fn answers(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, key: &str, answer: &str) {
        self.answers().insert(key.to_owned(), answer.to_owned());
    }
}

fn provisioned(
    interpreter: &Interpreter,
    requirements: &Requirements,
    recipe: &Recipe,
    stack: Stack,
    lease: Option<Lease>,
) -> Provisioned {
    Provisioned {
        recipe: recipe.key.clone(),
        python: python(interpreter),
        requirements: requirements.clone(),
        stack,
        lease,
    }
}

pub(crate) fn python(interpreter: &Interpreter) -> Python {
    Python {
        implementation: interpreter.implementation.clone(),
        version: interpreter.version.full.clone(),
        executable: interpreter.executable.clone(),
        roots: interpreter.roots(),
    }
}
