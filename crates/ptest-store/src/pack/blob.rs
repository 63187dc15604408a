//! Makes the blob of a layer: its tree as a tar, compressed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};

use super::codec::{Codec, PIECE};
use super::oci::Digest;
use super::pool::{Group, Pool};
use super::tar::{Member, MemberKind, padding, write};
use super::tree::{MARK, OPAQUE_MARK};
use crate::access::{Need, with_access};
use crate::error::{Context as _, Error, Result};
use crate::id::{ContentHash, LayerId};
use crate::manifest::{Entry, Kind, Manifest, Mtime, TreePath};

/// A layer, compressed, in a file.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) layer: LayerId,
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Of the tar before it was compressed, and how long that was.
    pub(crate) diff_id: Digest,
    pub(crate) unpacked: u64,
}

/// A layer to be packed.
pub(crate) struct Source<'a> {
    pub(crate) layer: LayerId,
    pub(crate) manifest: Manifest,
    /// Where its tree is.
    pub(crate) tree: PathBuf,
    /// Where its tree lies in the image.
    pub(crate) prefix: &'a TreePath,
    /// The file to be made.
    pub(crate) path: PathBuf,
}

/// Fails for names that are marks in an image.
pub(crate) fn check_names(manifest: &Manifest) -> Result<()> {
    for Entry { path, .. } in manifest.entries() {
        // Each directory on the way is an entry too.
        if path
            .as_bytes()
            .rsplit(|byte| *byte == b'/')
            .next()
            .is_some_and(is_mark)
        {
            return Err(Error::Unpackable {
                path: path.as_path().to_owned(),
                what: "a name that would be a deletion there",
            });
        }
    }
    Ok(())
}

pub(crate) fn is_mark(name: &[u8]) -> bool {
    name.starts_with(MARK)
}

/// Writes the blob of a layer.
pub(crate) fn pack<'a>(pool: &Pool<'a>, codec: &'a Codec, source: &Source<'_>) -> Result<Blob> {
    let mut tar = Tar {
        pool,
        codec,
        out: Arc::new(Mutex::new(Out::create(&source.path)?)),
        group: Group::default(),
        piece: Vec::with_capacity(PIECE),
        pieces: 0,
        hasher: Sha256::new(),
        unpacked: 0,
    };
    let tree = Tree::open(source)?;
    let mut header = Vec::new();
    let mut put = |tar: &mut Tar<'_, 'a>, member: &Member| {
        header.clear();
        write::header(&mut header, member);
        tar.write(&header)
    };
    let mut above = source.prefix.as_bytes();
    let mut directories = vec![above];
    while let Some(slash) = above.iter().rposition(|byte| *byte == b'/') {
        above = &above[..slash];
        directories.push(above);
    }
    for path in directories.into_iter().rev() {
        put(&mut tar, &directory(path, 0o755))?;
    }
    for entry in source.manifest.entries() {
        let path = [source.prefix.as_bytes(), b"/", entry.path.as_bytes()].concat();
        match &entry.kind {
            Kind::File {
                mode,
                size,
                mtime,
                hash,
            } => {
                put(&mut tar, &file(path, *mode, *size, *mtime))?;
                tree.copy(&entry.path, *size, hash, &mut tar)?;
                tar.write(&[0; 512][..padding(*size)])?;
            }
            Kind::Directory { mode } => put(&mut tar, &directory(&path, *mode))?,
            Kind::Opaque { mode } => {
                put(&mut tar, &directory(&path, *mode))?;
                let mark = [path.as_slice(), b"/", OPAQUE_MARK].concat();
                put(&mut tar, &file(mark, 0, 0, Mtime::default()))?;
            }
            Kind::Symlink { mtime, target } => {
                let link = Member {
                    kind: MemberKind::Symlink,
                    link: target.to_vec(),
                    ..file(path, 0o777, 0, *mtime)
                };
                put(&mut tar, &link)?;
            }
            Kind::Whiteout => {
                let name = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0) + 1;
                let mark = [&path[..name], MARK, &path[name..]].concat();
                put(&mut tar, &file(mark, 0, 0, Mtime::default()))?;
            }
        }
    }
    tar.write(&write::END)?;
    tar.finish(source)
}

fn file(name: Vec<u8>, mode: u32, size: u64, mtime: Mtime) -> Member {
    Member {
        name,
        kind: MemberKind::File,
        mode,
        size,
        mtime,
        link: Vec::new(),
    }
}

/// A directory's time is not part of a layer.
fn directory(path: &[u8], mode: u32) -> Member {
    Member {
        kind: MemberKind::Directory,
        ..file([path, b"/"].concat(), mode, 0, Mtime::default())
    }
}

/// The tree of a layer.
struct Tree<'a> {
    source: &'a Source<'a>,
    root: OwnedFd,
}

impl<'a> Tree<'a> {
    fn open(source: &'a Source<'a>) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = openat(CWD, &source.tree, flags, Mode::empty()).at("open", &source.tree)?;
        Ok(Self { source, root })
    }

    /// Copies the contents of a file, and fails if they are not what the manifest says.
    fn copy(
        &self,
        path: &TreePath,
        size: u64,
        hash: &ContentHash,
        tar: &mut Tar<'_, '_>,
    ) -> Result<()> {
        let full = || self.source.tree.join(path);
        let corrupt = || Error::LayerCorrupt {
            id: self.source.layer,
            detail: format!("{path} has other contents"),
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || openat(&self.root, path.as_path(), flags, Mode::empty());
        let file = with_access(&self.source.tree, path.as_path(), Need::Entry, open);
        let mut file = File::from(file.at("open", full())?);
        let mut hasher = blake3::Hasher::new();
        let mut left = size;
        while left > 0 {
            let start = tar.piece.len();
            let room = (PIECE - start).min(usize::try_from(left).unwrap_or(usize::MAX));
            tar.piece.resize(start + room, 0);
            let length = loop {
                match file.read(&mut tar.piece[start..]) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    result => break result.at("read", full())?,
                }
            };
            tar.piece.truncate(start + length);
            if length == 0 {
                return Err(corrupt());
            }
            hasher.update(&tar.piece[start..]);
            left -= length as u64;
            tar.send_full()?;
        }
        if hasher.finalize() == blake3::Hash::from_bytes(*hash.as_bytes()) {
            Ok(())
        } else {
            Err(corrupt())
        }
    }
}

/// The tar of a layer on its way through compression into a file.
struct Tar<'p, 'a> {
    pool: &'p Pool<'a>,
    codec: &'a Codec,
    out: Arc<Mutex<Out>>,
    group: Group,
    piece: Vec<u8>,
    pieces: usize,
    hasher: Sha256,
    unpacked: u64,
}

impl Tar<'_, '_> {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            self.send_full()?;
            bytes = later;
        }
        Ok(())
    }

    fn send_full(&mut self) -> Result<()> {
        if self.piece.len() < PIECE {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.send(piece)
    }

    fn send(&mut self, piece: Vec<u8>) -> Result<()> {
        self.hasher.update(&piece);
        self.unpacked += piece.len() as u64;
        let (number, codec, out) = (self.pieces, self.codec, self.out.clone());
        self.pieces += 1;
        self.pool.submit(&self.group, move || {
            let compressed = codec.compress(&piece).at("compress", "a layer")?;
            out.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .put(number, compressed)
        })
    }

    fn finish(mut self, source: &Source<'_>) -> Result<Blob> {
        let last = std::mem::take(&mut self.piece);
        if !last.is_empty() {
            self.send(last)?;
        }
        self.pool.wait(&self.group)?;
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Blob {
            layer: source.layer,
            path: source.path.clone(),
            digest: std::mem::take(&mut out.hasher).into(),
            size: out.size,
            diff_id: self.hasher.clone().into(),
            unpacked: self.unpacked,
        })
    }
}

/// The file of a blob, into which pieces go in their order.
struct Out {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    size: u64,
    next: usize,
    /// Pieces that were done before an earlier one.
    early: BTreeMap<usize, Vec<u8>>,
}

impl Out {
    fn create(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: File::create_new(path).at("create", path)?,
            hasher: Sha256::new(),
            size: 0,
            next: 0,
            early: BTreeMap::new(),
        })
    }

    fn put(&mut self, number: usize, piece: Vec<u8>) -> Result<()> {
        self.early.insert(number, piece);
        while let Some(piece) = self.early.remove(&self.next) {
            self.hasher.update(&piece);
            self.file.write_all(&piece).at("write", &self.path)?;
            self.size += piece.len() as u64;
            self.next += 1;
        }
        Ok(())
    }
}
