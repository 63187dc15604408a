//! Stacks: ordered lists of layers, their identity, and where their trees are.
//!
//! What a stack shows when its layers are merged is in `view`.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension as _};
use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use crate::Store;
use crate::boot;
use crate::error::{Context as _, Error, Result};
use crate::id::{LayerId, StackId};
use crate::layer::missing_directory;
use crate::linked;

/// Layers in order, the bottom one first.
///
/// A layer is in a stack once, at its highest place: lower down it could show nothing that it
/// does not show there, and overlayfs refuses to mount a directory twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Stack {
    layers: Vec<LayerId>,
}

impl Stack {
    /// A stack of these layers, bottom first.
    pub fn new(layers: impl IntoIterator<Item = LayerId>) -> Self {
        let all: Vec<LayerId> = layers.into_iter().collect();
        let mut seen = HashSet::with_capacity(all.len());
        let mut layers: Vec<LayerId> = all
            .into_iter()
            .rev()
            .filter(|id| seen.insert(*id))
            .collect();
        layers.reverse();
        Self { layers }
    }

    /// The layers, bottom first.
    pub fn layers(&self) -> &[LayerId] {
        &self.layers
    }

    /// This stack with one more layer on top.
    #[must_use]
    pub fn with_top(&self, layer: LayerId) -> Self {
        Self::new(self.layers.iter().copied().chain([layer]))
    }

    /// The name of this list of layers.
    pub fn id(&self) -> StackId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"ptstack\x01");
        hasher.update(&self.encode());
        hasher.finalize().into()
    }

    /// The layers' ids one after the other, 32 bytes each.
    pub fn encode(&self) -> Vec<u8> {
        self.layers.iter().flat_map(|id| *id.as_bytes()).collect()
    }

    /// Reads what [`Stack::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (chunks, rest) = bytes.as_chunks::<32>();
        let count = chunks.len();
        let stack = Self::new(chunks.iter().copied().map(LayerId::from_bytes));
        if !rest.is_empty() || stack.layers.len() != count {
            return Err(Error::DamagedStack);
        }
        Ok(stack)
    }

    /// Records a stack, so that it can be named by its id, in a transaction of the caller's.
    ///
    /// A stack is recorded only while all its layers are known: a collection that takes a layer
    /// takes its stacks too.
    ///
    /// # Errors
    ///
    /// [`Error::LayerMissing`] for the first layer that is not known.
    pub fn insert(&self, transaction: &Connection) -> Result<StackId> {
        self.check_known(transaction)?;
        let id = self.id();
        transaction
            .prepare_cached("INSERT OR IGNORE INTO stacks (id, layers) VALUES (?1, ?2)")?
            .execute((id, self.encode()))?;
        Ok(id)
    }

    /// Fails for the first layer that is not known.
    pub(crate) fn check_known(&self, connection: &Connection) -> Result<()> {
        let mut select = connection.prepare_cached("SELECT 1 FROM layers WHERE id = ?1")?;
        for layer in &self.layers {
            if !select.exists([layer])? {
                return Err(Error::LayerMissing { id: *layer });
            }
        }
        Ok(())
    }

    /// Whether a stack is recorded, in a transaction of the caller's.
    pub fn is_recorded(connection: &Connection, id: &StackId) -> Result<bool> {
        let mut select = connection.prepare_cached("SELECT 1 FROM stacks WHERE id = ?1")?;
        Ok(select.exists([id])?)
    }

    /// Forgets a stack, whose layers stay, in a transaction of the caller's.
    pub fn forget(transaction: &Connection, id: &StackId) -> Result<()> {
        let mut delete = transaction.prepare_cached("DELETE FROM stacks WHERE id = ?1")?;
        delete.execute([id])?;
        Self::serve_no_more(transaction, id)
    }

    /// Every recorded stack, in no order, in a transaction of the caller's.
    pub fn all(connection: &Connection) -> Result<Vec<(StackId, Self)>> {
        Self::listed(connection, "SELECT id, layers FROM stacks")
    }

    /// What a query for ids and lists of layers gives.
    pub(crate) fn listed(connection: &Connection, sql: &str) -> Result<Vec<(StackId, Self)>> {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let layers = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            all.push((row.get(0)?, Self::decode(layers)?));
        }
        Ok(all)
    }

    /// Finds a recorded stack, in a transaction of the caller's.
    pub fn find(connection: &Connection, id: &StackId) -> Result<Option<Self>> {
        let mut statement = connection.prepare_cached("SELECT layers FROM stacks WHERE id = ?1")?;
        let blob = statement
            .query_row([id], |row| row.get::<_, Vec<u8>>(0))
            .optional()?;
        let Some(blob) = blob else {
            return Ok(None);
        };
        let stack = Self::decode(&blob)?;
        if stack.id() != *id {
            return Err(Error::DamagedStack);
        }
        Ok(Some(stack))
    }
}

impl FromIterator<LayerId> for Stack {
    fn from_iter<I: IntoIterator<Item = LayerId>>(layers: I) -> Self {
        Self::new(layers)
    }
}

impl Store {
    /// Records a stack, so that it can be named by its id.
    pub fn put_stack(&self, stack: &Stack) -> Result<StackId> {
        self.database()
            .write(|transaction| stack.insert(transaction))
    }

    /// The stack of that id.
    ///
    /// # Errors
    ///
    /// [`Error::StackMissing`] when none is recorded.
    pub fn stack(&self, id: &StackId) -> Result<Stack> {
        self.database()
            .read(|connection| Stack::find(connection, id))?
            .ok_or(Error::StackMissing { id: *id })
    }

    /// The sizes of all files of a stack's layers, without a look at the disk. A layer that is not
    /// known has none.
    pub fn stack_bytes(&self, stack: &Stack) -> Result<u64> {
        self.database().read(|connection| {
            let mut select = connection.prepare_cached("SELECT bytes FROM layers WHERE id = ?1")?;
            let mut bytes = 0;
            for id in stack.layers() {
                let layer = select.query_row([id], |row| row.get::<_, i64>(0));
                bytes += layer.optional()?.unwrap_or_default() as u64;
            }
            Ok(bytes)
        })
    }

    /// Where the trees of a stack's layers are, bottom first: the lower directories to mount.
    ///
    /// Every layer is known; those that the machine's last start, or further names of their files,
    /// made doubtful have been verified.
    ///
    /// # Errors
    ///
    /// [`Error::LayerMissing`] or [`Error::LayerCorrupt`] for the first layer that cannot be
    /// served.
    pub fn stack_paths(&self, stack: &Stack) -> Result<Vec<PathBuf>> {
        let boot = boot::id()?;
        // One transaction, so that all of them are there at one moment.
        let doubtful = self.database().read::<_, Error>(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {} FROM layers WHERE id = ?1",
                linked::IS_SAFE
            ))?;
            let mut doubtful = Vec::new();
            for id in stack.layers() {
                let safe = statement
                    .query_row((id, boot), |row| row.get::<_, bool>(0))
                    .optional()?;
                match safe {
                    Some(true) => {}
                    Some(false) => doubtful.push(*id),
                    None => return Err(Error::LayerMissing { id: *id }),
                }
            }
            Ok(doubtful)
        })?;
        for id in doubtful {
            self.verify_doubtful(id)?;
        }
        let paths: Vec<PathBuf> = stack
            .layers()
            .iter()
            .map(|id| self.layer_path(id))
            .collect();
        let layers = self.layout().layers();
        let layers = File::open(&layers).at("open", &layers)?;
        for (id, path) in stack.layers().iter().zip(&paths) {
            // By name in one directory: a third of the time of the full paths.
            let name = path.file_name().unwrap_or_default();
            match statat(&layers, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if FileType::from_raw_mode(found.st_mode).is_dir() => {}
                Ok(_) | Err(Errno::NOENT) => return Err(missing_directory(*id)),
                Err(errno) => return Err(errno).at("examine", path),
            }
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(number: u8) -> LayerId {
        LayerId::from_bytes([number; 32])
    }

    #[test]
    fn a_layer_counts_once_at_its_highest_place() {
        let stack = Stack::new([1, 2, 1, 3].map(layer));
        assert_eq!(stack.layers(), [2, 1, 3].map(layer));
        assert_eq!(stack.with_top(layer(2)).layers(), [1, 3, 2].map(layer));
    }

    #[test]
    fn the_order_is_part_of_the_identity() {
        assert_ne!(
            Stack::new([1, 2].map(layer)).id(),
            Stack::new([2, 1].map(layer)).id()
        );
    }

    #[test]
    fn only_whole_lists_are_read() {
        let stack = Stack::new([1, 2].map(layer));
        let bytes = stack.encode();
        assert_eq!(Stack::decode(&bytes).unwrap(), stack);
        assert!(Stack::decode(&bytes[..63]).is_err());
        assert!(Stack::decode(&[bytes.as_slice(), &[1; 32]].concat()).is_err());
    }

    /// This value is part of the format: environments refer to stacks by it.
    #[test]
    fn the_id_of_a_known_stack_never_changes() {
        assert_eq!(
            Stack::new([1, 2].map(layer)).id().to_string(),
            "bbe6a42931e0a73cff296416956adb87a2f72176f7823caa641fcb8f21f8bfa4"
        );
    }
}
