//! Makes a tree on disk what its scan says that the layer is.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, chmodat, unlinkat, utimensat};

use super::{Fix, Item, Scan, open_root, timestamps};
use crate::access::{Need, with_access};
use crate::error::{Context as _, Result};
use crate::overlay_marks;
use crate::parallel;

impl Scan {
    /// Changes the tree at `root`, of which this is the scan, into what the entries say.
    pub(crate) fn apply(&self, root: &Path) -> Result<()> {
        let fd = open_root(root)?;
        for path in &self.remove {
            with_access(root, path.as_path(), Need::Parents, || {
                unlinkat(&fd, path.as_path(), AtFlags::empty())
            })
            .at("remove", root.join(path))?;
        }
        // Directories last: their new modes may close them, and changes inside touch their times.
        let (directories, others): (Vec<&Item>, Vec<&Item>) = self
            .items
            .iter()
            .filter(|item| item.fix != Fix::default())
            .partition(|item| item.entry.kind.is_directory());
        parallel::map(
            &others,
            || (),
            |(), item| apply_to(root, &fd, item.entry.path.as_path(), &item.fix),
        )?;
        for item in directories.iter().rev() {
            apply_to(root, &fd, item.entry.path.as_path(), &item.fix)?;
        }
        apply_to(root, &fd, Path::new("."), &self.root)
    }
}

fn apply_to(root: &Path, fd: &OwnedFd, path: &Path, fix: &Fix) -> Result<()> {
    let full = root.join(path);
    if fix.whiteout {
        return with_access(root, path, Need::Parents, || {
            unlinkat(fd, path, AtFlags::empty())?;
            overlay_marks::make_whiteout(fd, path)
        })
        .at("make a whiteout of", full);
    }
    if !fix.strip.is_empty() || fix.opaque {
        with_access(root, path, Need::Entry, || {
            for name in &fix.strip {
                overlay_marks::strip(&full, name)?;
            }
            if fix.opaque {
                overlay_marks::set_opaque(&full)?;
            }
            Ok(())
        })
        .at("change the attributes of", &full)?;
    }
    if let Some(mode) = fix.mode {
        with_access(root, path, Need::Parents, || {
            chmodat(fd, path, Mode::from_raw_mode(mode), AtFlags::empty())
        })
        .at("change the mode of", &full)?;
    }
    if let Some(mtime) = fix.times {
        let times = timestamps(mtime);
        with_access(root, path, Need::Parents, || {
            utimensat(fd, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        })
        .at("set the time of", full)?;
    }
    Ok(())
}
