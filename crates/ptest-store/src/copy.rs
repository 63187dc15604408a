//! Copies the entries of layers, or of an upper, to another place.
//!
//! A file is hard-linked only where that was asked for, since whoever writes to it writes into the
//! layer (see `linked`); how else it gets its contents is in `contents`. What is copied where is the
//! business of `materialize` and `rebase`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fchmod, futimens, linkat, symlinkat, utimensat};
use rustix::io::Errno;

use crate::access::{Need, with_access};
use crate::contents::Copier;
use crate::error::{Context as _, Error, Result};
use crate::id::LayerId;
use crate::manifest::{Kind, Mtime, TreePath};
use crate::overlay_marks;
use crate::parallel;
use crate::rewrite::Prefix;
use crate::scan::timestamps;

/// How the text of a tree is moved from the prefix that it was made for.
#[derive(Clone, Copy)]
pub struct Rewrite<'a> {
    /// The prefix that the tree was made for, such as `/ptest/env`.
    pub from: &'a [u8],
    /// The prefix that it gets: the path under which it will be used.
    pub to: &'a [u8],
    /// Names text files, beside scripts, that mention the prefix, such as `bin/activate`, and says
    /// how it is replaced in them. They are read into memory whole.
    pub select: &'a (dyn Fn(&TreePath) -> Option<Text> + Sync),
    /// Is given the directory of the copy, before it appears in its place, and the files in it
    /// whose text was changed, sorted: to change in the copy what tells of them, such as a list of
    /// hashes.
    pub finish: &'a (dyn Fn(&Path, &[TreePath]) -> io::Result<()> + Sync),
}

/// How the prefix is replaced in the text of a file.
#[derive(Clone, Copy, Debug)]
pub enum Text {
    /// Wherever it stands.
    Plain,
    /// As this does it.
    By(Moved),
}

/// Gives a text that names the second prefix where it named the first.
pub type Moved = fn(&[u8], &[u8], &[u8]) -> Vec<u8>;

/// What [`Store::clone_tree`](crate::Store::clone_tree) made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cloned {
    /// How many paths the tree has.
    pub entries: u64,
    /// The sizes of its files together.
    pub bytes: u64,
    /// How many files share their contents with a layer, or are a layer's own.
    pub shared: u64,
    /// The sizes of those that are a layer's own.
    pub linked_bytes: u64,
}

/// One entry to copy.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) path: &'a TreePath,
    pub(crate) kind: &'a Kind,
    /// The tree that it is in.
    pub(crate) tree: &'a Path,
    /// The layer of which that is the tree.
    pub(crate) layer: Option<LayerId>,
}

/// Whether files that are not rewritten are files of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// They are.
    Own,
    /// They are further names of the files that they are copies of, where that is possible.
    Linked,
}

/// Copies `pieces`, each directory before what is in it, into the empty directory `root`.
pub(crate) fn copy(
    pieces: &[Piece<'_>],
    root: &Path,
    rewrite: Option<Rewrite<'_>>,
    contents: Contents,
) -> Result<Cloned> {
    let copying = Copying {
        root,
        rewrite,
        contents,
        copier: Copier::new(),
        rewritten: Mutex::default(),
        shared: AtomicU64::new(0),
        linked_bytes: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    copying.run(pieces)?;
    Ok(Cloned {
        entries: pieces.len() as u64,
        bytes: copying.bytes.into_inner(),
        shared: copying.shared.into_inner(),
        linked_bytes: copying.linked_bytes.into_inner(),
    })
}

struct Copying<'a> {
    root: &'a Path,
    rewrite: Option<Rewrite<'a>>,
    contents: Contents,
    copier: Copier,
    rewritten: Mutex<Vec<TreePath>>,
    shared: AtomicU64,
    linked_bytes: AtomicU64,
    bytes: AtomicU64,
}

impl Copying<'_> {
    fn run(&self, pieces: &[Piece<'_>]) -> Result<()> {
        let (directories, others): (Vec<&Piece<'_>>, Vec<_>) =
            pieces.iter().partition(|piece| piece.kind.is_directory());
        // A directory comes before what is in it.
        for piece in &directories {
            let place = self.root.join(piece.path);
            DirBuilder::new()
                .mode(0o700)
                .create(&place)
                .at("create the directory", &place)?;
            if let Kind::Opaque { .. } = piece.kind {
                overlay_marks::set_opaque(&place).at("change the attributes of", place)?;
            }
        }
        parallel::map(&others, || (), |(), piece| self.leaf(piece))?;
        self.finish()?;
        for piece in directories.iter().rev() {
            if let Kind::Directory { mode } | Kind::Opaque { mode } = piece.kind {
                let place = self.root.join(piece.path);
                rustix::fs::chmod(&place, Mode::from_raw_mode(*mode))
                    .at("change the mode of", place)?;
            }
        }
        Ok(())
    }

    /// What the caller does to the copy because of the files that were rewritten.
    fn finish(&self) -> Result<()> {
        let Some(rewrite) = self.rewrite else {
            return Ok(());
        };
        let mut rewritten = self
            .rewritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        rewritten.sort();
        (rewrite.finish)(self.root, &rewritten).at("finish the copy in", self.root)
    }

    fn leaf(&self, piece: &Piece<'_>) -> Result<()> {
        match piece.kind {
            Kind::File {
                mode, size, mtime, ..
            } => self.file(piece, *mode, *size, *mtime),
            Kind::Symlink { mtime, target } => self.link(piece.path, target, *mtime),
            Kind::Whiteout => {
                let place = self.root.join(piece.path);
                overlay_marks::make_whiteout(CWD, &place).at("make the whiteout", place)
            }
            // Made before.
            Kind::Directory { .. } | Kind::Opaque { .. } => Ok(()),
        }
    }

    fn link(&self, path: &TreePath, target: &[u8], mtime: Mtime) -> Result<()> {
        let place = self.root.join(path);
        let moved = self.prefix().and_then(|prefix| prefix.target(target));
        symlinkat(moved.as_deref().unwrap_or(target), CWD, &place).at("create the link", &place)?;
        utimensat(CWD, &place, &timestamps(mtime), AtFlags::SYMLINK_NOFOLLOW)
            .at("set the time of", place)
    }

    fn file(&self, piece: &Piece<'_>, mode: u32, size: u64, mtime: Mtime) -> Result<()> {
        let Piece {
            path, tree, layer, ..
        } = *piece;
        let (from, to) = (tree.join(path), self.root.join(path));
        let mut source = with_access(tree, path.as_path(), Need::Entry, || {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::open(&from, flags, Mode::empty())
        })
        .map(File::from)
        .at("open", &from)?;
        let found = source.metadata().at("examine", &from)?;
        if !found.is_file() || found.len() != size {
            return Err(match layer {
                Some(id) => Error::LayerCorrupt {
                    id,
                    detail: format!("{path} has another size"),
                },
                None => Error::Refused {
                    path: path.as_path().to_owned(),
                    what: "a file that changes meanwhile",
                },
            });
        }
        let rewritten = self.rewritten(path, &mut source, size).at("read", &from)?;
        if rewritten.is_none() && self.link_to(tree, path, &to)? {
            self.bytes.fetch_add(size, Ordering::Relaxed);
            self.linked_bytes.fetch_add(size, Ordering::Relaxed);
            self.shared.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let mut copy = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&to)
            .at("create", &to)?;
        let written = if let Some(contents) = rewritten {
            copy.write_all(&contents).at("write", &to)?;
            self.rewritten
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(path.clone());
            contents.len() as u64
        } else {
            let is_shared = self
                .copier
                .copy(&mut source, &mut copy, size)
                .at("copy", &to)?;
            self.shared
                .fetch_add(u64::from(is_shared), Ordering::Relaxed);
            size
        };
        self.bytes.fetch_add(written, Ordering::Relaxed);
        fchmod(&copy, Mode::from_raw_mode(mode)).at("change the mode of", &to)?;
        futimens(&copy, &timestamps(mtime)).at("set the time of", to)
    }

    /// Gives a file another name, if that is wanted and possible: not on another file system, and
    /// not without end.
    fn link_to(&self, tree: &Path, path: &TreePath, to: &Path) -> Result<bool> {
        if self.contents == Contents::Own {
            return Ok(false);
        }
        let from = tree.join(path);
        let linked = with_access(tree, path.as_path(), Need::Entry, || {
            linkat(CWD, &from, CWD, to, AtFlags::empty())
        });
        match linked {
            Ok(()) => Ok(true),
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => Err(errno).at("link", to),
        }
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
        let selected = (rewrite.select)(path);
        if !is_script && selected.is_none() {
            return Ok(None);
        }
        let mut contents = Vec::with_capacity(size as usize);
        source.read_to_end(&mut contents)?;
        let new = match selected {
            _ if is_script => prefix.script(&contents),
            Some(Text::By(moved)) => {
                Some(moved(&contents, prefix.from, prefix.to)).filter(|new| *new != contents)
            }
            _ => prefix.text(&contents),
        };
        if new.is_none() {
            source.rewind()?;
        }
        Ok(new)
    }

    fn prefix(&self) -> Option<Prefix<'_>> {
        self.rewrite
            .map(|Rewrite { from, to, .. }| Prefix { from, to })
    }
}
