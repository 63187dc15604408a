//! Writes the tree of a layer into a staged directory that nobody else knows of.
//!
//! Paths have been checked by `tree`: each lies in a directory that was made here.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, XattrFlags, chmodat, fchmod, fsetxattr, futimens, mkdirat, openat,
    symlinkat, utimensat,
};

use crate::contents::Copier;
use crate::error::{Context as _, Result};
use crate::id::ContentHash;
use crate::manifest::{Entry, Kind, Manifest, Mtime, TreePath};
use crate::overlay_marks;
use crate::scan::timestamps;

/// A tree in the making.
pub(crate) struct Target {
    path: PathBuf,
    root: OwnedFd,
    copier: Copier,
}

/// What a file is but for its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contents {
    pub(crate) mode: u32,
    pub(crate) mtime: Mtime,
}

/// A file whose bytes are in memory.
pub(crate) struct SmallFile {
    /// Which entry of its layer it is.
    pub(crate) index: usize,
    pub(crate) path: TreePath,
    pub(crate) bytes: Vec<u8>,
    pub(crate) contents: Contents,
}

impl SmallFile {
    /// Hashes it, and writes it if there is a target.
    pub(crate) fn make(&self, target: Option<&Target>) -> Result<ContentHash> {
        if let Some(target) = target {
            let mut file = target.create(&self.path)?;
            file.write_all(&self.bytes)
                .at("write", target.path.join(&self.path))?;
            target.complete(&file, &self.path, self.contents)?;
        }
        Ok(blake3::hash(&self.bytes).into())
    }
}

/// Hashes a file that comes in pieces, and writes it if there is a target.
pub(crate) fn stream(
    target: Option<&Target>,
    path: &TreePath,
    contents: Contents,
    mut read: impl FnMut(&mut [u8]) -> Result<usize>,
) -> Result<ContentHash> {
    let mut file = target.map(|target| target.create(path)).transpose()?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let length = read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        if let (Some(file), Some(target)) = (&mut file, target) {
            file.write_all(&buffer[..length])
                .at("write", target.path.join(path))?;
        }
    }
    if let (Some(file), Some(target)) = (&file, target) {
        target.complete(file, path, contents)?;
    }
    Ok(hasher.finalize().into())
}

impl Target {
    /// `path` is an empty directory.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self {
            path: path.to_owned(),
            root: openat(CWD, path, flags, Mode::empty()).at("open", path)?,
            copier: Copier::new(),
        })
    }

    /// Makes a directory that anything can be put into; its mode comes with [`Target::finish`].
    pub(crate) fn directory(&self, path: &TreePath) -> Result<()> {
        mkdirat(&self.root, path.as_path(), Mode::RWXU)
            .at("create the directory", self.path.join(path))
    }

    pub(crate) fn symlink(&self, path: &TreePath, target: &[u8], mtime: Mtime) -> Result<()> {
        let full = || self.path.join(path);
        symlinkat(OsStr::from_bytes(target), &self.root, path.as_path())
            .at("create the link", full())?;
        utimensat(
            &self.root,
            path.as_path(),
            &timestamps(mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .at("set the time of", full())
    }

    pub(crate) fn whiteout(&self, path: &TreePath) -> Result<()> {
        overlay_marks::make_whiteout(&self.root, path.as_path())
            .at("make the whiteout", self.path.join(path))
    }

    /// Makes a copy of a file that is complete but for modes of directories.
    pub(crate) fn copy(&self, of: &Entry, path: &TreePath) -> Result<()> {
        let Kind::File {
            mode, size, mtime, ..
        } = of.kind
        else {
            return Ok(());
        };
        let from = self.path.join(&of.path);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(&self.root, of.path.as_path(), flags, Mode::empty());
        let source = crate::access::with_access(
            &self.path,
            of.path.as_path(),
            crate::access::Need::Entry,
            open,
        );
        let mut source = File::from(source.at("open", from)?);
        let mut file = self.create(path)?;
        self.copier
            .copy(&mut source, &mut file, size)
            .at("copy", self.path.join(path))?;
        self.complete(&file, path, Contents { mode, mtime })
    }

    /// Gives directories their marks and, those within others first, their modes.
    pub(crate) fn finish(&self, manifest: &Manifest) -> Result<()> {
        for Entry { path, kind } in manifest.entries().iter().rev() {
            let full = || self.path.join(path);
            let (Kind::Directory { mode } | Kind::Opaque { mode }) = kind else {
                continue;
            };
            if let Kind::Opaque { .. } = kind {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let directory =
                    openat(&self.root, path.as_path(), flags, Mode::empty()).at("open", full())?;
                fsetxattr(directory, overlay_marks::OPAQUE, b"y", XattrFlags::empty())
                    .at("change the attributes of", full())?;
            }
            let mode = Mode::from_raw_mode(*mode);
            chmodat(&self.root, path.as_path(), mode, AtFlags::empty())
                .at("change the mode of", full())?;
        }
        Ok(())
    }

    fn create(&self, path: &TreePath) -> Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.root, path.as_path(), flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .at("create", self.path.join(path))
    }

    fn complete(&self, file: &File, path: &TreePath, contents: Contents) -> Result<()> {
        let full = || self.path.join(path);
        let mode = Mode::from_raw_mode(contents.mode);
        fchmod(file, mode).at("change the mode of", full())?;
        futimens(file, &timestamps(contents.mtime)).at("set the time of", full())
    }
}
