//! What a stack shows: the entries of its layers merged, and the difference between two stacks.
//!
//! Works on manifests alone. On the disk the same is done by overlayfs, or by `materialize`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use crate::Store;
use crate::error::Result;
use crate::id::LayerId;
use crate::manifest::{Entry, Kind, TreePath};
use crate::parallel;
use crate::stack::Stack;

/// The merged entries of a stack.
///
/// Holds files, directories and symbolic links only: what whiteouts and opaque directories say is
/// done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    entries: BTreeMap<TreePath, Visible>,
    /// The whiteouts that are still in a visible directory.
    whiteouts: BTreeMap<TreePath, LayerId>,
}

/// One path of a [`View`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// The layer that it comes from; of a directory in several layers, the topmost one.
    pub layer: LayerId,
    /// What it is: a file, a directory or a symbolic link.
    pub kind: Kind,
    /// Of how many layers' directories it is the merger; 1 for what is not a directory.
    pub merged: usize,
}

/// A path that two stacks show differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: TreePath,
    /// What it was; `None` if it was not there.
    pub before: Option<Kind>,
    /// What it is; `None` if it is gone.
    pub after: Option<Kind>,
}

impl View {
    /// What is at a path.
    pub fn get(&self, path: &[u8]) -> Option<&Visible> {
        self.entries.get(path)
    }

    /// Every path, sorted by its bytes; a directory comes before what is in it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&TreePath, &Visible)> {
        self.entries.iter()
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no path at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every path that differs in `other`, which comes after this, sorted.
    pub fn changes_to(&self, other: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut old = self.entries.iter().peekable();
        let mut new = other.entries.iter().peekable();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return changes,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            let before = if order.is_le() { old.next() } else { None };
            let after = if order.is_ge() { new.next() } else { None };
            let kinds = [before, after].map(|found| found.map(|(_, visible)| &visible.kind));
            if let Some((path, _)) = before.or(after)
                && kinds[0] != kinds[1]
            {
                changes.push(Change {
                    path: path.clone(),
                    before: kinds[0].cloned(),
                    after: kinds[1].cloned(),
                });
            }
        }
    }

    /// The whiteouts that overlayfs would show as names of nothing.
    ///
    /// It hides whiteouts only where it merges. In a directory that one layer alone has, a
    /// whiteout, which then hides nothing, is *listed*, and looking at it fails as not found.
    /// Layers that come from an upper get such whiteouts when the layers below them are exchanged:
    /// [`Store::without_ghosts`] makes a stack that has none.
    pub fn ghosts(&self) -> impl Iterator<Item = (&TreePath, LayerId)> {
        self.whiteouts
            .iter()
            .filter(|(path, _)| {
                // The root is always merged, with the upper.
                let parent = path.parent().and_then(|parent| self.entries.get(parent));
                parent.is_some_and(|parent| parent.merged == 1)
            })
            .map(|(path, layer)| (path, *layer))
    }

    /// Puts a layer on top, as overlayfs does.
    pub(crate) fn put(&mut self, layer: LayerId, entries: Vec<Entry>) {
        for Entry { path, kind } in entries {
            // What lies below a directory stays visible; everything else hides it. The entries of
            // this layer below `path` come later, so all that is removed is older.
            if !matches!(kind, Kind::Directory { .. }) {
                self.remove_below(&path);
            }
            self.whiteouts.remove(&path);
            let (kind, merged) = match kind {
                Kind::Whiteout => {
                    self.entries.remove(&path);
                    self.whiteouts.insert(path, layer);
                    continue;
                }
                Kind::Opaque { mode } => (Kind::Directory { mode }, 1),
                Kind::Directory { mode } => {
                    let below = self.entries.get(&path);
                    let below = below.filter(|below| below.kind.is_directory());
                    let merged = 1 + below.map_or(0, |below| below.merged);
                    (Kind::Directory { mode }, merged)
                }
                kind => (kind, 1),
            };
            let visible = Visible {
                layer,
                kind,
                merged,
            };
            self.entries.insert(path, visible);
        }
    }

    fn remove_below(&mut self, path: &TreePath) {
        let is_directory = |visible: &Visible| visible.kind.is_directory();
        if !self.entries.get(path).is_some_and(is_directory) {
            return;
        }
        // Everything that begins with `path/`: `0` is the byte after `/`.
        let first = [path.as_bytes(), b"/"].concat();
        let after = [path.as_bytes(), b"0"].concat();
        let range = (
            Bound::Excluded(first.as_slice()),
            Bound::Excluded(after.as_slice()),
        );
        remove_range(&mut self.entries, range);
        remove_range(&mut self.whiteouts, range);
    }
}

fn remove_range<V>(map: &mut BTreeMap<TreePath, V>, range: (Bound<&[u8]>, Bound<&[u8]>)) {
    let found: Vec<TreePath> = map
        .range::<[u8], _>(range)
        .map(|(path, _)| path.clone())
        .collect();
    for path in found {
        map.remove(&path);
    }
}

impl Store {
    /// What a stack shows.
    pub fn resolve(&self, stack: &Stack) -> Result<View> {
        let manifests = parallel::map(
            stack.layers(),
            || (),
            |(), id| Ok((*id, self.manifest(id)?)),
        )?;
        let mut view = View::default();
        for (id, manifest) in manifests {
            view.put(id, manifest.into_entries());
        }
        Ok(view)
    }

    /// Every path that `after` shows differently from `before`, sorted.
    pub fn diff(&self, before: &Stack, after: &Stack) -> Result<Vec<Change>> {
        if before == after {
            return Ok(Vec::new());
        }
        Ok(self.resolve(before)?.changes_to(&self.resolve(after)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(layers: &[&[(&str, Kind)]]) -> View {
        let mut view = View::default();
        for (number, entries) in layers.iter().enumerate() {
            let entries = entries.iter().map(|(path, kind)| Entry {
                path: TreePath::new(path.as_bytes()).unwrap(),
                kind: kind.clone(),
            });
            view.put(LayerId::from_bytes([number as u8; 32]), entries.collect());
        }
        view
    }

    fn paths(view: &View) -> Vec<String> {
        view.iter().map(|(path, _)| path.to_string()).collect()
    }

    const D: Kind = Kind::Directory { mode: 0o755 };
    const O: Kind = Kind::Opaque { mode: 0o700 };
    const W: Kind = Kind::Whiteout;

    fn f() -> Kind {
        Kind::File {
            mode: 0o644,
            size: 0,
            mtime: crate::Mtime::default(),
            hash: blake3::hash(b"").into(),
        }
    }

    #[test]
    fn directories_merge_and_files_replace() {
        let merged = view(&[
            &[("a", D), ("a/x", f()), ("a/y", f())],
            &[("a", D), ("a/y", f()), ("a/z", f())],
        ]);
        assert_eq!(paths(&merged), ["a", "a/x", "a/y", "a/z"]);
        assert_eq!(
            merged.get(b"a/x").unwrap().layer,
            LayerId::from_bytes([0; 32])
        );
        assert_eq!(
            merged.get(b"a/y").unwrap().layer,
            LayerId::from_bytes([1; 32])
        );
    }

    #[test]
    fn a_whiteout_hides_a_whole_directory_and_nothing_beside_it() {
        let merged = view(&[
            &[
                ("a", D),
                ("a-b", f()),
                ("a/x", D),
                ("a/x/y", f()),
                ("a0", f()),
            ],
            &[("a", W)],
        ]);
        assert_eq!(paths(&merged), ["a-b", "a0"]);
    }

    #[test]
    fn an_opaque_directory_shows_only_its_own() {
        let merged = view(&[&[("a", D), ("a/x", f())], &[("a", O), ("a/y", f())]]);
        assert_eq!(paths(&merged), ["a", "a/y"]);
        assert_eq!(
            merged.get(b"a").unwrap().kind,
            Kind::Directory { mode: 0o700 }
        );
    }

    #[test]
    fn a_file_between_two_directories_separates_them() {
        let merged = view(&[
            &[("a", D), ("a/x", f())],
            &[("a", f())],
            &[("a", D), ("a/y", f())],
        ]);
        assert_eq!(paths(&merged), ["a", "a/y"]);
    }

    #[test]
    fn a_whiteout_is_a_ghost_where_nothing_is_merged() {
        let ghosts = |layers: &[&[(&str, Kind)]]| {
            let view = view(layers);
            let paths: Vec<String> = view.ghosts().map(|(path, _)| path.to_string()).collect();
            paths
        };
        let whiteout: &[(&str, Kind)] = &[("a", D), ("a/x", W), ("y", W)];
        assert_eq!(ghosts(&[whiteout]), ["a/x"]);
        assert_eq!(ghosts(&[&[("a", f())], whiteout]), ["a/x"]);
        assert!(ghosts(&[&[("a", D)], whiteout]).is_empty());
        assert!(ghosts(&[whiteout, &[("a", D)]]).is_empty());
        assert!(ghosts(&[whiteout, &[("a", O)]]).is_empty());
        assert!(ghosts(&[whiteout, &[("a", W)]]).is_empty());
    }

    #[test]
    fn changes_name_what_was_and_what_is() {
        let old = view(&[&[("a", D), ("a/x", f()), ("b", f())]]);
        let new = view(&[&[("a", D), ("a/y", f()), ("b", D)]]);
        let changes: Vec<_> = old
            .changes_to(&new)
            .into_iter()
            .map(|c| (c.path.to_string(), c.before.is_some(), c.after.is_some()))
            .collect();
        assert_eq!(
            changes,
            [
                ("a/x".to_owned(), true, false),
                ("a/y".to_owned(), false, true),
                ("b".to_owned(), true, true)
            ]
        );
        assert!(old.changes_to(&old).is_empty());
    }
}
