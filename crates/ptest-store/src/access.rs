//! Reaching files of one's own whose mode forbids it.
//!
//! A tree may hold a directory of mode 0555 or a file of mode 0000. To an ordinary user who owns
//! them they are closed until the mode is changed; root notices nothing. Only ever used on trees
//! that this crate owns or has been given to commit.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

/// How much has to be opened for an operation to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The directories on the way; the operation changes the entry itself.
    Parents,
    /// The entry too; its mode is as before afterwards.
    Entry,
}

/// Runs `operation`, which works on `root/relative`; if the mode of a directory on the way, or of
/// the entry, is the obstacle, opens the way for the time of a second try.
pub(crate) fn with_access<T>(
    root: &Path,
    relative: &Path,
    need: Need,
    mut operation: impl FnMut() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    // Two threads with different entries below the same directory must not close it on each other.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    let refused = match operation() {
        Err(errno @ Errno::ACCESS) => errno,
        result => return result,
    };
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(_opened) = Opened::on_the_way(root, relative, need) else {
        return Err(refused);
    };
    operation()
}

/// Modes to give back when dropped.
struct Opened(Vec<(PathBuf, Permissions)>);

impl Opened {
    fn on_the_way(root: &Path, relative: &Path, need: Need) -> io::Result<Self> {
        let mut opened = Self(Vec::new());
        opened.open(root)?;
        let mut path = root.to_owned();
        let mut components = relative.components().peekable();
        while let Some(component) = components.next() {
            path.push(component);
            if components.peek().is_some() || need == Need::Entry {
                opened.open(&path)?;
            }
        }
        Ok(opened)
    }

    fn open(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        let wanted = if metadata.is_dir() {
            0o700
        } else if metadata.is_file() {
            0o600
        } else {
            return Ok(());
        };
        let mode = metadata.permissions().mode();
        if mode & wanted != wanted {
            fs::set_permissions(path, Permissions::from_mode(mode | wanted))?;
            self.0.push((path.to_owned(), metadata.permissions()));
        }
        Ok(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Innermost first: closing a directory would hide what is in it.
        for (path, permissions) in self.0.drain(..).rev() {
            // Fails only if the operation removed it.
            let _ = fs::set_permissions(path, permissions);
        }
    }
}
