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
}

/// One path of a [`View`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// The layer that it comes from; of a directory in several layers, the topmost one.
    pub layer: LayerId,
    /// What it is: a file, a directory or a symbolic link.
    pub kind: Kind,
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

    /// Puts a layer on top, as overlayfs does.
    pub(crate) fn put(&mut self, layer: LayerId, entries: Vec<Entry>) {
        for Entry { path, kind } in entries {
            // What lies below a directory stays visible; everything else hides it. The entries of
            // this layer below `path` come later, so all that is removed is older.
            if !matches!(kind, Kind::Directory { .. }) {
                self.remove_below(&path);
            }
            let kind = match kind {
                Kind::Whiteout => {
                    self.entries.remove(&path);
                    continue;
                }
                Kind::Opaque { mode } => Kind::Directory { mode },
                kind => kind,
            };
            self.entries.insert(path, Visible { layer, kind });
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
        let below: Vec<TreePath> = self
            .entries
            .range::<[u8], _>(range)
            .map(|(path, _)| path.clone())
            .collect();
        for path in below {
            self.entries.remove(&path);
        }
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
