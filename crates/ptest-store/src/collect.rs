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
    /// Removes every layer that `keep` does not want, and the stacks that had one.
    ///
    /// `keep` runs inside the transaction that forgets the layers, and is given it: whoever
    /// records a use of a layer in a transaction of their own has either done so before, and
    /// `keep` sees it, or finds the layer gone. The trees go to the trash.
    ///
    /// A layer that was committed or found by a commit a moment ago may not be recorded anywhere
    /// yet: `keep` should want what has a recent [`Layer::used_at`].
    pub fn collect<E: From<Error>>(
        &self,
        mut keep: impl FnMut(&Connection, &Layer) -> Result<bool, E>,
    ) -> Result<Collected, E> {
        let _lock = self.lock_layers(FlockOperation::LockExclusive)?;
        let all = self.layers()?;
        let collected = self.database().write(|transaction| {
            let mut collected = Collected::default();
            for layer in all {
                if !keep(transaction, &layer)? {
                    collected.layers.push(layer);
                }
            }
            if !collected.layers.is_empty() {
                collected.stacks = forget(transaction, &collected.layers)?;
            }
            Ok::<_, E>(collected)
        })?;
        reach("collect.row");
        for layer in &collected.layers {
            self.discard(&self.layout().layer(&layer.id))?;
            reach("collect.tree");
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
    let mut select = connection.prepare_cached("SELECT layers FROM stacks")?;
    let mut delete = connection.prepare_cached("DELETE FROM stacks WHERE id = ?1")?;
    let mut rows = select.query([])?;
    let mut stacks = Vec::new();
    while let Some(row) = rows.next()? {
        let stack = Stack::decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
        if stack
            .layers()
            .iter()
            .any(|id| gone.binary_search(id).is_ok())
        {
            stacks.push(stack.id());
        }
    }
    drop(rows);
    for stack in &stacks {
        delete.execute([stack])?;
    }
    Ok(stacks.len())
}
