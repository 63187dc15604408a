//! Stacks that are served by other layers than their own.
//!
//! What a stack shows can be had from fewer layers, or with more in it that its own lack, such as
//! what a program would otherwise compute anew in each copy. The stack stays what it is: only who
//! mounts it is given other directories. Whether they show the same is the business of who says
//! so; that of [`Store::flatten`] do.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension as _};

use crate::Store;
use crate::commit::Prepared;
use crate::copy::{Contents, copy};
use crate::error::{Context as _, Error, Result};
use crate::id::StackId;
use crate::layer::Layer;
use crate::manifest::{Entry, Manifest};
use crate::materialize::pieces;
use crate::stack::Stack;
use crate::staging::Staging;
use crate::steps::reach;

/// Which layers a stack is served by.
pub(crate) const TABLE: &str = "
    CREATE TABLE served (
        stack  BLOB PRIMARY KEY,
        layers BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
";

impl Stack {
    /// Lets the stack of that id be served by `self` from now on, in a transaction of the caller's.
    ///
    /// A collection that takes one of these layers forgets that.
    ///
    /// # Errors
    ///
    /// [`Error::LayerMissing`] for the first layer that is not known.
    pub fn serve(&self, transaction: &Connection, stack: &StackId) -> Result<()> {
        self.check_known(transaction)?;
        transaction
            .prepare_cached("INSERT OR REPLACE INTO served (stack, layers) VALUES (?1, ?2)")?
            .execute((stack, self.encode()))?;
        Ok(())
    }

    /// What the stack of that id is served by, if not by its own layers, in a transaction of the
    /// caller's.
    pub fn serving(connection: &Connection, stack: &StackId) -> Result<Option<Self>> {
        let mut select = connection.prepare_cached("SELECT layers FROM served WHERE stack = ?1")?;
        let layers = select.query_row([stack], |row| row.get::<_, Vec<u8>>(0));
        layers.optional()?.map(|it| Self::decode(&it)).transpose()
    }

    /// Every stack that is served by other layers than its own, with these, in no order, in a
    /// transaction of the caller's.
    pub fn all_serving(connection: &Connection) -> Result<Vec<(StackId, Self)>> {
        Self::listed(connection, "SELECT stack, layers FROM served")
    }

    /// Lets the stack of that id be served by its own layers again.
    pub(crate) fn serve_no_more(transaction: &Connection, stack: &StackId) -> Result<()> {
        let mut delete = transaction.prepare_cached("DELETE FROM served WHERE stack = ?1")?;
        delete.execute([stack])?;
        Ok(())
    }
}

impl Store {
    /// Where the trees are that serve a stack, bottom first: the lower directories to mount.
    ///
    /// If one of the layers that serve it cannot be served itself, these are those of its own
    /// layers, as [`Store::stack_paths`] gives them.
    pub fn serving_paths(&self, stack: &Stack) -> Result<Vec<PathBuf>> {
        let id = stack.id();
        let serving = self
            .database()
            .read(|connection| Stack::serving(connection, &id))?;
        if let Some(serving) = serving {
            match self.stack_paths(&serving) {
                Err(error) if error.layer().is_some() => {
                    self.database()
                        .write(|transaction| Stack::serve_no_more(transaction, &id))?;
                }
                paths => return paths,
            }
        }
        self.stack_paths(stack)
    }

    /// Makes one layer that shows what a stack shows.
    ///
    /// Its files are further names of the files of the stack's layers, so that it takes no more
    /// room than its directories; its own [`Layer::bytes`] are those of files that could not have
    /// a further name. The same stack always gives the same layer.
    ///
    /// # Errors
    ///
    /// [`Error::LayerMissing`] or [`Error::LayerCorrupt`] for a layer that cannot be served.
    pub fn flatten(&self, stack: &Stack) -> Result<Layer> {
        let places = self.places(stack)?;
        let view = self.resolve(stack)?;
        let pieces = pieces(&view, &places);
        let staging = self.stage()?;
        let copied = copy(&pieces, staging.path(), None, Contents::Linked)?;
        reach("flatten.linked")?;
        let entries = view.iter().map(|(path, visible)| Entry {
            path: path.clone(),
            kind: visible.kind.clone(),
        });
        publish(
            staging,
            entries.collect(),
            copied.bytes - copied.linked_bytes,
        )
    }
}

/// Makes a layer of a tree that was copied from layers and so is known, `own_bytes` of whose files
/// are no other layer's.
pub(crate) fn publish(staging: Staging, entries: Vec<Entry>, own_bytes: u64) -> Result<Layer> {
    let file = staging.wrapper().join("manifest");
    let manifest = Manifest::new(entries).map_err(|source| Error::Manifest {
        path: file.clone(),
        source,
    })?;
    std::fs::write(&file, manifest.encode()).at("write", &file)?;
    Ok(Prepared::written(staging, manifest, own_bytes)
        .publish()?
        .layer)
}
