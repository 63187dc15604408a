//! Makes a layer of a staged tree.
//!
//! The order of effects is what makes a crash harmless: the tree gets its name in `layers/` when
//! it is complete, then its manifest, and only then the row without which nothing serves it.
//! Nothing waits for the disk here but [`Prepared::sync`], for trees that nobody can make again.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rusqlite::Transaction;
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::Store;
use crate::error::{Context as _, Error, Result};
use crate::id::{ContentHash, LayerId};
use crate::layer::{Layer, insert, touch};
use crate::manifest::{Kind, Manifest, TreePath};
use crate::scan::{self, LeftOut, Modes, Mtimes, Reading, Specials, Whole};
use crate::stack::Stack;
use crate::staging::Staging;
use crate::steps::reach;

/// What a staged tree is and how it becomes a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitOptions {
    /// What the tree is.
    pub source: Source,
    /// What becomes of files' times.
    pub mtimes: Mtimes,
    /// What becomes of permissions.
    pub modes: Modes,
    /// What becomes of sockets and FIFOs.
    pub specials: Specials,
}

/// What a staged tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// Files as they are. Marks of overlayfs mean nothing and are removed.
    #[default]
    Plain,
    /// The upper directory of an overlay that is not mounted: its marks say what was deleted.
    OverlayUpper,
}

/// The result of a commit.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The layer.
    pub layer: Layer,
    /// Whether the store had it before; then the staged tree went to the trash.
    pub reused: bool,
    /// What the tree had and the layer does not.
    pub left_out: Vec<LeftOut>,
}

/// A staged tree that is read, changed into what the layer will be, and only needs its name.
///
/// A caller that keeps a journal writes [`Prepared::id`] into it before [`Prepared::publish`].
#[derive(Debug)]
pub struct Prepared {
    staging: Staging,
    id: LayerId,
    manifest: Manifest,
    bytes: u64,
    left_out: Vec<LeftOut>,
    synced: bool,
}

impl Store {
    /// Makes a layer of a staged tree: [`Store::prepare`], then [`Prepared::publish`].
    pub fn commit(&self, staging: Staging, options: CommitOptions) -> Result<Committed> {
        self.prepare(staging, options)?.publish()
    }

    /// Reads a staged tree and changes it into what the layer will be.
    ///
    /// - Every file is read once and hashed.
    /// - A tree that cannot be a layer is refused before anything in it is changed.
    /// - A file that has other names gets contents of its own, so that neither this commit nor
    ///   anything later reaches an installer's cache through it.
    /// - Set-user-id and set-group-id bits and extended attributes are removed and listed in
    ///   [`Committed::left_out`]. Overlayfs's bookkeeping is removed silently.
    /// - Permissions stay as the manifest has them; the tree is *not* made read-only, because
    ///   overlayfs copies a mode up with its file, and an environment would find its files
    ///   read-only. That nothing writes into a layer rests on the store's directory being private
    ///   and on overlayfs never writing to a lower one.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for devices, for sockets and FIFOs unless they are to be left out, and
    /// for entries that overlayfs keeps in a lower layer.
    pub fn prepare(&self, staging: Staging, options: CommitOptions) -> Result<Prepared> {
        self.prepare_knowing(staging, options, &|_| None)
    }

    /// The same, for who has just written the tree: files whose hashes are known are not read
    /// again.
    pub(crate) fn prepare_knowing(
        &self,
        staging: Staging,
        options: CommitOptions,
        assume: &(dyn Fn(&TreePath) -> Option<ContentHash> + Sync),
    ) -> Result<Prepared> {
        let wrapper = staging.wrapper().to_owned();
        let reading = Reading {
            overlay: options.source == Source::OverlayUpper,
            times: options.mtimes,
            modes: options.modes,
            specials: options.specials,
            unshare: Some(&wrapper),
            assume,
            whole: None,
        };
        self.prepare_read(staging, reading)
    }

    /// The same, for an upper directory that goes on being what it is, as a layer: one of which the
    /// layer would not be all, or that may still be written to, is refused and left as it was.
    ///
    /// `is_still` says of an open file that no process can write to it; that no other can come is
    /// the caller's to see to.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] also for files with several names, for entries of another owner, and for
    /// what [`Committed::left_out`] would list.
    pub fn prepare_whole(
        &self,
        staging: Staging,
        is_still: &(dyn Fn(BorrowedFd<'_>) -> bool + Sync),
    ) -> Result<Prepared> {
        let reading = Reading {
            overlay: true,
            times: Mtimes::Keep,
            modes: Modes::Keep,
            specials: Specials::Refuse,
            unshare: None,
            assume: &|_| None,
            whole: Some(Whole::of(staging.path(), is_still)?),
        };
        self.prepare_read(staging, reading)
    }

    fn prepare_read(&self, staging: Staging, reading: Reading<'_>) -> Result<Prepared> {
        self.database().check_process()?;
        let mut scan = scan::scan(staging.path(), reading)?;
        if reading.whole.is_some()
            && let Some(lost) = scan.left_out.first()
        {
            return Err(Error::Refused {
                path: lost.path.as_path().to_owned(),
                what: "a part of an entry",
            });
        }
        reach("commit.scanned")?;
        scan.apply(staging.path())?;
        reach("commit.applied")?;

        let left_out = std::mem::take(&mut scan.left_out);
        let file = staging.wrapper().join("manifest");
        let manifest = Manifest::new(scan.into_entries()).map_err(|source| Error::Manifest {
            path: file.clone(),
            source,
        })?;
        let encoded = manifest.encode();
        fs::write(&file, &encoded).at("write", &file)?;
        reach("commit.manifest-staged")?;
        Ok(Prepared {
            staging,
            id: Manifest::id_of(&encoded),
            bytes: manifest.bytes(),
            manifest,
            left_out,
            synced: false,
        })
    }

    /// Shared by commits, which for a moment have a directory without a row; exclusive for those
    /// who judge and remove such directories.
    pub(crate) fn lock_layers(&self, operation: FlockOperation) -> Result<OwnedFd> {
        let path = self.layout().layers();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty()).at("open", &path)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, operation)).at("lock", &path)?;
        Ok(fd)
    }
}

impl Prepared {
    /// A staged tree whose manifest is known and written beside it, `own_bytes` of whose files are
    /// no other layer's.
    pub(crate) fn written(staging: Staging, manifest: Manifest, own_bytes: u64) -> Self {
        Self {
            staging,
            id: manifest.id(),
            bytes: own_bytes,
            manifest,
            left_out: Vec::new(),
            synced: false,
        }
    }

    /// The id that the layer will have.
    pub fn id(&self) -> LayerId {
        self.id
    }

    /// Where the tree is until it is published.
    pub fn path(&self) -> &Path {
        self.staging.path()
    }

    /// Whether this on top of a stack would have whiteouts that overlayfs shows, as
    /// [`View::ghosts`](crate::View::ghosts) has them.
    pub fn has_ghosts_on(&self, stack: &Stack) -> Result<bool> {
        let entries = self.manifest.entries();
        if entries.iter().all(|it| it.kind != Kind::Whiteout) {
            return Ok(false);
        }
        let mut view = self.staging.store().resolve(stack)?;
        view.put(self.id, entries.to_vec());
        Ok(view.ghosts().next().is_some())
    }

    /// Waits until the tree, and all else that was written in the store until now, is on the disk:
    /// what a journal says of it too.
    pub fn sync(self) -> Result<Self> {
        self.staging.store().sync_now()?;
        reach("commit.synced")?;
        Ok(Self {
            synced: true,
            ..self
        })
    }

    /// Gives the layer its name and its row.
    ///
    /// Of any number of commits of one tree at the same time, one makes the layer and the others
    /// find it. A tree that is found without a row is read again before it is trusted.
    pub fn publish(self) -> Result<Committed> {
        let (committed, ()) = self.publish_with(|_, _| Ok::<_, Error>(()))?;
        Ok(committed)
    }

    /// The same, and `record` in the transaction that gives the layer its row. If that fails, the
    /// tree is where it was, whole: [`Prepared::path`].
    ///
    /// A process that dies meanwhile can leave the tree at either place; who must not lose it writes
    /// both into a journal before, and calls [`Store::settle_tree`].
    pub fn publish_with<T, E: From<Error>>(
        self,
        record: impl FnOnce(&Transaction<'_>, &Layer) -> Result<T, E>,
    ) -> Result<(Committed, T), E> {
        let store = self.staging.store().clone();
        store.database().check_process()?;
        loop {
            let lock = store.lock_layers(FlockOperation::LockShared)?;
            match store.layer(&self.id) {
                Ok(Some(layer)) => {
                    let value = store.database().write(|transaction| {
                        touch(transaction, &[self.id])?;
                        record(transaction, &layer)
                    })?;
                    store.discard(self.staging.path())?;
                    let file = self.staging.wrapper().join("manifest");
                    fs::remove_file(&file).at("remove", file)?;
                    return Ok((self.committed(layer, true), value));
                }
                Ok(None) if self.rename_tree(&store)? => {
                    let recorded = self.record(&store, record);
                    if recorded.is_err() {
                        // Why it failed is what the caller must know.
                        let _ = self.take_back(&store);
                    }
                    let (layer, value) = recorded?;
                    reach("commit.row")?;
                    return Ok((self.committed(layer, false), value));
                }
                Ok(None) | Err(Error::LayerCorrupt { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            // Something of that name is there that nothing may serve as it is. With every other
            // commit locked out, it becomes either a sound layer or nothing.
            drop(lock);
            store.settle(&self.id)?;
        }
    }

    /// Moves the tree to its place; says whether the place was free.
    fn rename_tree(&self, store: &Store) -> Result<bool> {
        let place = store.layout().layer(&self.id);
        match fs::rename(self.staging.path(), &place) {
            Ok(()) => Ok(true),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error).at("move into the store", self.staging.path()),
        }
    }

    fn record<T, E: From<Error>>(
        &self,
        store: &Store,
        record: impl FnOnce(&Transaction<'_>, &Layer) -> Result<T, E>,
    ) -> Result<(Layer, T), E> {
        reach("commit.tree-renamed")?;
        let file = store.layout().manifest(&self.id);
        fs::rename(self.staging.wrapper().join("manifest"), &file).at("write", &file)?;
        reach("commit.manifest-renamed")?;
        let entries = self.manifest.entries().len() as u64;
        store.database().write(|transaction| {
            let layer = insert(transaction, self.id, self.bytes, entries, self.synced)?;
            let value = record(transaction, &layer)?;
            Ok((layer, value))
        })
    }

    /// Undoes what [`Prepared::rename_tree`] and what followed did.
    fn take_back(&self, store: &Store) -> Result<()> {
        let place = store.layout().layer(&self.id);
        fs::rename(&place, self.staging.path()).at("move back", place)?;
        store.discard(&store.layout().manifest(&self.id))
    }

    fn committed(self, layer: Layer, reused: bool) -> Committed {
        Committed {
            layer,
            reused,
            left_out: self.left_out,
        }
    }
}
