//! A layer with one of its directories under another name.
//!
//! For what is the same but for where it lies, such as packages that another Python looks for
//! elsewhere. What is where, and whether the text of files depends on it, is the caller's business.

use std::fs;

use crate::Store;
use crate::error::{Context as _, Error, Result};
use crate::id::LayerId;
use crate::layer::Layer;
use crate::manifest::{Entry, TreePath};
use crate::rebase::copy_entries;
use crate::served::publish;
use crate::steps::reach;
use crate::verify::{Depth, Verdict};

impl Store {
    /// Makes a layer that is another one but for the name of a directory: what was at `from` and
    /// below is at `to`, in the same directory or in another one of the layer.
    ///
    /// Its files are copies, which share their contents with the other layer's where the file system
    /// can; that layer is verified whole before. The same layer always gives the same one.
    ///
    /// # Errors
    ///
    /// [`Error::LayerCorrupt`] when the layer is not what was committed; [`Error::Refused`] when it
    /// has nothing at `from` or something at `to`.
    pub fn moved(&self, id: &LayerId, from: &TreePath, to: &TreePath) -> Result<Layer> {
        // The copies are not read again.
        if let Verdict::Corrupt { detail } = self.verify(id, Depth::Full)? {
            return Err(Error::LayerCorrupt { id: *id, detail });
        }
        let manifest = self.manifest(id)?;
        let refused = |path: &TreePath, what| Error::Refused {
            path: path.as_path().to_owned(),
            what,
        };
        if manifest.get(from.as_bytes()).is_none() {
            return Err(refused(from, "in no such layer"));
        }
        if manifest.get(to.as_bytes()).is_some() {
            return Err(refused(to, "in the layer already"));
        }
        let bytes = manifest.bytes();
        let entries = manifest.into_entries();
        let staging = self.stage()?;
        copy_entries(&entries, &self.layer_path(id), Some(*id), None, &staging)?;
        let [old, new] = [from, to].map(|path| staging.path().join(path));
        fs::rename(&old, &new).at("rename", &old)?;
        reach("moved.copied")?;
        let entries = entries.into_iter().map(|entry| {
            Ok(Entry {
                path: renamed(&entry.path, from, to)?,
                kind: entry.kind,
            })
        });
        publish(staging, entries.collect::<Result<_>>()?, bytes)
    }
}

/// The path of what was at `path` when what is at `from` was moved to `to`.
fn renamed(path: &TreePath, from: &TreePath, to: &TreePath) -> Result<TreePath> {
    let rest = path.as_bytes().strip_prefix(from.as_bytes());
    let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with(b"/")) else {
        return Ok(path.clone());
    };
    TreePath::new([to.as_bytes(), rest].concat()).map_err(|_| Error::Refused {
        path: path.as_path().to_owned(),
        what: "a path that would be too long",
    })
}
