//! Puts a store in order after processes that died: what they were making goes away, what they
//! had made but not yet recorded is recorded, and what is not sound is taken out of service.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::Store;
use crate::error::{Context as _, Error, Result};
use crate::home;
use crate::id::LayerId;
use crate::layout::random_name;
use crate::rebase::copy_entries;
use crate::staging;
use crate::steps::reach;
use crate::verify::{self, Depth, Verdict};

/// What [`Store::recover`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Stagings of dead processes, now in the trash.
    pub abandoned: usize,
    /// Layers that were complete and only lacked their record.
    pub adopted: Vec<LayerId>,
    /// Layers that were taken out of service.
    pub lost: Vec<LayerId>,
    /// Trees and manifests that belong to no layer, now in the trash.
    pub strays: usize,
    /// Things that no store put where they are. They are left alone.
    pub foreign: Vec<PathBuf>,
}

impl Store {
    /// Finishes or undoes what dead processes left. Does nothing to what living ones are doing.
    ///
    /// - A staging whose maker has died goes to the trash.
    /// - A tree in `layers/` without a row is read in full: if it is the layer that its name says,
    ///   it gets its row, else it goes to the trash.
    /// - A row without a tree, or a layer without a manifest that cannot be made again from its
    ///   tree, is quarantined.
    ///
    /// Costs two listings and one query when there is nothing to do.
    pub fn recover(&self) -> Result<Recovered> {
        self.recover_but(&[])
    }

    /// The same, but leaves alone what has the name of one of these layers: those of which the
    /// caller has a journal, for [`Store::settle_tree`].
    pub fn recover_but(&self, spared: &[LayerId]) -> Result<Recovered> {
        home::complete(self.layout())?;
        let mut recovered = Recovered::default();
        self.recover_stagings(&mut recovered)?;

        let lock = self.lock_layers(FlockOperation::LockExclusive)?;
        let trees = ids_in(&self.layout().layers(), &mut recovered)?;
        let manifests = ids_in(&self.layout().manifests(), &mut recovered)?;
        let mut rows: Vec<LayerId> = self.layers()?.iter().map(|layer| layer.id).collect();
        rows.sort_unstable();
        let in_order = |id: &LayerId| {
            [&trees, &manifests, &rows]
                .iter()
                .all(|ids| ids.binary_search(id).is_ok())
        };
        let mut ids = [trees.as_slice(), &manifests, &rows].concat();
        ids.sort_unstable();
        ids.dedup();
        for id in ids
            .iter()
            .filter(|id| !in_order(id) && !spared.contains(id))
        {
            match self.settle_locked(id)? {
                Settled::Sound => {}
                Settled::Adopted => recovered.adopted.push(*id),
                Settled::Lost => recovered.lost.push(*id),
                Settled::Stray => recovered.strays += 1,
            }
        }
        drop(lock);
        Ok(recovered)
    }

    /// Takes a layer out of service: forgets it, and moves what there is of it to the trash under
    /// a name that says what it was. Says whether it was known.
    pub fn quarantine(&self, id: &LayerId) -> Result<bool> {
        let _lock = self.lock_layers(FlockOperation::LockExclusive)?;
        self.quarantine_locked(id)
    }

    /// Reads a layer in full while nobody commits or collects, and takes it out of service if it is
    /// not what was committed. Gives the first difference then.
    ///
    /// What was seen without that lock may have been a layer that was just being taken away, and
    /// what has the name now another tree.
    pub fn quarantine_unless_sound(&self, id: &LayerId) -> Result<Option<String>> {
        let _lock = self.lock_layers(FlockOperation::LockExclusive)?;
        if !self.is_known(id)? {
            return Ok(None);
        }
        match self.verify(id, Depth::Full)? {
            Verdict::Sound => Ok(None),
            Verdict::Corrupt { detail } => {
                self.quarantine_locked(id)?;
                Ok(Some(detail))
            }
        }
    }

    /// Makes of whatever has this name a sound layer or nothing.
    pub(crate) fn settle(&self, id: &LayerId) -> Result<()> {
        let _lock = self.lock_layers(FlockOperation::LockExclusive)?;
        self.settle_locked(id).map(|_| ())
    }

    /// Finishes or undoes a [`Prepared::publish_with`] of a tree from `tree` that was cut off.
    ///
    /// With `is_recorded`, which says that what was recorded with the layer's row is there, the tree
    /// is the layer's afterwards; else it is where it was. Nothing of it is read, nor lost.
    ///
    /// [`Prepared::publish_with`]: crate::Prepared::publish_with
    pub fn settle_tree(&self, id: &LayerId, tree: &Path, is_recorded: bool) -> Result<()> {
        let tree = self.own_path(tree)?;
        if is_recorded != is_there(&tree)? {
            return Ok(());
        }
        let _lock = self.lock_layers(FlockOperation::LockExclusive)?;
        let place = self.layout().layer(id);
        match (is_recorded, is_there(&place)?) {
            // The disk had the row and not the rename when it lost power.
            (true, false) => {
                fs::rename(&tree, &place).at("move into the store", &tree)?;
                match verify::manifest_on_disk(&place)? {
                    Some(manifest) => self.write_manifest(id, &manifest.encode()),
                    None => Ok(()),
                }
            }
            // Somebody has made the same layer, or found this one and recorded it.
            (false, true) if self.is_known(id)? => {
                let staging = self.stage()?;
                let entries = self.manifest(id)?.into_entries();
                copy_entries(&entries, &place, Some(*id), None, &staging)?;
                fs::rename(staging.path(), &tree).at("create", tree)
            }
            (false, true) => {
                fs::rename(&place, &tree).at("move back", place)?;
                self.discard(&self.layout().manifest(id))
            }
            // What is at both places is one too many, what is at none is gone.
            (true, true) | (false, false) => Ok(()),
        }
    }

    fn settle_locked(&self, id: &LayerId) -> Result<Settled> {
        let place = self.layout().layer(id);
        let has_tree = place.is_dir();
        let known = match self.layer(id) {
            Ok(layer) => layer.is_some(),
            Err(Error::LayerCorrupt { .. }) => {
                self.quarantine_locked(id)?;
                return Ok(Settled::Lost);
            }
            Err(error) => return Err(error),
        };
        if known && self.manifest(id).is_ok() {
            return Ok(Settled::Sound);
        }
        if has_tree
            && let Some(manifest) = verify::manifest_on_disk(&place)?
            && manifest.id() == *id
        {
            self.write_manifest(id, &manifest.encode())?;
            let entries = manifest.entries().len() as u64;
            self.insert_layer(*id, manifest.bytes(), entries)?;
            return Ok(Settled::Adopted);
        }
        self.quarantine_locked(id)?;
        Ok(if known { Settled::Lost } else { Settled::Stray })
    }

    /// The row goes first: from then on nothing serves it, whatever happens.
    fn quarantine_locked(&self, id: &LayerId) -> Result<bool> {
        let known = self.delete_layer_row(id)?;
        reach("quarantine.row")?;
        let name = format!("quarantine-{id}-{}", random_name()?);
        self.discard_as(&self.layout().layer(id), &name)?;
        reach("quarantine.tree")?;
        self.discard_as(&self.layout().manifest(id), &format!("{name}-manifest"))?;
        Ok(known)
    }

    fn write_manifest(&self, id: &LayerId, encoded: &[u8]) -> Result<()> {
        let staging = self.stage()?;
        let file = staging.wrapper().join("manifest");
        fs::write(&file, encoded).at("write", &file)?;
        let place = self.layout().manifest(id);
        fs::rename(&file, &place).at("write", place)
    }

    fn recover_stagings(&self, recovered: &mut Recovered) -> Result<()> {
        let directory = self.layout().staging();
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let path = entry.at("list", &directory)?.path();
            match staging::lock(&path) {
                // Locked until it is in the trash, so that it is counted once.
                Ok(Some(_lock)) => {
                    self.discard(&path)?;
                    recovered.abandoned += 1;
                }
                Ok(None) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => recovered.foreign.push(path),
                Err(errno) => return Err(errno).at("lock", path),
            }
        }
        Ok(())
    }
}

fn is_there(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("examine", path),
    }
}

/// The ids in a directory, sorted.
fn ids_in(directory: &Path, recovered: &mut Recovered) -> Result<Vec<LayerId>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(directory).at("list", directory)? {
        let entry = entry.at("list", directory)?;
        if let Some(Ok(id)) = entry.file_name().to_str().map(str::parse) {
            ids.push(id);
        } else {
            recovered.foreign.push(entry.path());
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// What became of a name.
enum Settled {
    Sound,
    Adopted,
    Lost,
    Stray,
}
