//! Removes layers that nothing needs any more. What is needed is the caller's to say.

use rusqlite::Connection;
use rustix::fs::FlockOperation;

use crate::Store;
use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::stack::Stack;
use crate::steps::reach;

/// What [`Store::collect`] removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collected {
    /// The layers, now in the trash.
    pub layers: Vec<Layer>,
    /// How many stacks were forgotten, because a layer of theirs went.
    pub stacks: usize,
}

impl Collected {
    /// The sizes of all files of the removed layers.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }
}

impl Store {
    /// Removes the layers that `choose` gives, and the stacks that had one.
    ///
    /// `choose` runs inside the transaction that forgets the layers, and is given it and every
    /// layer there is: whoever records a use of a layer in a transaction of their own has either
    /// done so before, and `choose` sees it, or finds the layer or the stack gone. What it does
    /// with the transaction is kept or undone with the rest. The trees go to the trash.
    ///
    /// A layer that was committed or found by a commit a moment ago may not be recorded anywhere
    /// yet: `choose` should leave what has a recent [`Layer::used_at`].
    pub fn collect<E: From<Error>>(
        &self,
        choose: impl FnOnce(&Connection, Vec<Layer>) -> Result<Vec<Layer>, E>,
    ) -> Result<Collected, E> {
        let _lock = self.lock_layers(FlockOperation::LockExclusive)?;
        let collected = self.database().write(|transaction| {
            let layers = choose(transaction, Layer::all(transaction)?)?;
            let stacks = if layers.is_empty() {
                0
            } else {
                forget(transaction, &layers)?
            };
            Ok::<_, E>(Collected { layers, stacks })
        })?;
        reach("collect.row")?;
        if !collected.layers.is_empty() {
            // Nothing can make some of them again: none may be gone and known.
            self.database().flush()?;
        }
        for layer in &collected.layers {
            self.discard(&self.layout().layer(&layer.id))?;
            reach("collect.tree")?;
            self.discard(&self.layout().manifest(&layer.id))?;
        }
        Ok(collected)
    }
}

/// Deletes the rows of these layers and of the stacks that have one; returns how many stacks.
fn forget(connection: &Connection, layers: &[Layer]) -> Result<usize> {
    let mut delete = connection.prepare_cached("DELETE FROM layers WHERE id = ?1")?;
    for layer in layers {
        delete.execute([layer.id])?;
    }
    let mut gone: Vec<_> = layers.iter().map(|layer| layer.id).collect();
    gone.sort_unstable();
    let is_broken = |stack: &Stack| {
        let mut layers = stack.layers().iter();
        layers.any(|id| gone.binary_search(id).is_ok())
    };
    let mut stacks = 0;
    for (id, stack) in Stack::all(connection)? {
        if is_broken(&stack) {
            Stack::forget(connection, &id)?;
            stacks += 1;
        }
    }
    for (id, serving) in Stack::all_serving(connection)? {
        if is_broken(&serving) {
            Stack::serve_no_more(connection, &id)?;
        }
    }
    Ok(stacks)
}
