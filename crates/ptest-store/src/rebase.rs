//! Copies of uppers and of layers that become layers themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::Store;
use crate::commit::{CommitOptions, Source};
use crate::copy::{Contents, Piece, Rewrite, copy};
use crate::error::Result;
use crate::id::{ContentHash, LayerId};
use crate::manifest::{Entry, Kind, TreePath};
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
        let mut scan = scan::scan(upper, unread(true, specials))?;
        let left_out = std::mem::take(&mut scan.left_out);
        let staging = self.stage()?;
        copy_entries(&scan.into_entries(), upper, None, None, &staging)?;
        Ok((staging, left_out))
    }

    /// Copies what differs in an ordinary tree from the stack that it was made of into a fresh
    /// staging, to be committed as [`Source::OverlayUpper`]. Returns what was left out besides.
    ///
    /// - `is_changed` says of files and links, and of directories of which the stack has none,
    ///   whether they differ; directories on the way to them come along.
    /// - Of `deleted` a path that the tree does not have becomes a whiteout, or the highest
    ///   directory above it that is gone too.
    /// - Sockets and FIFOs are left out. With `rewrite` text is moved as by
    ///   [`Store::clone_tree`].
    pub fn stage_changes(
        &self,
        tree: &Path,
        is_changed: &dyn Fn(&Entry) -> bool,
        deleted: &[TreePath],
        rewrite: Option<Rewrite<'_>>,
    ) -> Result<(Staging, Vec<LeftOut>)> {
        let mut scan = scan::scan(tree, unread(false, Specials::LeaveOut))?;
        let left_out = std::mem::take(&mut scan.left_out);
        let there: BTreeMap<TreePath, Entry> = scan
            .into_entries()
            .into_iter()
            .map(|entry| (entry.path.clone(), entry))
            .collect();
        let mut changed: BTreeMap<TreePath, Entry> = BTreeMap::new();
        let changes = there.values().filter(|entry| is_changed(entry)).cloned();
        let whiteouts = deleted.iter().filter_map(|path| gone(path, &there));
        for entry in changes.chain(whiteouts) {
            let mut above = entry.path.parent();
            while let Some(directory) = above.and_then(|path| there.get(path)) {
                above = directory.path.parent();
                changed.insert(directory.path.clone(), directory.clone());
            }
            changed.insert(entry.path.clone(), entry);
        }
        let staging = self.stage()?;
        let entries: Vec<Entry> = changed.into_values().collect();
        copy_entries(&entries, tree, None, rewrite, &staging)?;
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
        copy_entries(&entries, &self.layer_path(id), Some(*id), None, &staging)?;
        let options = CommitOptions {
            source: Source::OverlayUpper,
            ..CommitOptions::default()
        };
        Ok(self.commit(staging, options)?.layer.id)
    }
}

/// Reads a tree but not its contents: they are hashed when the copy is committed, and the tree may
/// be in use again by then.
fn unread(overlay: bool, specials: Specials) -> Reading<'static> {
    Reading {
        overlay,
        times: Mtimes::Keep,
        modes: Modes::Keep,
        specials,
        unshare: None,
        assume: &|_| Some(ContentHash::from_bytes([0; 32])),
        whole: None,
    }
}

/// A whiteout for the highest path at or above `path` that is not there; `None` when it is there.
fn gone(path: &TreePath, there: &BTreeMap<TreePath, Entry>) -> Option<Entry> {
    let mut highest = path.as_bytes();
    let mut found = there.get(highest);
    while found.is_none() {
        let Some(slash) = highest.iter().rposition(|byte| *byte == b'/') else {
            break;
        };
        let above = &highest[..slash];
        found = there.get(above);
        if found.is_none() {
            highest = above;
        }
    }
    // Where a directory was a file may be now, which hides what was below it.
    let is_hidden = found.is_some_and(|above| {
        above.path.as_bytes() == path.as_bytes() || !above.kind.is_directory()
    });
    let path = TreePath::new(highest).ok().filter(|_| !is_hidden)?;
    Some(Entry {
        path,
        kind: Kind::Whiteout,
    })
}

pub(crate) fn copy_entries(
    entries: &[Entry],
    tree: &Path,
    layer: Option<LayerId>,
    rewrite: Option<Rewrite<'_>>,
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
    copy(&pieces, staging.path(), rewrite, Contents::Own).map(|_| ())
}
