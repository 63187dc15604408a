//! From the tar of a layer to the manifest of the layer that it is, and on request to its tree on
//! disk.
//!
//! Every rule about what may be in a layer's tar is here; how a tar is read is in `tar`, how a
//! tree is written in `target`.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{PackageError, TarError};
use super::limits::Meter;
use super::pool::{Group, Pool};
use super::tar::read::Reader;
use super::tar::{Member, MemberKind};
use super::target::{Contents, SmallFile, Target};
use crate::error::{Error, Result};
use crate::id::ContentHash;
use crate::manifest::{Entry, Kind, MODE_BITS, Manifest, TreePath};

/// What the name of an entry begins with that is a mark, not an entry.
pub(crate) const MARK: &[u8] = b".wh.";
/// The mark of an opaque directory, in it.
pub(crate) const OPAQUE_MARK: &[u8] = b".wh..wh..opq";

/// Files up to this size are hashed and written by whichever thread has time.
const SMALL: u64 = 512 * 1024;
/// How many bytes of them go together at most, and how many files.
const BATCH_BYTES: usize = 512 * 1024;
const BATCH_FILES: usize = 64;

/// What a layer's tar is read with.
pub(crate) struct Reading<'a, 'p> {
    /// The layer, in messages.
    pub(crate) name: &'a str,
    /// Where in the image the tree lies.
    pub(crate) prefix: &'a TreePath,
    pub(crate) meter: &'a Meter<'a>,
    pub(crate) pool: &'a Pool<'p>,
    /// Where the tree is made; `None` when only the manifest is wanted.
    pub(crate) target: Option<Arc<Target>>,
    /// Turns what is wrong with the package into an error.
    pub(crate) error: &'a dyn Fn(PackageError) -> Error,
}

/// Reads a whole tar. On success the tree of the target, if there is one, is complete.
pub(crate) fn read<R: Read>(reader: &mut Reader<R>, reading: &Reading<'_, '_>) -> Result<Manifest> {
    let mut tree = Tree {
        reading,
        entries: Vec::new(),
        places: HashMap::new(),
        copies: Vec::new(),
        batch: Vec::new(),
        batch_bytes: 0,
        group: Group::default(),
        hashes: Arc::default(),
    };
    while let Some(member) = reader.next().map_err(|source| tree.broken(source))? {
        tree.member(reader, member)?;
    }
    tree.finish()
}

struct Tree<'a, 'p> {
    reading: &'a Reading<'a, 'p>,
    entries: Vec<Entry>,
    /// Where in `entries` a path is.
    places: HashMap<TreePath, usize>,
    /// Hard links: the entry, and the one that it is a copy of.
    copies: Vec<(usize, usize)>,
    batch: Vec<SmallFile>,
    batch_bytes: usize,
    group: Group,
    /// Of the small files, as far as they are done.
    hashes: Arc<Mutex<Vec<(usize, ContentHash)>>>,
}

/// Which part of the tree a name names.
enum Place {
    /// The root of the tree, or a directory on the way to it: not part of the layer.
    Above,
    Inside(TreePath),
    /// What is deleted.
    Whiteout(TreePath),
    /// The directory that hides what lies below it.
    Opaque(TreePath),
}

impl Tree<'_, '_> {
    fn member<R: Read>(&mut self, reader: &mut Reader<R>, member: Member) -> Result<()> {
        let names = member.name.len() + member.link.len();
        self.check(self.reading.meter.entry(names))?;
        if member.mode & !MODE_BITS != 0 {
            return Err(self.refused(&member, "a set-user-id or set-group-id bit"));
        }
        match self.place(&member)? {
            Place::Above if member.kind == MemberKind::Directory => Ok(()),
            Place::Above => Err(self.refused(&member, "no directory where the tree should be")),
            Place::Whiteout(path) => {
                self.check_mark(&member)?;
                if let Some(target) = &self.reading.target {
                    self.check_new(&member, &path)?;
                    target.whiteout(&path)?;
                }
                self.add(&member, path, Kind::Whiteout).map(|_| ())
            }
            Place::Opaque(path) => {
                self.check_mark(&member)?;
                let found = self.places.get(&path).copied();
                match found.map(|index| &mut self.entries[index].kind) {
                    Some(kind @ Kind::Directory { .. }) => {
                        let Kind::Directory { mode } = *kind else {
                            return Ok(());
                        };
                        *kind = Kind::Opaque { mode };
                        Ok(())
                    }
                    _ => Err(self.refused(&member, "a mark without its directory, or twice")),
                }
            }
            Place::Inside(path) => self.inside(reader, &member, path),
        }
    }

    fn inside<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        member: &Member,
        path: TreePath,
    ) -> Result<()> {
        self.check_new(member, &path)?;
        let target = self.reading.target.clone();
        match member.kind {
            MemberKind::Directory => {
                if let Some(target) = target {
                    target.directory(&path)?;
                }
                let mode = member.mode;
                self.add(member, path, Kind::Directory { mode })?;
            }
            MemberKind::Symlink => {
                if member.link.is_empty() {
                    return Err(self.refused(member, "a symbolic link that leads nowhere"));
                }
                if let Some(target) = target {
                    target.symlink(&path, &member.link, member.mtime)?;
                }
                let kind = Kind::Symlink {
                    mtime: member.mtime,
                    target: member.link.clone().into(),
                };
                self.add(member, path, kind)?;
            }
            MemberKind::HardLink => self.hard_link(member, path)?,
            MemberKind::File if member.size <= SMALL => self.small_file(reader, member, path)?,
            MemberKind::File => {
                let contents = Contents {
                    mode: member.mode,
                    mtime: member.mtime,
                };
                let broken = |source| self.broken(source);
                let hash = super::target::stream(target.as_deref(), &path, contents, |buffer| {
                    reader.read(buffer).map_err(broken)
                })?;
                self.add_file(member, path, hash)?;
            }
        }
        Ok(())
    }

    fn small_file<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        member: &Member,
        path: TreePath,
    ) -> Result<()> {
        let mut bytes = vec![0; member.size as usize];
        reader
            .read_exact(&mut bytes)
            .map_err(|source| self.broken(source))?;
        // Filled in when it is known.
        let hash = ContentHash::from_bytes([0; 32]);
        let index = self.add_file(member, path.clone(), hash)?;
        self.batch_bytes += bytes.len();
        self.batch.push(SmallFile {
            index,
            path,
            bytes,
            contents: Contents {
                mode: member.mode,
                mtime: member.mtime,
            },
        });
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_FILES {
            self.send_batch()?;
        }
        Ok(())
    }

    fn send_batch(&mut self) -> Result<()> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        let (target, hashes) = (self.reading.target.clone(), self.hashes.clone());
        self.reading.pool.submit(&self.group, move || {
            let mut done = Vec::with_capacity(batch.len());
            for file in batch {
                done.push((file.index, file.make(target.as_deref())?));
            }
            hashes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(done);
            Ok(())
        })
    }

    /// A further name becomes a copy: a layer has no names of one file.
    fn hard_link(&mut self, member: &Member, path: TreePath) -> Result<()> {
        let of = match self.place_of(&member.link) {
            Some(Place::Inside(of)) => self.places.get(&of).copied(),
            _ => None,
        };
        let file = of.map(|index| (index, self.entries[index].kind.clone()));
        let Some((of, kind @ Kind::File { size, .. })) = file else {
            return Err(self.refused(member, "a hard link to no file before it in the layer"));
        };
        self.check(self.reading.meter.unpacked(size))?;
        let index = self.add(member, path, kind)?;
        self.copies.push((index, of));
        Ok(())
    }

    fn finish(mut self) -> Result<Manifest> {
        if !self.batch.is_empty() {
            self.send_batch()?;
        }
        self.reading.pool.wait(&self.group)?;
        let hashes =
            std::mem::take(&mut *self.hashes.lock().unwrap_or_else(PoisonError::into_inner));
        for (index, found) in hashes {
            if let Kind::File { hash, .. } = &mut self.entries[index].kind {
                *hash = found;
            }
        }
        for (index, of) in std::mem::take(&mut self.copies) {
            self.entries[index].kind = self.entries[of].kind.clone();
            if let Some(target) = &self.reading.target {
                target.copy(&self.entries[of], &self.entries[index].path)?;
            }
        }
        let manifest = Manifest::new(self.entries).map_err(|source| {
            (self.reading.error)(PackageError::Rules {
                name: self.reading.name.to_owned(),
                source,
            })
        })?;
        if let Some(target) = &self.reading.target {
            target.finish(&manifest)?;
        }
        Ok(manifest)
    }

    fn add_file(&mut self, member: &Member, path: TreePath, hash: ContentHash) -> Result<usize> {
        let kind = Kind::File {
            mode: member.mode,
            size: member.size,
            mtime: member.mtime,
            hash,
        };
        self.add(member, path, kind)
    }

    fn add(&mut self, member: &Member, path: TreePath, kind: Kind) -> Result<usize> {
        self.check_new(member, &path)?;
        let index = self.entries.len();
        self.places.insert(path.clone(), index);
        self.entries.push(Entry { path, kind });
        Ok(index)
    }

    /// Fails unless a path is new and in a directory of the layer that came before it: nothing is
    /// ever made behind a link, or in what is not this layer's.
    fn check_new(&self, member: &Member, path: &TreePath) -> Result<()> {
        if self.places.contains_key(path) {
            return Err(self.refused(member, "one path twice"));
        }
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        let parent = self.places.get(parent).map(|index| &self.entries[*index]);
        if parent.is_some_and(|parent| parent.kind.is_directory()) {
            return Ok(());
        }
        Err(self.refused(member, "an entry before its directory, or behind a link"))
    }

    fn check_mark(&self, member: &Member) -> Result<()> {
        if member.kind == MemberKind::File && member.size == 0 {
            return Ok(());
        }
        Err(self.refused(member, "a mark of a deletion that is not an empty file"))
    }

    fn place(&self, member: &Member) -> Result<Place> {
        let mut name = member.name.as_slice();
        if member.kind == MemberKind::Directory {
            name = name.strip_suffix(b"/").unwrap_or(name);
        }
        self.place_of(name)
            .ok_or_else(|| self.refused(member, "a path outside of the tree"))
    }

    fn place_of(&self, name: &[u8]) -> Option<Place> {
        let name = name.strip_prefix(b"./").unwrap_or(name);
        if matches!(name, b"" | b".") {
            return Some(Place::Above);
        }
        let path = TreePath::new(name).ok()?;
        let prefix = self.reading.prefix;
        let is_above = prefix
            .as_bytes()
            .strip_prefix(path.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        if is_above {
            return Some(Place::Above);
        }
        let inside = path
            .as_bytes()
            .strip_prefix(prefix.as_bytes())?
            .strip_prefix(b"/")?;
        let (parent, last) = match inside.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => inside.split_at(slash + 1),
            None => (b"".as_slice(), inside),
        };
        if last == OPAQUE_MARK {
            return TreePath::new(parent.strip_suffix(b"/")?)
                .ok()
                .map(Place::Opaque);
        }
        match last.strip_prefix(MARK) {
            // Marks of union file systems that no image should have.
            Some(rest) if rest.starts_with(MARK) => None,
            Some(rest) => TreePath::new([parent, rest].concat())
                .ok()
                .map(Place::Whiteout),
            None => TreePath::new(inside).ok().map(Place::Inside),
        }
    }

    fn check<T>(&self, result: Result<T, PackageError>) -> Result<T> {
        result.map_err(self.reading.error)
    }

    fn refused(&self, member: &Member, what: &'static str) -> Error {
        (self.reading.error)(PackageError::Entry {
            name: self.reading.name.to_owned(),
            path: String::from_utf8_lossy(&member.name).into_owned(),
            what,
        })
    }

    fn broken(&self, source: TarError) -> Error {
        (self.reading.error)(PackageError::of_tar(self.reading.name, source))
    }
}
