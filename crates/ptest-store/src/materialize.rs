//! A stack as an ordinary directory: the driver for where overlayfs is not to be had, and what
//! makes a tree that needs no store any more.
//!
//! Contents are shared with the layers where the file system can clone files, else copied; never
//! hard-linked, since whoever writes to such a file writes into the layer.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, fchmod, futimens, ioctl_ficlone, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::Store;
use crate::access::{Need, with_access};
use crate::error::{Context as _, Error, Result};
use crate::layout::random_name;
use crate::manifest::{Kind, Mtime, TreePath};
use crate::parallel;
use crate::rewrite::Prefix;
use crate::scan::timestamps;
use crate::stack::Stack;
use crate::steps::reach;
use crate::view::{View, Visible};

/// How the text of a tree is moved from the prefix that it was made for.
#[derive(Clone, Copy)]
pub struct Rewrite<'a> {
    /// The prefix that the tree was made for, such as `/ptest/env`.
    pub from: &'a [u8],
    /// The prefix that it gets: the path under which it will be used.
    pub to: &'a [u8],
    /// Names text files, beside scripts, that mention the prefix, such as `bin/activate`. They are
    /// read into memory whole.
    pub select: &'a (dyn Fn(&TreePath) -> bool + Sync),
}

/// What [`Store::clone_tree`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cloned {
    /// How many paths the tree has.
    pub entries: u64,
    /// The sizes of its files together.
    pub bytes: u64,
    /// How many files share their contents with a layer.
    pub shared: u64,
}

impl Store {
    /// Makes the directory `destination` and fills it with what a stack shows.
    ///
    /// - Modes and times of files and links are the layers'. A directory has its mode; its time
    ///   is now.
    /// - With `rewrite`: in every file that begins with `#!`, and in every selected text file,
    ///   mentions of the old prefix are replaced, and so is the beginning of symbolic links'
    ///   targets. A first line that no kernel could read is turned into a call by `sh`.
    /// - The directory appears complete or not at all: it is made beside its place and renamed.
    ///   An empty directory in its place is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::DestinationTaken`] when something is there; [`Error::UnusablePrefix`] when a
    /// script could not name the new prefix; [`Error::LayerMissing`] or [`Error::LayerCorrupt`].
    pub fn clone_tree(
        &self,
        stack: &Stack,
        destination: &Path,
        rewrite: Option<Rewrite<'_>>,
    ) -> Result<Cloned> {
        let parent = check_destination(destination)?;
        let prefix = rewrite.map(|Rewrite { from, to, .. }| Prefix { from, to });
        if let Some(prefix) = prefix
            && !prefix.is_usable()
        {
            return Err(Error::UnusablePrefix {
                path: Path::new(std::ffi::OsStr::from_bytes(prefix.to)).to_owned(),
            });
        }
        self.stack_paths(stack)?;
        let view = self.resolve(stack)?;

        let unfinished = Unfinished::new(parent)?;
        let copying = Copying {
            store: self,
            root: &unfinished.path,
            rewrite,
            can_share: AtomicBool::new(true),
            shared: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        copying.run(&view)?;
        reach("clone.copied");
        let cloned = Cloned {
            entries: view.len() as u64,
            bytes: copying.bytes.into_inner(),
            shared: copying.shared.into_inner(),
        };
        unfinished.finish(destination)?;
        Ok(cloned)
    }
}

struct Copying<'a> {
    store: &'a Store,
    root: &'a Path,
    rewrite: Option<Rewrite<'a>>,
    can_share: AtomicBool,
    shared: AtomicU64,
    bytes: AtomicU64,
}

impl Copying<'_> {
    fn run(&self, view: &View) -> Result<()> {
        let (directories, others): (Vec<_>, Vec<_>) = view
            .iter()
            .partition(|(_, visible)| visible.kind.is_directory());
        // A directory comes before what is in it.
        for (path, _) in &directories {
            let place = self.root.join(path);
            DirBuilder::new()
                .mode(0o700)
                .create(&place)
                .at("create the directory", place)?;
        }
        parallel::map(
            &others,
            || (),
            |(), (path, visible)| self.leaf(path, visible),
        )?;
        for (path, visible) in directories.iter().rev() {
            if let Kind::Directory { mode } = visible.kind {
                let place = self.root.join(path);
                rustix::fs::chmod(&place, Mode::from_raw_mode(mode))
                    .at("change the mode of", place)?;
            }
        }
        Ok(())
    }

    fn leaf(&self, path: &TreePath, visible: &Visible) -> Result<()> {
        match &visible.kind {
            Kind::File {
                mode, size, mtime, ..
            } => self.file(path, visible, *mode, *size, *mtime),
            Kind::Symlink { mtime, target } => self.link(path, target, *mtime),
            // Not in a view, or made before.
            Kind::Whiteout | Kind::Directory { .. } | Kind::Opaque { .. } => Ok(()),
        }
    }

    fn link(&self, path: &TreePath, target: &[u8], mtime: Mtime) -> Result<()> {
        let place = self.root.join(path);
        let moved = self.prefix().and_then(|prefix| prefix.target(target));
        symlinkat(moved.as_deref().unwrap_or(target), CWD, &place).at("create the link", &place)?;
        utimensat(CWD, &place, &timestamps(mtime), AtFlags::SYMLINK_NOFOLLOW)
            .at("set the time of", place)
    }

    fn file(
        &self,
        path: &TreePath,
        visible: &Visible,
        mode: u32,
        size: u64,
        mtime: Mtime,
    ) -> Result<()> {
        let layer = self.store.layer_path(&visible.layer);
        let (from, to) = (layer.join(path), self.root.join(path));
        let mut source = with_access(&layer, path.as_path(), Need::Entry, || {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::open(&from, flags, Mode::empty())
        })
        .map(File::from)
        .at("open", &from)?;
        let found = source.metadata().at("examine", &from)?;
        if !found.is_file() || found.len() != size {
            return Err(Error::LayerCorrupt {
                id: visible.layer,
                detail: format!("{path} has another size"),
            });
        }
        let mut copy = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&to)
            .at("create", &to)?;
        let written = match self.rewritten(path, &mut source, size).at("read", &from)? {
            Some(contents) => {
                copy.write_all(&contents).at("write", &to)?;
                contents.len() as u64
            }
            None => self
                .contents(&mut source, &mut copy, size)
                .at("copy", &to)?,
        };
        self.bytes.fetch_add(written, Ordering::Relaxed);
        fchmod(&copy, Mode::from_raw_mode(mode)).at("change the mode of", &to)?;
        futimens(&copy, &timestamps(mtime)).at("set the time of", to)
    }

    /// The new contents of a file that mentions the prefix; else `None`, and `source` is at its
    /// beginning.
    fn rewritten(
        &self,
        path: &TreePath,
        source: &mut File,
        size: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let (Some(prefix), Some(rewrite)) = (self.prefix(), self.rewrite) else {
            return Ok(None);
        };
        let mut start = [0; 2];
        let is_script =
            size > 2 && rustix::io::pread(&*source, &mut start, 0)? == 2 && start == *b"#!";
        if !is_script && !(rewrite.select)(path) {
            return Ok(None);
        }
        let mut contents = Vec::with_capacity(size as usize);
        source.read_to_end(&mut contents)?;
        let new = if is_script {
            prefix.script(&contents)
        } else {
            prefix.text(&contents)
        };
        Ok(Some(new.unwrap_or(contents)))
    }

    fn contents(&self, source: &mut File, copy: &mut File, size: u64) -> io::Result<u64> {
        if size == 0 {
            return Ok(0);
        }
        if self.can_share.load(Ordering::Relaxed) {
            match ioctl_ficlone(&*copy, &*source) {
                Ok(()) => {
                    self.shared.fetch_add(1, Ordering::Relaxed);
                    return Ok(size);
                }
                Err(
                    Errno::OPNOTSUPP
                    | Errno::XDEV
                    | Errno::INVAL
                    | Errno::NOTTY
                    | Errno::NOSYS
                    | Errno::PERM
                    | Errno::ACCESS,
                ) => self.can_share.store(false, Ordering::Relaxed),
                Err(errno) => return Err(errno.into()),
            }
        }
        let copied = io::copy(source, copy)?;
        if copied != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(copied)
    }

    fn prefix(&self) -> Option<Prefix<'_>> {
        self.rewrite
            .map(|Rewrite { from, to, .. }| Prefix { from, to })
    }
}

/// The directory in the making, removed when dropped before it has its name.
struct Unfinished {
    path: PathBuf,
    finished: bool,
}

impl Unfinished {
    fn new(parent: &Path) -> Result<Self> {
        let path = parent.join(format!(".ptest-{}", random_name()?));
        // 0755, less the umask: the root of a stack has no mode of its own.
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .at("create the directory", &path)?;
        Ok(Self {
            path,
            finished: false,
        })
    }

    fn finish(mut self, destination: &Path) -> Result<()> {
        fs::rename(&self.path, destination).map_err(|source| match source.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => Error::DestinationTaken {
                path: destination.to_owned(),
            },
            _ => Error::Io {
                action: "create",
                path: destination.to_owned(),
                source,
            },
        })?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // What is reported is why it was not finished.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Refuses early what the final rename would refuse; returns the directory that it is in.
fn check_destination(destination: &Path) -> Result<&Path> {
    let parent = match destination.parent() {
        Some(parent) if destination.is_absolute() => parent,
        _ => {
            return Err(Error::RelativePath {
                path: destination.to_owned(),
            });
        }
    };
    let taken = match fs::symlink_metadata(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Ok(found) if found.is_dir() => fs::read_dir(destination)
            .at("list", destination)?
            .next()
            .is_some(),
        result => result.at("examine", destination).map(|_| true)?,
    };
    if taken {
        return Err(Error::DestinationTaken {
            path: destination.to_owned(),
        });
    }
    Ok(parent)
}
