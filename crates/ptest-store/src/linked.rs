//! Layers whose files have further names outside of them: what writes to such a file writes into
//! the layer, so that the layer is verified each time it is served.
//!
//! A layer has two counters. `linked` counts how often names were added, `unlinked` says up to
//! which of these none was found to be left. Names are counted after they are made and before
//! anybody can write to them; a look that began before that tells nothing of them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rusqlite::Connection;

use crate::Store;
use crate::error::{Context as _, Error, Result};
use crate::id::LayerId;
use crate::manifest::Kind;
use crate::stack::Stack;

/// Adds the counters to the table of layers.
pub(crate) const COLUMNS: &str = "
    ALTER TABLE layers ADD COLUMN linked INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE layers ADD COLUMN unlinked INTEGER NOT NULL DEFAULT 0;
";

/// Which layer can be served without a look, in SQL, `?2` being this boot.
pub(crate) const IS_SAFE: &str = "(synced OR boot = ?2) AND linked = unlinked";

impl Store {
    /// Records that files of these layers have further names now.
    pub(crate) fn mark_linked(&self, stack: &Stack) -> Result<()> {
        self.database().write(|transaction| {
            let mut update = transaction
                .prepare_cached("UPDATE layers SET linked = linked + 1 WHERE id = ?1")?;
            for id in stack.layers() {
                if update.execute([id])? == 0 {
                    return Err(Error::LayerMissing { id: *id });
                }
            }
            Ok(())
        })
    }

    /// How often names were added to files of a layer.
    pub(crate) fn times_linked(&self, id: &LayerId) -> Result<i64> {
        self.database().read(|connection| linked(connection, id))
    }

    /// Forgets those names, the layer being sound, unless one is left or came since `times`.
    pub(crate) fn forget_links(&self, id: &LayerId, times: i64) -> Result<()> {
        if times == 0 || self.has_other_names(id)? {
            return Ok(());
        }
        self.database().write(|transaction| {
            transaction
                .prepare_cached("UPDATE layers SET unlinked = ?2 WHERE id = ?1 AND unlinked < ?2")?
                .execute((id, times))?;
            Ok(())
        })
    }

    fn has_other_names(&self, id: &LayerId) -> Result<bool> {
        let tree = self.layer_path(id);
        for entry in self.manifest(id)?.entries() {
            if !matches!(entry.kind, Kind::File { .. }) {
                continue;
            }
            let path = tree.join(&entry.path);
            let facts = fs::symlink_metadata(&path).at("examine", path)?;
            if facts.nlink() > 1 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn linked(connection: &Connection, id: &LayerId) -> Result<i64> {
    let mut select = connection.prepare_cached("SELECT linked FROM layers WHERE id = ?1")?;
    Ok(select.query_row([id], |row| row.get(0))?)
}
