//! Snapshots: names for what environments were at a moment.
//!
//! A snapshot is a frozen stack: what commands wrote is its topmost layer. It needs neither the
//! environment that it was taken of nor anything of the engine. Not for making environments of
//! them: that is `fork`'s.

pub(crate) mod table;

use std::collections::HashSet;

use ptest_store::{LayerId, Stack, StackId};
use rusqlite::Connection;

use crate::author;
use crate::collect::reserve;
use crate::engine::Upper;
use crate::environment::{Environment, EnvironmentId, Name, Python, Record, State};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{self, About, Event};
use crate::lease::Lease;
use crate::names::{self, Thing};
use crate::operation;
use crate::ptest::Ptest;
use crate::recipe::{self, Contents};
use crate::settings::Settings;
use crate::spec::Requirements;
use crate::steps::reach;
use crate::swap::Target;
use crate::timestamp::Timestamp;

/// What an environment was at a moment, under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: Name,
    /// The environment that it was taken of.
    pub of: Origin,
    /// The engine of that environment.
    pub engine: String,
    /// The stack that shows what the environment showed.
    pub stack: StackId,
    /// The key of the recipe that led to what is not written by commands.
    pub recipe: String,
    /// The interpreter.
    pub python: Python,
    /// What was asked to be installed.
    pub requirements: Requirements,
    /// What the environment was to be like.
    pub settings: Settings,
    /// The user who took it.
    pub author: String,
    /// When it was taken.
    pub created_at: Timestamp,
}

/// The environment that a snapshot was taken of, which may be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its identity.
    pub environment: EnvironmentId,
    /// Its name, or the identity of one without a name.
    pub label: String,
}

/// A snapshot that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What the environment has and no layer can hold, each a sentence for people.
    pub left_out: Vec<String>,
}

/// What an environment shows, as a stack that a lease keeps.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) stack: Stack,
    /// What is known of a stack that is new; the environment's own is recorded.
    pub(crate) new: Option<Contents>,
    pub(crate) left_out: Vec<String>,
}

impl Environment {
    /// Keeps what the environment is now under a name; without one, a name is made of its own and
    /// a number that is never used twice.
    ///
    /// What runs in it is stopped while what was written is copied, and goes on then. Of one at rest
    /// it becomes a layer of the environment's own stack, without a copy where that is possible. When
    /// this returns, the snapshot survives a loss of power.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) when an environment or a snapshot has the name.
    pub fn snapshot(&self, name: Option<Name>) -> Result<Taken> {
        self.operation("snapshot", || self.snapshot_now(name))
    }

    fn snapshot_now(&self, name: Option<Name>) -> Result<Taken> {
        let store = self.ptest.store();
        if let Some(name) = &name {
            names::refuse_taken_now(store.database(), name)?;
        }
        let lease = Lease::take(store)?;
        let (lock, record) = self.operate()?;
        self.ptest.record(&record, &Event::SnapshotCreating {})?;
        let created_at = Timestamp::now();
        let settings = self.ptest.settings_now(&record)?;
        let take = |transaction: &Connection, stack| {
            recipe::touch(transaction, &record.recipe)?;
            let (number, name) = table::next(transaction, name.clone(), record.label())?;
            let snapshot = Snapshot {
                name,
                of: Origin {
                    environment: record.id.clone(),
                    label: record.label().to_owned(),
                },
                engine: record.engine.clone(),
                stack,
                recipe: record.recipe.clone(),
                python: Python::clone(&record.python),
                requirements: Requirements::clone(&record.requirements),
                settings: settings.clone(),
                author: author::of_this_process(self.ptest.host()),
                created_at,
            };
            table::insert(transaction, number, &snapshot)?;
            let event = Event::SnapshotCreated {
                snapshot: snapshot.name.to_string(),
            };
            events::append(transaction, Some(About::from(&record)), &event)?;
            Ok::<_, Error>(snapshot)
        };
        if record.state != State::Active
            && let Some(snapshot) = self.settle_written(&record, take)?
        {
            return Ok(Taken {
                snapshot,
                left_out: Vec::new(),
            });
        }
        let copy = self.ptest.copy(&record)?;
        drop(lock);
        reach("snapshot.copied")?;
        // Before the row: whoever sees it can trust it.
        store.sync()?;
        reach("snapshot.synced")?;
        let snapshot = store.database().write(|transaction| {
            let stack = match &copy.new {
                Some(contents) => recipe::know(transaction, &copy.stack, contents)?,
                None => copy.stack.id(),
            };
            if !Stack::is_recorded(transaction, &stack)? {
                return Err(ptest_store::Error::StackMissing { id: stack }.into());
            }
            take(transaction, stack)
        })?;
        drop(lease);
        store.database().checkpoint()?;
        Ok(Taken {
            snapshot,
            left_out: copy.left_out,
        })
    }

    /// Makes the environment what a snapshot is: its packages, its Python and its files. What was
    /// written since is gone; its settings stay.
    ///
    /// It is wholly what it was or wholly the snapshot, also for those who come after a crash. One
    /// that is active is stopped for it, unless a command runs in it, and started again.
    pub fn restore(&self, snapshot: &str) -> Result<Snapshot> {
        self.operation("restore", || self.restore_now(snapshot))
    }

    fn restore_now(&self, snapshot: &str) -> Result<Snapshot> {
        let snapshot = self.ptest.snapshot(snapshot)?;
        let (lock, record) = self.operate()?;
        let name = || snapshot.name.to_string();
        let restoring = Event::SnapshotRestoring { snapshot: name() };
        self.ptest.record(&record, &restoring)?;
        let now = self.ptest.store().stack(&record.stack)?;
        let stack = if snapshot.stack == record.stack {
            snapshot.check_interpreter()?;
            now.clone()
        } else {
            self.ptest.servable(&snapshot, &now)?
        };
        let target = Target {
            stack: &stack,
            id: snapshot.stack,
            recipe: &snapshot.recipe,
            python: &snapshot.python,
            requirements: &snapshot.requirements,
            event: &Event::SnapshotRestored { snapshot: name() },
        };
        self.swap(record, now, &target, Upper::Drop)?;
        drop(lock);
        Ok(snapshot)
    }
}

impl Snapshot {
    /// That its interpreter is where it was.
    fn check_interpreter(&self) -> Result<()> {
        let executable = &self.python.executable;
        if !executable.exists() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "the interpreter of the snapshot `{}` is gone: {}",
                    self.name,
                    executable.display()
                ),
            )
            .with_hint(format!(
                "install Python {} there again",
                self.python.version
            )));
        }
        Ok(())
    }
}

impl Ptest {
    /// Every snapshot, oldest first.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        table::all(self.store().database())
    }

    /// The snapshot of a name.
    pub fn snapshot(&self, name: &str) -> Result<Snapshot> {
        table::by_name(self.store().database(), name)?
            .ok_or_else(|| self.no(&[Thing::Snapshot], name))
    }

    /// Takes a snapshot away. Environments that were made of it stay as they are; layers that
    /// nothing else uses go with the next collection.
    pub fn remove_snapshot(&self, name: &str) -> Result<()> {
        operation::run("snapshot remove", name, || {
            reserve::with_room(self.store(), || self.remove_snapshot_now(name))
        })
    }

    fn remove_snapshot_now(&self, name: &str) -> Result<()> {
        if table::delete(self.store().database(), name)? {
            Ok(())
        } else {
            Err(self.no(&[Thing::Snapshot], name))
        }
    }

    /// The stack of a snapshot, its layers but those of `known` there and sound, and its
    /// interpreter too.
    pub(crate) fn servable(&self, snapshot: &Snapshot, known: &Stack) -> Result<Stack> {
        snapshot.check_interpreter()?;
        let stack = self.store().stack(&snapshot.stack)?;
        let known: HashSet<&LayerId> = known.layers().iter().collect();
        let new = stack.layers().iter().copied();
        let new = Stack::new(new.filter(|layer| !known.contains(layer)));
        self.store().stack_paths(&new)?;
        Ok(stack)
    }

    /// What an environment, whose lock is held, shows now. The caller holds a lease, which keeps
    /// what is made here.
    pub(crate) fn copy(&self, record: &Record) -> Result<Frozen> {
        let engine = self.engine(&record.engine)?;
        let instance = self.instance(record)?;
        let copied = self.block_on(engine.snapshot(&instance))?;
        if copied.stack == instance.stack {
            return Ok(Frozen {
                stack: copied.stack,
                new: None,
                left_out: copied.left_out,
            });
        }
        let contents = self.contents_on(&instance.stack, &copied.stack)?;
        Ok(Frozen {
            stack: copied.stack,
            new: Some(contents),
            left_out: copied.left_out,
        })
    }

    /// What is known of a stack that is another one with what commands wrote on top.
    pub(crate) fn contents_on(&self, below: &Stack, stack: &Stack) -> Result<Contents> {
        let mut contents = recipe::contents(self.store().database(), &below.id())?;
        let is_written =
            |layer: &_| contents.written.contains(layer) || !below.layers().contains(layer);
        let layers = stack.layers().iter().copied();
        contents.written = layers.filter(is_written).collect();
        Ok(contents)
    }
}
