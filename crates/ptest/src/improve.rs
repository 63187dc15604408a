//! Makes what is used start faster: bytecode is compiled once for each layer, and stacks that are
//! deep or used often become one layer.
//!
//! Nothing waits for this and nothing changes by it but time: an environment's stack stays what it
//! is, only what is mounted for it is another list of layers. It is done in whatever process asks
//! for it, one at a time in a store; who is killed leaves what is finished.

mod compile;
pub(crate) mod table;

use ptest_store::{Database, LayerId, Stack, StackId};
use rusqlite::Connection;
use tracing::warn;

use self::table::{Candidate, Companion, Level};
use crate::error::Result;
use crate::lease::Lease;
use crate::operation;
use crate::progress::{Progress, Step};
use crate::ptest::Ptest;
use crate::python::interpreter::Interpreter;
use crate::recipe::{self, Contents};

/// The engine whose environments mount their layers.
const ENGINE: &str = "virtualenv";
/// The lock of whoever improves.
const IMPROVING: &str = "improve";

/// What was improved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Improved {
    /// Distributions whose bytecode was compiled.
    pub compiled: usize,
    /// Stacks that became one layer.
    pub flattened: usize,
}

impl Ptest {
    /// Whether something that was used could start faster, or much that was thrown away is to be deleted, and nobody is at
    /// work on it.
    pub fn can_improve(&self) -> Result<bool> {
        if table::candidates(self.store().database())?.is_empty() && !self.has_backlog()? {
            return Ok(false);
        }
        Ok(self.locks().try_acquire(IMPROVING)?.is_some())
    }

    /// Compiles the bytecode of what was used, and makes deep or often used stacks one layer. Before that it deletes what was
    /// thrown away.
    ///
    /// Takes as long as compiling takes: for a process of low priority that nobody waits for. Does
    /// nothing while another process does it; compiles nothing where environments cannot be
    /// mounted. A stack that cannot be improved is not tried again, and does not keep the others.
    pub fn improve(&self, progress: &dyn Progress) -> Result<Improved> {
        operation::run("improve", "", || self.improve_now(progress))
    }

    fn improve_now(&self, progress: &dyn Progress) -> Result<Improved> {
        let mut improved = Improved::default();
        let mut failed = None;
        let Some(lock) = self.locks().try_acquire(IMPROVING)? else {
            return Ok(improved);
        };
        self.store().empty_trash()?;
        while let Some(candidate) = table::candidates(self.store().database())?.first() {
            let lease = Lease::take(self.store())?;
            let done = self.improve_one(candidate, &mut improved, progress);
            drop(lease);
            if let Err(error) = done {
                // Or it would be tried again after each command.
                warn!(stack = %candidate.stack, "given up: it stays as slow as it is");
                table::give_up(self.store().database(), &candidate.stack)?;
                failed = failed.or(Some(error));
            }
        }
        drop(lock);
        self.store().sync()?;
        failed.map_or(Ok(improved), Err)
    }

    fn improve_one(
        &self,
        candidate: &Candidate,
        improved: &mut Improved,
        progress: &dyn Progress,
    ) -> Result<()> {
        let store = self.store();
        let stack = store.stack(&candidate.stack)?;
        let contents = recipe::contents(store.database(), &candidate.stack)?;
        store.touch(stack.layers())?;
        let executable = candidate.python.executable.to_str();
        let interpreter = self
            .provisioner()
            .interpreter(store, executable, progress)?;
        improved.compiled += self.compile(&stack, &contents, &interpreter, progress)?;
        let base = base_of(&stack, &contents);
        let mut serving = with_bytecode(store.database(), &base, &interpreter.magic)?;
        if candidate.wanted == Level::Flat {
            progress.step(Step::Flattening(serving.layers().len()));
            serving = Stack::new([store.flatten(&serving)?.id]);
            improved.flattened += 1;
        }
        let whole = on_top(&serving, &contents.written);
        store.database().write(|transaction| {
            if base != stack {
                serving.serve(transaction, &base.id())?;
            }
            table::improved(transaction, &candidate.stack, candidate.wanted, &whole)
        })
    }

    /// Makes the companions that are missing; gives how many.
    fn compile(
        &self,
        stack: &Stack,
        contents: &Contents,
        interpreter: &Interpreter,
        progress: &dyn Progress,
    ) -> Result<usize> {
        let database = self.store().database();
        let engine = self.engine(ENGINE)?;
        if !engine.capability().isolation {
            return Ok(0);
        }
        let Some(skeleton) = stack.layers().first() else {
            return Ok(0);
        };
        let mut compiled = 0;
        for pin in &contents.pins {
            let layer: LayerId = pin.layer()?;
            let known = database
                .read(|connection| table::companion(connection, &layer, &interpreter.magic))?;
            let is_there = match known {
                Companion::Layer(companion) => !self.store().touch(&[companion])?.is_empty(),
                Companion::Needless => true,
                Companion::Unknown => false,
            };
            if is_there {
                continue;
            }
            progress.step(Step::Compiling {
                name: pin.name.clone(),
            });
            let companion = compile::compile(self, engine.as_ref(), interpreter, *skeleton, layer)?;
            table::set_companion(database, &layer, &interpreter.magic, companion.as_ref())?;
            compiled += usize::from(companion.is_some());
        }
        Ok(compiled)
    }
}

/// What of a stack commands did not write.
pub(crate) fn base_of(stack: &Stack, contents: &Contents) -> Stack {
    let layers = stack.layers().iter();
    layers
        .filter(|layer| !contents.written.contains(layer))
        .copied()
        .collect()
}

/// These layers on top of a stack.
pub(crate) fn on_top(stack: &Stack, layers: &[LayerId]) -> Stack {
    stack.layers().iter().chain(layers).copied().collect()
}

/// A stack with the companion of each layer above it, as far as there are any.
pub(crate) fn with_bytecode(database: &Database, stack: &Stack, magic: &str) -> Result<Stack> {
    database.read(|connection| {
        let mut layers = Vec::with_capacity(2 * stack.layers().len());
        for layer in stack.layers() {
            layers.push(*layer);
            layers.extend(table::companion(connection, layer, magic)?.layer());
        }
        Ok(Stack::new(layers))
    })
}

/// Lets a new stack of known distributions have their bytecode from the beginning.
pub(crate) fn serve_with_bytecode(database: &Database, stack: &Stack, magic: &str) -> Result<()> {
    let serving = with_bytecode(database, stack, magic)?;
    if serving == *stack {
        return Ok(());
    }
    database.write(|transaction| {
        let id = stack.id();
        if Stack::serving(transaction, &id)?.is_none() {
            serving.serve(transaction, &id)?;
        }
        Ok(())
    })
}

/// Lets a new stack, on which commands have written, be served as the one below that is.
pub(crate) fn serve_below(
    transaction: &Connection,
    stack: &Stack,
    id: &StackId,
    contents: &Contents,
) -> Result<()> {
    if contents.written.is_empty() {
        return Ok(());
    }
    let base = base_of(stack, contents);
    if let Some(serving) = Stack::serving(transaction, &base.id())? {
        on_top(&serving, &contents.written).serve(transaction, id)?;
    }
    Ok(())
}
