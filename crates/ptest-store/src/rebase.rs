//! Copies of uppers and of layers that become layers themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::Store;
use crate::commit::{CommitOptions, Source};
use crate::copy::{Contents, Piece, copy};
use crate::error::Result;
use crate::id::{ContentHash, LayerId};
use crate::manifest::{Entry, TreePath};
use crate::scan::{self, LeftOut, Modes, Mtimes, Reading, Specials};
use crate::stack::Stack;
use crate::staging::Staging;

impl Store {
    /// Copies an upper directory into a fresh staging, with what its marks say, to be committed
    /// as [`Source::OverlayUpper`]. Returns what was left out besides.
    ///
    /// For the upper of an environment that goes on running: it must be still while it is
    /// copied. Where the file system can clone files, that takes no time for their contents.
    pub fn stage_copy(&self, upper: &Path, specials: Specials) -> Result<(Staging, Vec<LeftOut>)> {
        // Their contents are hashed when the copy is committed, and the upper runs again by then.
        let unread = ContentHash::from_bytes([0; 32]);
        let reading = Reading {
            overlay: true,
            times: Mtimes::Keep,
            modes: Modes::Keep,
            specials,
            unshare: None,
            assume: &|_| Some(unread),
        };
        let mut scan = scan::scan(upper, reading)?;
        let left_out = std::mem::take(&mut scan.left_out);
        let staging = self.stage()?;
        copy_entries(&scan.into_entries(), upper, None, &staging)?;
        Ok((staging, left_out))
    }

    /// The same stack without whiteouts that overlayfs would show ([`View::ghosts`]): layers that
    /// have some are replaced by copies without them. What the stack shows stays the same.
    ///
    /// [`View::ghosts`]: crate::View::ghosts
    pub fn without_ghosts(&self, stack: &Stack) -> Result<Stack> {
        let view = self.resolve(stack)?;
        let mut ghosts: BTreeMap<LayerId, BTreeSet<&TreePath>> = BTreeMap::new();
        for (path, layer) in view.ghosts() {
            ghosts.entry(layer).or_default().insert(path);
        }
        stack
            .layers()
            .iter()
            .map(|id| match ghosts.get(id) {
                Some(ghosts) => self.without(id, ghosts),
                None => Ok(*id),
            })
            .collect()
    }

    /// A layer like another one, without some of its entries.
    fn without(&self, id: &LayerId, paths: &BTreeSet<&TreePath>) -> Result<LayerId> {
        let mut entries = self.manifest(id)?.into_entries();
        entries.retain(|entry| !paths.contains(&entry.path));
        let staging = self.stage()?;
        copy_entries(&entries, &self.layer_path(id), Some(*id), &staging)?;
        let options = CommitOptions {
            source: Source::OverlayUpper,
            ..CommitOptions::default()
        };
        Ok(self.commit(staging, options)?.layer.id)
    }
}

fn copy_entries(
    entries: &[Entry],
    tree: &Path,
    layer: Option<LayerId>,
    staging: &Staging,
) -> Result<()> {
    let pieces: Vec<Piece<'_>> = entries
        .iter()
        .map(|entry| Piece {
            path: &entry.path,
            kind: &entry.kind,
            tree,
            layer,
        })
        .collect();
    copy(&pieces, staging.path(), None, Contents::Own).map(|_| ())
}
